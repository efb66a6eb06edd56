#!/bin/bash
# The move from Debian's chasquid and Dovecot and back, as docs/migrate.md says:
# a machine runs the pair and gets mail, the page's commands move it over and
# back, and each server must show the same folders, UIDs and flags. Run as root
# after `make setup-test`; nothing is left on this host.
set -euo pipefail
here=$(dirname "$(readlink -f "$0")")
top=$(dirname "$here")
[ "$(id -u)" = 0 ] || { echo "missing: root, to make namespaces" >&2; exit 1; }
for c in chasquid dovecot doveadm sievec swaks python3 openssl; do
	command -v $c >/dev/null || { echo "missing: $c (deploy/setup.sh build test)" >&2; exit 1; }
done
"$here/manual.py" --spans "$top/docs/migrate.md"
. "$here/machine.sh"
machine_dir=$(mktemp -d /tmp/migrate-test.XXXXXX)
trap 'code=$?; [ $code = 0 ] || report; machine_stop; rm -rf "$machine_dir"; exit $code' EXIT
report() {
	echo "migrate-test: failed" >&2
	[ -z "${machine_pid:-}" ] || inside journalctl -u mailsrvd -u mailsrvd-trial -u chasquid -u dovecot --no-pager -n 60 >&2 || true
}

"$here/deb/build.sh" "$machine_dir/deb" >/dev/null
machine_start /
put 644 /root/mailsrvd_0_amd64.deb <"$(echo "$machine_dir"/deb/*.deb)"
put 755 /root/mailstate.py <"$here/mailstate.py"

# The pair, set up as chasquid's manual says.
put 644 /etc/chasquid/chasquid.conf <<-'EOF'
	hostname: "smtp.svc.plus"
	dovecot_auth: true
	mail_delivery_agent_bin: "/usr/bin/mda-lmtp"
	mail_delivery_agent_args: "--addr"
	mail_delivery_agent_args: "/run/dovecot/lmtp"
	mail_delivery_agent_args: "-f"
	mail_delivery_agent_args: "%from%"
	mail_delivery_agent_args: "-d"
	mail_delivery_agent_args: "%to_user%"
EOF
put 644 /etc/chasquid/domains/svc.plus/aliases <<-'EOF'
	sales: support, second
	postmaster: support
EOF
put 644 /etc/dovecot/local.conf <<-'EOF'
	mail_location = maildir:~/Maildir
	auth_username_format = %Ln
	namespace inbox {
	  separator = /
	}
	service auth {
	  unix_listener auth-chasquid-userdb {
	    mode = 0660
	    user = chasquid
	  }
	  unix_listener auth-chasquid-client {
	    mode = 0660
	    user = chasquid
	  }
	}
	protocol lmtp {
	  mail_plugins = $mail_plugins sieve
	}
	ssl = required
	ssl_cert = </etc/chasquid/certs/svc.plus/fullchain.pem
	ssl_key = </etc/chasquid/certs/svc.plus/privkey.pem
EOF
inside bash -e <<-'EOF'
	for u in support second; do
		id $u >/dev/null 2>&1 || useradd --create-home $u
		echo "$u:correct horse" | chpasswd
		rm -rf /home/$u/Maildir
		install -d -m 700 -o $u -g $u /home/$u/Maildir
	done
	# The machine is a copy of a host on which people may have mail.
	awk -F: '$3 >= 1000 && $3 < 60000 && $1 != "support" && $1 != "second" {print $1}' /etc/passwd | xargs -rn1 userdel
	echo 'correct horse' >/root/support.password
	install -d -o second -g second /home/second/sieve
	cat >/home/second/sieve/main.sieve <<-'SIEVE'
		require ["fileinto", "mailbox"];
		if header :contains "subject" ["message 3", "more 2"] { fileinto :create "Filed"; }
	SIEVE
	ln -s sieve/main.sieve /home/second/.dovecot.sieve
	echo '127.0.0.1 localhost smtp.svc.plus' >/etc/hosts
	: >/etc/aliases
	mkdir -p /etc/chasquid/certs/svc.plus /var/lib/chasquid
	chown chasquid: /var/lib/chasquid
	cd /etc/chasquid/certs/svc.plus
	openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 90 -subj /CN=smtp.svc.plus \
		-addext subjectAltName=DNS:smtp.svc.plus,DNS:localhost,IP:127.0.0.1 -keyout privkey.pem -out fullchain.pem 2>/dev/null
	chgrp chasquid privkey.pem
	chmod 640 privkey.pem
	systemctl daemon-reload
	systemctl enable --now dovecot.socket dovecot.service chasquid-smtp.socket chasquid-submission.socket chasquid-submission_tls.socket chasquid.service 2>/dev/null
EOF
put 755 /root/same-mail <<-'EOF'
	#!/bin/bash
	# same-mail PORT WHO: WHO must show on PORT what the server before did.
	set -e
	{ /root/mailstate.py $1 support 'correct horse'; /root/mailstate.py $1 second 'correct horse'; } >/root/state.$2
	[ ! -e /root/state ] || diff /root/state /root/state.$2
EOF
put 755 /root/more-mail <<-'EOF'
	#!/bin/bash -e
	# Mail, a flag and a folder that only the newer server knows of.
	for n in 1 2 3; do
		swaks --server 127.0.0.1:25 --from someone@example.net --to sales@svc.plus --header "Message-Id: <more$n@example.net>" --header "Subject: more $n" --body more --hide-all
	done
	curl -sS --insecure -u 'support:correct horse' imaps://127.0.0.1/ -X 'CREATE Later/On' >/dev/null
	curl -sS --insecure -u 'support:correct horse' imaps://127.0.0.1/INBOX -X 'UID COPY 2:3 Later/On' >/dev/null
	curl -sS --insecure -u 'support:correct horse' imaps://127.0.0.1/INBOX -X 'UID STORE 4 +FLAGS (\Answered $Forwarded)' >/dev/null
	# Filters go on.
	[ "$(find /home/second/Maildir/.Filed -path '*/Maildir/.Filed/[nc]*/*' -type f | wc -l)" = 2 ]
	rm -f /root/state
	/root/same-mail 993 before
	mv /root/state.before /root/state
EOF
inside bash -e <<-'EOF'
	for n in $(seq 8); do
		swaks --server 127.0.0.1:25 --from someone@example.net --to sales@svc.plus --header "Message-Id: <m$n@example.net>" --header "Subject: message $n" --body "message $n" --hide-all
	done
	for _ in $(seq 100); do
		[ "$(find /home/{second,support}/Maildir -path '*/new/*' -type f | wc -l)" -ge 16 ] && break
		sleep 0.2
	done
	ls /home/second/Maildir/.Filed/new/*
	doveadm mailbox create -s -u support 'Work/Plans' 'Füße'
	doveadm move -u support Work/Plans mailbox INBOX uid 5:6
	doveadm flags add -u support '\Seen \Flagged' mailbox INBOX uid 1:2
	doveadm flags add -u support 'NonJunk $label1' mailbox INBOX uid 2:3
	doveadm expunge -u support mailbox INBOX uid 7
	/root/same-mail 993 pair
	mv /root/state.pair /root/state
EOF
"$here/manual.py" "$top/docs/migrate.md" "${inside[@]}"
inside cat /root/state
echo "migrate-test: ok"
