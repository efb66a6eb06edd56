#!/bin/bash
# The main job, walked through with real clients: a system user through PAM,
# a mail by swaks over 587, the file in his Maildir, the message read over 993
# by curl, mbsync and openssl, and a signed copy at a Postfix whose opendkim
# accepts the signature. Run as root:
#
#   deploy/walkthrough.sh [TRANSCRIPT.md]
#
# It works in network and mount namespaces of its own: the real ports, /etc and
# /var of the host are not touched, except for two system users, which it makes
# when they are missing and then removes again. Any step that does not give what
# it must ends the script with status 1.
set -euo pipefail
here=$(dirname "$(readlink -f "$0")")
top=$(dirname "$here")
transcript=${1:-}
[ "$(id -u)" = 0 ] || { echo "missing: root, to make users and namespaces" >&2; exit 1; }
for c in swaks curl mbsync openssl postfix opendkim dnsmasq setpriv ip systemd-sysusers; do
	command -v $c >/dev/null || { echo "missing: $c (deploy/setup.sh build test)" >&2; exit 1; }
done

if [ -z "${IN_WALKTHROUGH:-}" ]; then
	# Absolute, since the inner run may stand elsewhere.
	[ -z "$transcript" ] || transcript=$(readlink -f "$transcript")
	IN_WALKTHROUGH=1 exec unshare --net --mount --propagation private -- "$0" $transcript
fi

work=$(mktemp -d /tmp/walkthrough.XXXXXX)
chmod 711 "$work"
pids=() made_users=() made_dirs=()
cleanup() {
	set +e
	[ -z "${postfix_up:-}" ] || postfix -c "$work/postfix" stop 2>/dev/null
	for p in "${pids[@]}"; do kill "$p" 2>/dev/null; done
	wait 2>/dev/null
	for u in "${made_users[@]}"; do userdel "$u" 2>/dev/null; done
	[ -z "${made_home:-}" ] || rm -rf /home/support
	[ -z "${made_group:-}" ] || groupdel mailsrvd 2>/dev/null
	umount /etc/mailsrvd /var/lib/mailsrvd /run/mailsrvd /etc/resolv.conf /usr/local/bin /etc/pam.d 2>/dev/null
	for d in "${made_dirs[@]}"; do rmdir "$d"; done
	rm -rf "$work"
}
trap cleanup EXIT
trap 'exit 130' INT TERM

# --- the transcript -------------------------------------------------------
exec 3>"$work/transcript"
say() { printf '%s\n' "$*" >&3; printf '%s\n' "$*"; }
# run COMMAND: shows the command and what it prints, and fails with it.
run() {
	say "\$ $*"
	local out code=0
	out=$(bash -c "$*" 2>&1) || code=$?
	[ -z "$out" ] || say "$out"
	[ $code = 0 ] || { say "(exit status $code)"; return $code; }
}
# refused COMMAND: the same for a command that must fail.
refused() {
	say "\$ $*"
	local out code=0
	out=$(bash -c "$*" 2>&1) || code=$?
	say "$out"
	say "(exit status $code)"
	[ $code != 0 ] || { echo "should have failed: $*" >&2; exit 1; }
}
block() { say '```console'; }
end() { say '```'; }
# must PATTERN: the transcript so far has a line like this.
must() { grep -qE -- "$1" "$work/transcript" || { echo "the transcript lacks: $1" >&2; exit 1; }; }
await() { # await SECONDS COMMAND
	local i
	for ((i = 0; i < $1 * 10; i++)); do eval "$2" >/dev/null 2>&1 && return 0; sleep 0.1; done
	echo "gave up waiting for: $2" >&2
	tail -n 20 "$work"/*.log >&2
	return 1
}

# --- a small Internet -----------------------------------------------------
# Our host is 192.0.2.1; mx.example.net at 192.0.2.25 is another machine, a
# second network namespace behind a cable. Documentation addresses lead nowhere
# else.
unshare --net sleep 600 &
mx=$!
pids+=("$mx")
await 5 "[ \"\$(readlink /proc/$mx/ns/net)\" != \"\$(readlink /proc/self/ns/net)\" ]"
on_mx() { nsenter --target "$mx" --net -- "$@"; }
ip link set lo up
ip link add cable0 type veth peer name cable1 netns "$mx"
ip addr add 192.0.2.1/24 dev cable0
ip link set cable0 up
on_mx ip link set lo up
on_mx ip addr add 192.0.2.25/24 dev cable1
on_mx ip link set cable1 up
mkdir "$work/host"
for d in /etc/mailsrvd /var/lib/mailsrvd /run/mailsrvd; do
	[ -d $d ] || { mkdir -p $d; made_dirs+=("$d"); }
	mount -t tmpfs -o mode=755 none $d
done
for d in /usr/local/bin /etc/pam.d; do
	mkdir -p "$work/host$d" && cp -a $d/. "$work/host$d/" && mount --bind "$work/host$d" $d
done
install -m 755 "$top/bin/mailsrvd" /usr/local/bin/mailsrvd
install -m 644 "$top/deploy/pam/mailsrvd" /etc/pam.d/mailsrvd
echo 'nameserver 127.0.0.1' >"$work/resolv.conf"
mount --bind "$work/resolv.conf" /etc/resolv.conf

getent group mailsrvd >/dev/null || made_group=1
getent passwd mailsrvd >/dev/null || made_users+=(mailsrvd)

say '# Walkthrough: the main job with real clients'
say
say 'Made by `deploy/walkthrough.sh`, which `make walkthrough` and CI run; every'
say 'line below was printed by the command above it. The host is one network'
say 'namespace with its own DNS (dnsmasq): `smtp.svc.plus` is this server,'
say '`mx.example.net` a Postfix with opendkim as verifier.'
say
say '## A user, the daemon'"'"'s own user, keys and configuration'
block
run systemd-sysusers "$here/sysusers.d/mailsrvd.conf"
if ! getent passwd support >/dev/null; then
	[ ! -e /home/support ] || { echo "/home/support exists without its user" >&2; exit 1; }
	made_users+=(support) made_home=1
	run useradd --create-home --shell /usr/sbin/nologin support
else
	[ -n "${CI:-}${REUSE_SUPPORT:-}" ] || { echo "a user support exists; set REUSE_SUPPORT=1 to set his password and use him" >&2; exit 1; }
fi
echo 'support:correct horse' | chpasswd
run chmod 0700 /home/support
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 30 -subj /CN=smtp.svc.plus \
	-addext subjectAltName=DNS:smtp.svc.plus -keyout /etc/mailsrvd/svc.plus.key -out /etc/mailsrvd/svc.plus.pem 2>/dev/null
chown root:mailsrvd /etc/mailsrvd/svc.plus.key && chmod 640 /etc/mailsrvd/svc.plus.key
install -d -o root -g mailsrvd -m 750 /etc/mailsrvd/dkim
cat >/etc/mailsrvd/mailsrvd.toml <<-'EOF'
	hostname   = "smtp.svc.plus"
	domains    = ["svc.plus"]
	postmaster = "support"

	[listen]
	mx          = "192.0.2.1:25"
	submission  = "192.0.2.1:587"
	submissions = "192.0.2.1:465"
	imap        = "192.0.2.1:143"
	imaps       = "192.0.2.1:993"
	metrics     = "127.0.0.1:9925"

	[tls]
	certificate = "/etc/mailsrvd/svc.plus.pem"
	key         = "/etc/mailsrvd/svc.plus.key"

	[auth]
	backend = "pam"

	[aliases]
	file = "/etc/mailsrvd/aliases"

	[[dkim]]
	domain   = "svc.plus"
	selector = "default"
	key      = "/etc/mailsrvd/dkim/svc.plus.default.key"

	[[dkim]]
	domain   = "svc.plus"
	selector = "ed"
	key      = "/etc/mailsrvd/dkim/svc.plus.ed.key"
EOF
echo 'hostmaster: support' >/etc/mailsrvd/aliases
run "mailsrvd dkim genkey svc.plus --selector default --algorithm rsa2048 >/dev/null"
run "mailsrvd dkim genkey svc.plus --selector ed --algorithm ed25519"
chown -R root:mailsrvd /etc/mailsrvd/dkim && chmod 640 /etc/mailsrvd/dkim/*.key
chown mailsrvd:mail /var/lib/mailsrvd /run/mailsrvd
end

# DNS as the administrator would publish it: the records that mailsrvd prints.
mailsrvd dkim show svc.plus --json >"$work/dkim.json"
{
	echo 'no-resolv
no-hosts
listen-address=127.0.0.1,192.0.2.1
bind-interfaces
local=/svc.plus/
local=/example.net/
address=/smtp.svc.plus/192.0.2.1
address=/mx.example.net/192.0.2.25
mx-host=svc.plus,smtp.svc.plus,10
mx-host=example.net,mx.example.net,10
ptr-record=1.2.0.192.in-addr.arpa,smtp.svc.plus'
	python3 - "$work/dkim.json" <<-'EOF'
		import json, sys
		for r in json.load(open(sys.argv[1])):
		    v = r["value"]
		    print("txt-record=%s,%s" % (r["name"].rstrip("."), ",".join('"%s"' % v[i:i+250] for i in range(0, len(v), 250))))
	EOF
} >"$work/dnsmasq.conf"
dnsmasq -k -C "$work/dnsmasq.conf" --user=root >"$work/dnsmasq.log" 2>&1 &
pids+=($!)

# The other machine: Postfix with opendkim.
mkdir -p "$work/postfix" "$work/spool" "$work/data" "$work/mx/"{tmp,new,cur}
chmod 755 "$work/spool"
chown postfix "$work/data"
chown -R nobody "$work/mx"
cat >"$work/postfix/main.cf" <<-EOF
	compatibility_level = 3.6
	queue_directory = $work/spool
	data_directory = $work/data
	myhostname = mx.example.net
	mydestination = example.net
	inet_interfaces = 192.0.2.25
	inet_protocols = ipv4
	mynetworks = 192.0.2.25/32
	smtpd_peername_lookup = no
	local_recipient_maps =
	alias_maps =
	mailbox_transport = virtual
	virtual_mailbox_base = $work
	virtual_mailbox_maps = static:mx/
	virtual_uid_maps = static:$(id -u nobody)
	virtual_gid_maps = static:$(id -g nobody)
	smtpd_milters = inet:127.0.0.1:8891
	milter_default_action = tempfail
	maillog_file = $work/postfix.log
	maillog_file_prefixes = /tmp
	smtpd_tls_cert_file = $work/mx.pem
	smtpd_tls_key_file = $work/mx.key
	smtpd_tls_security_level = may
EOF
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 30 -subj /CN=mx.example.net \
	-keyout "$work/mx.key" -out "$work/mx.pem" 2>/dev/null
cp /etc/postfix/master.cf.proto "$work/postfix/master.cf" 2>/dev/null || cp /usr/share/postfix/master.cf.dist "$work/postfix/master.cf"
# No chroot: the spool lies in a scratch directory without /etc.
sed -i -E 's/^([a-z]+ +(inet|unix|pass|fifo|unix-dgram) +[-yn] +[-yn?] +)y/\1n/' "$work/postfix/master.cf"
grep -q '^postlog' "$work/postfix/master.cf" || echo 'postlog unix-dgram n - n - 1 postlogd' >>"$work/postfix/master.cf"
cat >"$work/opendkim.conf" <<-EOF
	Mode v
	Socket inet:8891@127.0.0.1
	Nameservers 192.0.2.1
	AuthservID mx.example.net
	Syslog no
EOF
on_mx opendkim -f -x "$work/opendkim.conf" >"$work/opendkim.log" 2>&1 &
pids+=($!)
on_mx postfix -c "$work/postfix" start >"$work/postfix.start.log" 2>&1
postfix_up=1

say
say '## Check, then serve: as mailsrvd, group mail, three capabilities, homes 0700'
block
run mailsrvd check-config
caps=-all,+setuid,+setgid,+net_bind_service
say "\$ setpriv --reuid mailsrvd --regid mail --groups shadow,mailsrvd --inh-caps $caps \\"
say "    --ambient-caps $caps --bounding-set $caps --no-new-privs mailsrvd serve &"
setpriv --reuid mailsrvd --regid mail --groups "$(getent group shadow | cut -d: -f3),$(getent group mailsrvd | cut -d: -f3)" \
	--inh-caps $caps --ambient-caps $caps --bounding-set $caps --no-new-privs \
	mailsrvd serve >"$work/mailsrvd.log" 2>&1 &
server=$!
pids+=("$server")
await 10 "(exec 4<>/dev/tcp/192.0.2.1/993) 2>/dev/null"
run "grep -E '^(Uid|Gid|Groups|CapInh|CapPrm|CapEff|CapBnd|CapAmb|NoNewPrivs)' /proc/$server/status"
must 'CapBnd:.*00000000000004c0'
must 'CapEff:.*00000000000004c0'
run "ls -ld /home/support"
run "mailsrvd status"
end

say
say '## A mail by swaks over 587, through PAM'
block
run "swaks --server 192.0.2.1:587 --tls --auth PLAIN --auth-user support@svc.plus --auth-password 'correct horse' --from support@svc.plus --to support@svc.plus --header 'Subject: first mail' --body 'It works.' --suppress-data"
must '250 .*2\.[0-9]\.0'
run "ls -l /home/support/Maildir/new/"
run "cat /home/support/Maildir/new/*"
must '^Delivered-To: support@svc.plus'
must '^Subject: first mail'
end

say
say '## Read over 993: curl, mbsync, openssl s_client'
block
run "curl -sS --insecure --resolve smtp.svc.plus:993:192.0.2.1 -u 'support@svc.plus:correct horse' 'imaps://smtp.svc.plus/INBOX;MAILINDEX=1;SECTION=HEADER.FIELDS%20(SUBJECT%20FROM)'"
cat >"$work/mbsyncrc" <<-EOF
	IMAPStore server
	Host smtp.svc.plus
	User support
	Pass "correct horse"
	SSLType IMAPS
	CertificateFile /etc/mailsrvd/svc.plus.pem

	MaildirStore here
	Path $work/mbsync/
	Inbox $work/mbsync/INBOX
	SubFolders Verbatim

	Channel all
	Far :server:
	Near :here:
	Patterns *
	Create Both
	Expunge Both
	SyncState *
EOF
mkdir "$work/mbsync"
run "mbsync -c $work/mbsyncrc -a"
run "grep -rh ^Subject: $work/mbsync/INBOX"
run "printf 'a LOGIN support \"correct horse\"\r\nb SELECT INBOX\r\nc FETCH 1 (UID FLAGS RFC822.SIZE ENVELOPE)\r\nd LOGOUT\r\n' | openssl s_client -quiet -ign_eof -connect 192.0.2.1:993 2>/dev/null"
must '^c OK'
must '"first mail"'
end

say
say '## A signed copy at another host, whose verifier accepts it'
block
run "swaks --server 192.0.2.1:465 --tls-on-connect --auth LOGIN --auth-user support --auth-password 'correct horse' --from support@svc.plus --to friend@example.net --header 'Subject: signed copy' --body 'See the signatures.' --suppress-data"
await 20 "grep -l 'signed copy' $work/mx/new/*"
run "sed -n '1,/^\$/p' $work/mx/new/*"
must 'Authentication-Results: mx.example.net;'
must 'dkim=pass \(2048-bit key'
run "mailsrvd queue list"
end

say
say '## Mail from outside: known users only, no relaying, no login in the clear'
block
run "swaks --server 192.0.2.1:25 --from someone@example.net --to hostmaster@svc.plus --header 'Subject: from outside' --body hello --hide-all && echo accepted"
refused "swaks --server 192.0.2.1:25 --from someone@example.net --to nobody-here@svc.plus --quit-after RCPT --hide-informational"
refused "swaks --server 192.0.2.1:25 --from someone@example.net --to other@example.org --quit-after RCPT --hide-informational"
must 'no such user'
must 'relay'
refused "curl -sS -u 'support:correct horse' imap://192.0.2.1/INBOX"
run "printf 'a CAPABILITY\r\nb LOGOUT\r\n' | timeout 5 bash -c 'exec 4<>/dev/tcp/192.0.2.1/143; cat >&4; cat <&4'"
must 'LOGINDISABLED'
refused "swaks --server 192.0.2.1:587 --tls --auth PLAIN --auth-user support --auth-password wrong --from support@svc.plus --to support@svc.plus --quit-after AUTH --hide-informational"
must '535'
run "grep -m1 'auth failed' $work/mailsrvd.log"
end

say
say '## Stop'
block
run "kill -TERM $server"
code=0
wait $server || code=$?
say "(mailsrvd ended with status $code)"
[ $code = 0 ]
end

# Paths and pids that differ from run to run say nothing.
sed -i "s#$work#/tmp/walkthrough#g; s#$top/##g" "$work/transcript"
[ -z "$transcript" ] || cp "$work/transcript" "$transcript"
echo "walkthrough: every step gave what it must" >&2
