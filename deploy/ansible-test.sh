#!/bin/bash
# The Ansible playbook on a bare Debian: debootstrap makes one with nothing but
# sshd and Python, a real systemd boots it in namespaces, and Ansible, over SSH,
# makes a mail server of it. A second run must change nothing. Then the pipeline
# deploy/ci-cd/mailstack-test.yml is run against it, step by step. Run as root
# after `make build`; nothing is left on this host.
set -euo pipefail
here=$(dirname "$(readlink -f "$0")")
top=$(dirname "$here")
[ "$(id -u)" = 0 ] || { echo "missing: root, to make namespaces" >&2; exit 1; }
for c in debootstrap ansible-playbook ansible-lint openssl ssh-keygen; do
	command -v $c >/dev/null || { echo "missing: $c (deploy/setup.sh build test)" >&2; exit 1; }
done
if [ -z "${IN_TEST:-}" ]; then
	IN_TEST=1 exec unshare --mount --propagation private -- "$0"
fi
. "$here/machine.sh"
work=$(mktemp -d /tmp/ansible-test.XXXXXX)
mount -t tmpfs none "$work"
machine_dir=$work/machine
trap 'code=$?; [ $code = 0 ] || report; machine_stop; umount -l "$work"; rmdir "$work"; exit $code' EXIT
report() {
	echo "ansible-test: failed" >&2
	[ -z "${machine_pid:-}" ] || inside journalctl -u mailsrvd --no-pager -n 40 >&2 || true
}
step() { printf -- '--- %s (%d s)\n' "$*" $SECONDS; }
export ANSIBLE_CONFIG=$here/ansible/ansible.cfg ANSIBLE_LOCAL_TEMP=$work/ansible ANSIBLE_HOME=$work/ansible

step "ansible-lint"
(cd "$here/ansible" && XDG_CACHE_HOME=$work/lint ansible-lint --offline -q playbooks/deploy_mail.yml)

step "a bare Debian with sshd"
"$here/deb/build.sh" "$work/deb" >/dev/null
root=$work/root
debootstrap --variant=minbase --include=systemd,systemd-sysv,dbus,openssh-server,python3,python3-apt,libpam0g bookworm "$root" >"$work/debootstrap.log" ||
	{ tail "$work/debootstrap.log"; exit 1; }
ssh-keygen -q -t ed25519 -N '' -f "$work/key"
install -D -m 600 "$work/key.pub" "$root/root/.ssh/authorized_keys"
mkdir -p "$root/etc/ssl"
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 90 -subj /CN=smtp.svc.plus \
	-addext subjectAltName=DNS:smtp.svc.plus,DNS:localhost,IP:127.0.0.1 \
	-keyout "$root/etc/ssl/mail.key" -out "$root/etc/ssl/mail.pem" 2>/dev/null
machine_start "$root"
inside bash -c 'for _ in $(seq 100); do systemctl is-active -q ssh && exit 0; sleep 0.2; done; exit 1'

cat >"$work/inventory" <<-EOF
	127.0.0.1 ansible_user=root ansible_ssh_private_key_file=$work/key ansible_python_interpreter=/usr/bin/python3
EOF
cat >"$work/vars.yml" <<-EOF
	mailsrvd_package: $(echo "$work"/deb/*.deb)
	mailsrvd_hostname: smtp.svc.plus
	mailsrvd_domains: [svc.plus, example.org]
	mailsrvd_postmaster: support
	mailsrvd_certificate: /etc/ssl/mail.pem
	mailsrvd_certificate_key: /etc/ssl/mail.key
	mailsrvd_users:
	  - name: support
	    password: "$(openssl passwd -6 'correct horse')"
	mailsrvd_aliases:
	  info: support
EOF
export ANSIBLE_SSH_ARGS="-o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR"
play() {
	beside ansible-playbook -i "$work/inventory" -e "@$work/vars.yml" "$@" "$here/ansible/playbooks/deploy_mail.yml" >"$work/play" ||
		{ cat "$work/play"; return 1; }
	tail -n 3 "$work/play"
}
step "from nothing to a mail server"
play
step "once more: nothing to do"
play
grep -q 'changed=0 .*failed=0' "$work/play"
step "a configuration that the server refuses is not written"
! play -e mailsrvd_extra_config=nonsense >/dev/null
inside mailsrvd check-config
step "a change is taken over"
play -e '{"mailsrvd_aliases": {"info": "support", "sales": "support"}}'
grep -q 'changed=[1-9].*failed=0' "$work/play"

step "the pipeline's steps"
mkdir "$work/ci"
python3 - "$here/ci-cd/mailstack-test.yml" "$work/ci" <<-'EOF'
	import sys, yaml
	job = yaml.safe_load(open(sys.argv[1]))["jobs"]["probe"]
	runs = [s for s in job["steps"] if "run" in s]
	assert len(runs) >= 4, runs
	for n, s in enumerate(runs):
	    open("%s/%02d" % (sys.argv[2], n), "w").write("set -eo pipefail\n" + s["run"])
EOF
mkdir "$work/checkout"
(cd "$top" && git ls-files -z | xargs -0 tar -c) | tar -x -C "$work/checkout"
for s in "$work"/ci/*; do
	# The machine's certificate is its own authority here.
	(cd "$work/checkout" && beside env SSL_CERT_FILE="$root/etc/ssl/mail.pem" MAIL_HOST=localhost MAIL_USER=support@svc.plus \
		MAILSRVD_PASSWORD='correct horse' bash "$s")
done
step "ansible-test: ok"
