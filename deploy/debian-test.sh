#!/bin/bash
# The package on a bare Debian: debootstrap makes one, a real systemd boots it in
# namespaces, and the .deb alone becomes a mail server. It delivers and reads
# mail, keeps it through the next version and back, is upgraded under load without losing a message, keeps running when the
# new version does not like the configuration, and is purged. Run as root after
# `make build`; nothing is left on this host.
set -euo pipefail
here=$(dirname "$(readlink -f "$0")")
[ "$(id -u)" = 0 ] || { echo "missing: root, to make namespaces" >&2; exit 1; }
for c in debootstrap swaks curl python3 openssl git; do
	command -v $c >/dev/null || { echo "missing: $c (deploy/setup.sh build test)" >&2; exit 1; }
done
if [ -z "${IN_TEST:-}" ]; then
	IN_TEST=1 exec unshare --mount --propagation private -- "$0"
fi
. "$here/machine.sh"
work=$(mktemp -d /tmp/debian-test.XXXXXX)
mount -t tmpfs none "$work"
machine_dir=$work/machine
trap 'code=$?; [ $code = 0 ] || report; machine_stop; umount -l "$work"; rmdir "$work"; exit $code' EXIT
report() {
	echo "debian-test: failed" >&2
	[ -z "${machine_pid:-}" ] || inside journalctl -u mailsrvd --no-pager -n 40 >&2 || true
}
step() { printf -- '--- %s (%d s)\n' "$*" $SECONDS; }

step "two builds, the second time the same bytes"
"$here/deb/build.sh" "$work/a" >/dev/null
(umask 077 && TZ=Asia/Tokyo "$here/deb/build.sh" "$work/again" >/dev/null)
cmp "$work"/a/*.deb "$work"/again/*.deb
# The version to come from: UPGRADE_FROM, else the last release, else this one.
from=${UPGRADE_FROM:-$(git -C "$here" describe --tags --abbrev=0 --match 'v[0-9]*' 2>/dev/null || true)}
if [ -n "$from" ]; then
	git clone -q "$here/.." "$work/from"
	git -C "$work/from" checkout -q "$from"
	rm "$work"/a/*.deb
	"$work/from/deploy/deb/build.sh" "$work/a" >/dev/null
fi
next=9~next
VERSION=$next "$here/deb/build.sh" "$work/b" >/dev/null

step "a bare Debian"
root=$work/root
debootstrap --variant=minbase --include=systemd,systemd-sysv,dbus bookworm "$root" >"$work/debootstrap.log" ||
	{ tail "$work/debootstrap.log"; exit 1; }
cp "$work"/a/*.deb "$root/root/a.deb"
cp "$work"/b/*.deb "$root/root/b.deb"
machine_start "$root"

main() { inside systemctl show -p MainPID --value mailsrvd; }
active() { inside systemctl is-active --quiet mailsrvd; }
probe() { printf 'correct horse\n' | inside mailsrvd probe --user support; }
must() { "$@" || { echo "failed: $*" >&2; exit 1; }; }
never() { ! "$@" || { echo "should have failed: $*" >&2; exit 1; }; }
has() { must grep -q -- "$1" "$work/said"; }

step "install: nothing starts before there is a configuration"
inside dpkg -i /root/a.deb | tee "$work/said"
has 'systemctl enable --now mailsrvd'
never active
inside mailsrvd version
inside sh -c 'id mailsrvd; ls /usr/share/man/man8/mailsrvd-serve.8.gz /usr/share/bash-completion/completions/mailsrvd /usr/share/zsh/vendor-completions/_mailsrvd /usr/share/fish/vendor_completions.d/mailsrvd.fish'
never inside test -e /usr/bin/dovecot-lda

step "configure, check, start, prove"
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 30 -subj /CN=smtp.svc.plus \
	-addext subjectAltName=DNS:smtp.svc.plus,DNS:localhost,IP:127.0.0.1 \
	-keyout "$root/etc/mailsrvd/tls.key" -out "$root/etc/mailsrvd/tls.pem" 2>/dev/null
inside chown root:mailsrvd /etc/mailsrvd/tls.key
inside chmod 640 /etc/mailsrvd/tls.key
inside sed -i -E 's,^(certificate = ).*,\1"/etc/mailsrvd/tls.pem",; s,^(key = "/etc/ssl).*,key = "/etc/mailsrvd/tls.key",' /etc/mailsrvd/mailsrvd.toml
inside useradd --create-home support
echo 'support:correct horse' | inside chpasswd
inside mailsrvd dkim genkey svc.plus >/dev/null
inside mailsrvd check-config || [ $? = 1 ]
inside systemctl enable --now mailsrvd
probe

step "today's data under the next version, and back"
submit() { beside swaks --server 127.0.0.1:587 --tls --auth-user support --auth-password 'correct horse' --from support@svc.plus --hide-all "$@"; }
imap() { beside curl -sS --insecure -u 'support:correct horse' "imaps://127.0.0.1/$1" -X "$2" >/dev/null; }
state() {
	beside "$here/mailstate.py" 993 support 'correct horse'
	inside mailsrvd queue list --json | python3 -c 'import json, sys; [print(i["id"], i["recipients"]) for i in json.load(sys.stdin)]'
	inside mailsrvd ban list --json
	inside mailsrvd dkim show --json
	inside mailsrvd mailbox check support
}
for n in 1 2 3 4; do submit --to support@svc.plus --header "Message-Id: <m$n@svc.plus>"; done
inside sed -i 's,^#hold = false,hold = true,' /etc/mailsrvd/mailsrvd.toml
inside systemctl restart mailsrvd
submit --to friend@example.net
imap "" 'CREATE Work'
imap INBOX 'UID COPY 1:2 Work'
imap INBOX 'UID STORE 2:3 +FLAGS (\Seen $label1)'
imap "" 'SUBSCRIBE Work'
inside mailsrvd ban add 192.0.2.66
inside mailsrvd dkim rotate svc.plus >/dev/null
inside mailsrvd mailbox reindex support
state >"$work/today"
grep -q friend@example.net "$work/today"
inside dpkg -i --force-confold /root/b.deb >/dev/null
state >"$work/then"
diff "$work/today" "$work/then"
inside dpkg -i --force-confold --force-downgrade /root/a.deb >/dev/null 2>&1
state >"$work/back"
diff "$work/today" "$work/back"

step "upgrade under load"
beside python3 "$here/load.py" 127.0.0.1:25 someone@example.net support@svc.plus 4 "$work/stop" "$work/receipts" >"$work/load.log" 2>&1 &
load=$!
sleep 2
old=$(main)
# The administrator's changes to a conffile stay.
inside dpkg -i --force-confold /root/b.deb
must active
[ "$(main)" != "$old" ] || { echo "the old process still runs" >&2; exit 1; }
inside mailsrvd version | tee "$work/said"
has "$next"
sleep 2

step "a version that does not accept the configuration changes nothing"
old=$(main)
inside sed -i '1i no_such_key = 1' /etc/mailsrvd/mailsrvd.toml
inside dpkg -i --force-confold --force-downgrade /root/a.deb 2>&1 | tee "$work/said"
has 'did you mean\|unknown key'
has 'runs on'
must active
[ "$(main)" = "$old" ] || { echo "the old process was stopped" >&2; exit 1; }
inside sed -i 1d /etc/mailsrvd/mailsrvd.toml
inside mailsrvd check-config || [ $? = 1 ]
inside systemctl restart mailsrvd
probe
touch "$work/stop"
wait $load
cat "$work/load.log"

step "every acknowledged message is there"
cat "$root"/home/support/Maildir/{new,cur}/* | sed -n 's/^Subject: \(load-[0-9]*-[0-9]*\)\r*$/\1/p' | sort >"$work/arrived"
sort "$work/receipts" >"$work/sent"
lost=$(sort -u "$work/arrived" | comm -23 "$work/sent" - | wc -l)
doubled=$(uniq -d "$work/arrived" | wc -l)
echo "$(wc -l <"$work/sent") acknowledged, $lost lost, $doubled doubled"
[ "$lost" = 0 ]
[ "$(wc -l <"$work/sent")" -gt 100 ]

step "remove, and back"
inside dpkg -r mailsrvd
never active
must inside test -d /var/lib/mailsrvd/queue
inside dpkg -i --force-confold /root/b.deb
must active
probe

step "purge"
inside dpkg -P mailsrvd 2>&1 | tee "$work/said"
has 'stay in /etc/mailsrvd'
never active
for gone in /var/lib/mailsrvd /etc/pam.d/mailsrvd /etc/mailsrvd/mailsrvd.toml /usr/bin/mailsrvd /lib/systemd/system/mailsrvd.service; do
	never inside test -e $gone
done
must inside test -e /etc/mailsrvd/dkim/svc.plus.default.key
must inside test -d /home/support/Maildir/cur
never inside sh -c 'ls /etc/systemd/system/*.wants | grep mailsrvd'
step "debian-test: ok"
