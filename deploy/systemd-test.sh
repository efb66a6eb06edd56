#!/bin/bash
# The unit under a real systemd: boots one as PID 1 of its own namespaces over a
# throw-away copy of this host's files, installs mailsrvd as the README says,
# starts deploy/systemd/mailsrvd.service, and lets `mailsrvd probe` send and read
# a mail through PAM inside it. Then: reload, kill -9, watch it come back. Run as
# root after `make build`; nothing outside the namespaces is changed.
set -euo pipefail
here=$(dirname "$(readlink -f "$0")")
top=$(dirname "$here")
[ "$(id -u)" = 0 ] || { echo "missing: root, to make namespaces" >&2; exit 1; }
[ -x /lib/systemd/systemd ] || { echo "missing: systemd" >&2; exit 1; }

if [ -z "${INSIDE:-}" ]; then
	out=$(mktemp -d /tmp/systemd-test.XXXXXX)
	trap 'rm -rf "$out"' EXIT
	INSIDE=$out timeout --kill-after=5 90 unshare --fork --pid --mount --uts --ipc --net --cgroup \
		--kill-child=KILL --propagation private -- "$0" </dev/null >"$out/boot.log" 2>&1 || true
	cat "$out/transcript" 2>/dev/null || true
	[ "$(cat "$out/result" 2>/dev/null)" = ok ] && { echo "systemd-test: ok"; exit 0; }
	echo "systemd-test: failed" >&2
	tail -n 40 "$out/boot.log" "$out/journal" >&2 2>/dev/null || true
	exit 1
fi

# --- PID 1 of the namespaces: prepare a root, then become systemd -----------
w=/tmp/systemd-test.root
mkdir -p $w
mount -t tmpfs none $w
mkdir $w/up $w/work $w/root $w/empty
r=$w/root
mount -t overlay overlay -o "lowerdir=/,upperdir=$w/up,workdir=$w/work" $r
mount -t proc proc $r/proc
mount -t sysfs sysfs $r/sys
mount -t cgroup2 cgroup2 $r/sys/fs/cgroup
mount -t tmpfs none $r/run
mount -t tmpfs none $r/tmp
mount -t tmpfs none $r/dev
for n in null zero full random urandom tty; do touch $r/dev/$n && mount --bind /dev/$n $r/dev/$n; done
mkdir $r/dev/pts $r/dev/shm $r/run/out
mount -t devpts -o newinstance,ptmxmode=0666 devpts $r/dev/pts
ln -s pts/ptmx $r/dev/ptmx
ln -s /proc/self/fd $r/dev/fd
mount --bind "$INSIDE" $r/run/out
ip link set lo up

install -m 755 "$top/bin/mailsrvd" $r/usr/local/bin/mailsrvd
install -m 644 "$here/pam/mailsrvd" $r/etc/pam.d/mailsrvd
install -D -m 644 "$here/sysusers.d/mailsrvd.conf" $r/etc/sysusers.d/mailsrvd.conf
install -m 644 "$here/systemd/mailsrvd.service" $r/etc/systemd/system/mailsrvd.service
install -d -m 755 $r/etc/mailsrvd
chroot $r systemd-sysusers
chroot $r useradd --create-home support
echo 'support:correct horse' | chroot $r chpasswd
chmod 700 $r/home/support
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 30 -subj /CN=smtp.svc.plus \
	-addext subjectAltName=DNS:smtp.svc.plus,DNS:localhost,IP:127.0.0.1 \
	-keyout $r/etc/mailsrvd/tls.key -out $r/etc/mailsrvd/tls.pem 2>/dev/null
chroot $r chown root:mailsrvd /etc/mailsrvd/tls.key
chmod 640 $r/etc/mailsrvd/tls.key
cat >$r/etc/mailsrvd/mailsrvd.toml <<-'EOF'
	hostname   = "smtp.svc.plus"
	domains    = ["svc.plus"]
	postmaster = "support"
	[tls]
	certificate = "/etc/mailsrvd/tls.pem"
	key         = "/etc/mailsrvd/tls.key"
	[aliases]
	file = ""
EOF
echo '127.0.0.1 localhost smtp.svc.plus' >$r/etc/hosts

cat >$r/etc/systemd/system/check.service <<-'EOF'
	[Unit]
	Wants=mailsrvd.service
	After=mailsrvd.service
	[Service]
	Type=oneshot
	ExecStart=/bin/bash /check.sh
	ExecStopPost=/bin/systemctl exit 0
EOF
cat >$r/check.sh <<-'EOF'
	set -x
	exec >/run/out/transcript 2>&1
	trap 'journalctl -u mailsrvd --no-pager -n 60 >/run/out/journal 2>&1' EXIT
	set -e
	systemctl is-active mailsrvd
	main() { systemctl show -p MainPID --value mailsrvd; }
	grep -E '^(Uid|Gid|Groups|CapEff|CapBnd|NoNewPrivs|Seccomp):' /proc/"$(main)"/status
	systemctl show -p StatusText mailsrvd
	probe() { printf 'correct horse\n' | mailsrvd probe --user support; }
	probe
	ls -ld /home/support /home/support/Maildir
	systemctl reload mailsrvd && sleep 1 && probe
	old=$(main)
	kill -9 "$old"
	for _ in $(seq 50); do sleep 0.2; [ "$(main)" != "$old" ] && [ "$(main)" != 0 ] && systemctl is-active -q mailsrvd && break; done
	[ "$(main)" != "$old" ]
	probe
	systemctl stop mailsrvd
	systemctl show -p Result -p ExecMainStatus mailsrvd
	echo ok >/run/out/result
EOF
: >$r/etc/machine-id
# Only what the unit needs is started.
rm -rf $r/etc/systemd/system/*.wants
exec env -i container=nspawn PATH=/usr/sbin:/usr/bin:/sbin:/bin chroot $r /lib/systemd/systemd --unit=check.service --log-target=journal
