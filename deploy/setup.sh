#!/bin/sh
# Installs what building and testing mailsrvd need, and nothing that is there
# already:
#
#   deploy/setup.sh build          a C compiler and libpam's headers
#   deploy/setup.sh build test     also the real peers that the tests talk to
#
# Without root or apt it prints what is missing and fails only for `build`.
set -u
build_packages='gcc libc6-dev libcrypt-dev libpam0g-dev'
test_packages='
	dovecot-imapd
	dovecot-lmtpd
	dovecot-sieve
	dovecot-managesieved
	sieve-connect
	python3-sievelib
	php-net-sieve php-cli
	swaks
	libnet-ssleay-perl
	isync
	curl
	openssl
	chasquid
	postfix
	opendkim
	opendkim-tools
	rspamd
	clamav-daemon
	clamav-milter
	python3
	python3-dkim
	python3-authres
	python3-nacl
	python3-dnspython
	fail2ban
	fetchmail
	getmail6
	offlineimap3
	neomutt
	expect
	tmux
	procps
	passwd
	whois
	dnsmasq-base
	iproute2
	unbound
	ldnsutils
	systemd
	util-linux
	debootstrap ansible ansible-lint openssh-client git
	bind9-utils
	chromium
	fonts-dejavu-core
	prometheus
'
missing() {
	for p in "$@"; do
		dpkg-query -W -f '${Status}\n' "$p" 2>/dev/null | grep -q '^install ok installed$' || printf '%s ' "$p"
	done
}
# Mail servers that come as test peers must not start by themselves: the tests
# start their own, on their own ports, and stop them again.
policy=/usr/sbin/policy-rc.d
hold_services() {
	[ -e $policy ] && return
	printf '#!/bin/sh\nexit 101\n' >$policy && chmod 755 $policy && trap 'rm -f '$policy EXIT INT TERM
}
retry() {
	for pause in 2 10 30 0; do
		"$@" && return 0
		echo "failed: $* (trying again in $pause s)" >&2
		sleep $pause
	done
	return 1
}
install() {
	export DEBIAN_FRONTEND=noninteractive
	hold_services
	retry apt-get -q update && retry apt-get -qy install --no-install-recommends "$@"
}
# want NAME PACKAGE...: install or say what is missing.
want() {
	what=$1
	shift
	need=$(missing "$@")
	[ -z "$need" ] && return 0
	if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
		# shellcheck disable=SC2086 # a list of words
		install $need >&2 && return 0
		need=$(missing "$@")
	elif command -v sudo >/dev/null && command -v apt-get >/dev/null && [ -t 0 ]; then
		sudo "$0" "$what" && return 0
	fi
	echo "missing for $what: $need" >&2
	return 1
}
command -v dpkg-query >/dev/null || {
	echo "not a Debian system: make sure of a C compiler and libpam's headers yourself" >&2
	exit 0
}
for what in "$@"; do
	case $what in
	build) want build $build_packages || exit 1 ;;
	# A test whose peer is missing skips and says so.
	test) want test $test_packages || true ;;
	*) echo "usage: $0 build [test]" >&2; exit 2 ;;
	esac
done
