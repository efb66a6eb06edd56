#!/bin/bash
# The unit under a real systemd: boots one in namespaces over a throw-away copy
# of this host's files, installs mailsrvd as the README says, starts
# deploy/systemd/mailsrvd.service, and lets `mailsrvd probe` send and read a mail
# through PAM inside it. Then: a filter by sieve-connect, reload, kill -9, watch it
# come back. Run as root after `make build`; nothing outside the namespaces is
# changed.
set -euo pipefail
here=$(dirname "$(readlink -f "$0")")
top=$(dirname "$here")
[ "$(id -u)" = 0 ] || { echo "missing: root, to make namespaces" >&2; exit 1; }
[ -x /lib/systemd/systemd ] || { echo "missing: systemd" >&2; exit 1; }
. "$here/machine.sh"
machine_dir=$(mktemp -d /tmp/systemd-test.XXXXXX)
trap 'code=$?; [ $code = 0 ] || report; machine_stop; rm -rf "$machine_dir"; exit $code' EXIT
report() {
	echo "systemd-test: failed" >&2
	[ -z "${machine_pid:-}" ] || inside journalctl -u mailsrvd --no-pager -n 60 >&2 || true
}

machine_start /
put 755 /usr/local/bin/mailsrvd <"$top/bin/mailsrvd"
put 644 /etc/pam.d/mailsrvd <"$here/pam/mailsrvd"
put 644 /etc/sysusers.d/mailsrvd.conf <"$here/sysusers.d/mailsrvd.conf"
put 644 /etc/systemd/system/mailsrvd.service <"$here/systemd/mailsrvd.service"
put 755 /usr/local/bin/ticket <<-'EOF'
	#!/bin/sh
	{ cat /proc/$$/status; cat; } >/home/tickets/mail || exit 75
EOF
inside bash -ex <<-'EOF'
	install -d -m 755 /etc/mailsrvd
	systemd-sysusers
	id support 2>/dev/null || useradd --create-home support
	echo 'support:correct horse' | chpasswd
	chmod 700 /home/support
	openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 30 -subj /CN=smtp.svc.plus \
		-addext subjectAltName=DNS:smtp.svc.plus,DNS:localhost,IP:127.0.0.1 \
		-keyout /etc/mailsrvd/tls.key -out /etc/mailsrvd/tls.pem 2>/dev/null
	chown root:mailsrvd /etc/mailsrvd/tls.key
	chmod 640 /etc/mailsrvd/tls.key
	cat >/etc/mailsrvd/mailsrvd.toml <<-'TOML'
		hostname   = "smtp.svc.plus"
		domains    = ["svc.plus"]
		postmaster = "support"
		[listen]
		managesieve = ":4190"
		[tls]
		certificate = "/etc/mailsrvd/tls.pem"
		key         = "/etc/mailsrvd/tls.key"
		[aliases]
		file = "/etc/mailsrvd/aliases"
		pipe_programs = ["/usr/local/bin/ticket"]
	TOML
	echo 'tickets: |/usr/local/bin/ticket' >/etc/mailsrvd/aliases
	install -d -o nobody -g nogroup -m 700 /home/tickets
	echo '127.0.0.1 localhost smtp.svc.plus' >/etc/hosts
	systemctl daemon-reload
	systemctl start mailsrvd

	main() { systemctl show -p MainPID --value mailsrvd; }
	grep -E '^(Uid|Gid|Groups|CapEff|CapBnd|NoNewPrivs|Seccomp):' /proc/"$(main)"/status
	systemctl show -p StatusText mailsrvd
	probe() { printf 'correct horse\n' | mailsrvd probe --user support; }
	probe
	ls -ld /home/support /home/support/Maildir
	# A program of an alias: in the unit's sandbox, as nobody, with no right of ours.
	printf 'Subject: for the program\n\nhello\n' | mailsrvd sendmail tickets@svc.plus
	grep -q '^Subject: for the program$' /home/tickets/mail
	nobody=$(id -u nobody) nogroup=$(id -g nobody)
	for line in "Uid:.$nobody.$nobody.$nobody.$nobody" "Gid:.$nogroup.$nogroup.$nogroup.$nogroup" 'Groups:[[:space:]]*' \
		'CapPrm:.0*' 'CapEff:.0*' 'CapAmb:.0*' 'NoNewPrivs:.1'; do
		grep -x "$line" /home/tickets/mail
	done
	# A filter that is uploaded under the sandbox files the next message.
	echo 'require ["fileinto","mailbox"]; fileinto :create "Filtered";' >/tmp/filter.sieve
	sieve() { echo 'correct horse' | sieve-connect --nosrv -4 --server localhost --tlscafile /etc/mailsrvd/tls.pem --user support --passwordfd 0 "$@"; }
	sieve --upload --localsieve /tmp/filter.sieve --remotesieve main
	sieve --activate --remotesieve main
	printf 'Subject: filtered\n\nx\n' | mailsrvd sendmail support@svc.plus
	ls -l /home/support/.dovecot.sieve /home/support/sieve /home/support/Maildir/.Filtered/new
	[ "$(ls /home/support/Maildir/.Filtered/new | wc -l)" = 1 ]
	[ "$(stat -c %U:%G:%a /home/support/sieve/main.sieve)" = support:support:600 ]
	printf 'AUTHENTICATE "PLAIN" "%s"\r\nRENAMESCRIPT "main" "other"\r\nLOGOUT\r\n' "$(printf '\0support\0correct horse' | base64)" |
		openssl s_client -quiet -ign_eof -starttls sieve -connect 127.0.0.1:4190
	[ "$(readlink /home/support/.dovecot.sieve)" = sieve/other.sieve ]
	sieve --deactivate

	systemctl reload mailsrvd && sleep 1 && probe
	# Each value of a line is a field in the journal, and a message is followed there
	# after a restart.
	field() { journalctl -u mailsrvd --no-pager -o json "$@" | python3 -c 'import json, sys; [print(json.loads(l)["MAILSRVD_'"$f"'"]) for l in sys.stdin]'; }
	f=CONFIG; [ "$(field MAILSRVD_MSG=ready)" = /etc/mailsrvd/mailsrvd.toml ]
	f=TRACE; trace=$(field MAILSRVD_MSG=message | tail -n 1)
	mailsrvd trace "$trace" | sed 's/^[^ ]* [^ ]*//' | tee /root/trace
	grep -q 'saved mail to INBOX' /root/trace
	old=$(main)
	kill -9 "$old"
	for _ in $(seq 50); do sleep 0.2; [ "$(main)" != "$old" ] && [ "$(main)" != 0 ] && systemctl is-active -q mailsrvd && break; done
	[ "$(main)" != "$old" ]
	probe
	mailsrvd trace "$trace" | sed 's/^[^ ]* [^ ]*//' | diff - /root/trace
	mailsrvd trace --json "$trace" | python3 -c 'import json, sys; assert len(json.load(sys.stdin)) > 1'
	systemctl stop mailsrvd
	systemctl show -p Result -p ExecMainStatus mailsrvd
EOF
echo "systemd-test: ok"
