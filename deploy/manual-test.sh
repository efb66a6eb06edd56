#!/bin/bash
# Runs every command of docs/manual, page by page, on a machine: what the manual
# says must be so. Run as root after `make setup-test`; nothing is left on this
# host.
set -euo pipefail
here=$(dirname "$(readlink -f "$0")")
manual=$here/../docs/manual
[ "$(id -u)" = 0 ] || { echo "missing: root, to make namespaces" >&2; exit 1; }
for c in swaks openssl python3 curl unbound ss; do
	command -v $c >/dev/null || { echo "missing: $c (deploy/setup.sh build test)" >&2; exit 1; }
done
. "$here/machine.sh"
machine_dir=$(mktemp -d /tmp/manual-test.XXXXXX)
trap 'code=$?; [ $code = 0 ] || report; machine_stop; rm -rf "$machine_dir"; exit $code' EXIT
report() {
	echo "manual-test: failed" >&2
	[ -z "${machine_pid:-}" ] || inside journalctl -u mailsrvd --no-pager -n 40 >&2 || true
}
pages=$(grep -o '^[0-9]*\. \[[^]]*\](\([a-z-]*\.md\))' "$manual/README.md" | grep -o '[a-z-]*\.md')
# No page is forgotten in the list, and no command in the text of one.
for page in "$manual"/*.md; do
	grep -q "(${page##*/})" "$manual/README.md" || [ "${page##*/}" = README.md ] || { echo "$page is not in README.md" >&2; exit 1; }
done
"$here/manual.py" --spans "$manual"/*.md "$here/../docs/migrate.md"
"$here/deb/build.sh" "$machine_dir/deb" >/dev/null
machine_start /
put 644 /root/mailsrvd_0_amd64.deb <"$(echo "$machine_dir"/deb/*.deb)"
inside bash -e <<-'EOF'
	# The machine is a copy of a host on which people may have mail.
	awk -F: '$3 >= 1000 && $3 < 60000 {print $1}' /etc/passwd | xargs -rn1 userdel
	rm -rf /home/*
	echo '127.0.0.1 localhost smtp.svc.plus' >/etc/hosts
	openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 90 -subj /CN=smtp.svc.plus \
		-addext subjectAltName=DNS:smtp.svc.plus,DNS:localhost,IP:127.0.0.1 -keyout tls.key -out tls.pem 2>/dev/null
EOF
# The DNS of this machine: it refuses all questions but those about what publish
# has put into it, as one would by hand.
put 755 /root/publish <<-'EOF'
	#!/bin/bash -e
	{
		printf '%s\n' 'server:' '  directory: "/root"' '  username: ""' '  chroot: ""' '  do-daemonize: no' '  use-syslog: no' \
			'  interface: 127.0.0.1' '  module-config: "iterator"' '  local-zone: "." refuse' '  local-zone: "invalid." refuse' '  local-zone: "svc.plus." static'
		if [ "$1" != nothing ]; then
			mailsrvd dns records svc.plus | sed -n "/^[^;]/s/.*/  local-data: '&'/p"
			printf '%s\n' "  local-data: 'smtp.svc.plus. A 127.0.0.1'" '  local-data-ptr: "127.0.0.1 smtp.svc.plus"'
		fi
	} >/root/unbound.conf
	systemctl stop dns 2>/dev/null || true
	systemd-run --quiet --unit=dns --collect unbound -d -c /root/unbound.conf
	for _ in $(seq 100); do
		(: </dev/tcp/127.0.0.1/53) 2>/dev/null && exit 0
		sleep 0.1
	done
	exit 1
EOF
inside bash -ec 'rm -f /etc/resolv.conf; echo nameserver 127.0.0.1 >/etc/resolv.conf; /root/publish nothing'
for page in $pages; do
	"$here/manual.py" "$manual/$page" "${inside[@]}"
done
echo "manual-test: ok"
