#!/bin/bash
# Runs every command of docs/manual, page by page, on a machine: what the manual
# says must be so. Run as root after `make setup-test`; nothing is left on this
# host.
set -euo pipefail
here=$(dirname "$(readlink -f "$0")")
manual=$here/../docs/manual
[ "$(id -u)" = 0 ] || { echo "missing: root, to make namespaces" >&2; exit 1; }
for c in swaks openssl python3; do
	command -v $c >/dev/null || { echo "missing: $c (deploy/setup.sh build test)" >&2; exit 1; }
done
. "$here/machine.sh"
machine_dir=$(mktemp -d /tmp/manual-test.XXXXXX)
trap 'code=$?; [ $code = 0 ] || report; machine_stop; rm -rf "$machine_dir"; exit $code' EXIT
report() {
	echo "manual-test: failed" >&2
	[ -z "${machine_pid:-}" ] || inside journalctl -u mailsrvd --no-pager -n 40 >&2 || true
}
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
for page in $(grep -o '^[0-9]*\. \[[^]]*\](\([a-z-]*\.md\))' "$manual/README.md" | grep -o '[a-z-]*\.md'); do
	"$here/manual.py" "$manual/$page" "${inside[@]}"
done
# No page is forgotten in the list.
for page in "$manual"/*.md; do
	grep -q "(${page##*/})" "$manual/README.md" || [ "${page##*/}" = README.md ] || { echo "$page is not in README.md" >&2; exit 1; }
done
echo "manual-test: ok"
