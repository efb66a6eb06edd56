#!/bin/bash
# Thunderbird, told nothing but a name, an address and a password, finds its
# settings at a fresh server and reads the mail there. Everything happens in
# namespaces of its own; a picture of the end is left in dist/thunderbird.png.
#
# Needs root and Debian's thunderbird, xvfb, xdotool and imagemagick.
set -euo pipefail
cd "$(dirname "$(readlink -f "$0")")/.."
for tool in thunderbird Xvfb xdotool import openssl; do
	command -v $tool >/dev/null || { echo "missing: $tool (apt-get install thunderbird xvfb xdotool imagemagick openssl)" >&2; exit 1; }
done
if [ "${1-}" != inside ]; then
	exec unshare --mount --net --pid --fork --kill-child --mount-proc "$0" inside
fi
work=$(mktemp -d) && trap 'rm -rf "$work"' EXIT
mkdir -p dist
ip link set lo up
printf '127.0.0.1 localhost mail.example.test autoconfig.example.test\n' >"$work/hosts"
mount --bind "$work/hosts" /etc/hosts

# An authority that Thunderbird trusts, and a server on the standard ports.
dev=$work/dev
mkdir "$dev"
openssl req -x509 -newkey rsa:2048 -nodes -keyout "$work/ca.key" -out "$work/ca.pem" -days 2 -subj '/CN=test authority' 2>/dev/null
openssl req -newkey rsa:2048 -nodes -keyout "$dev/key.pem" -out "$work/csr.pem" -subj '/CN=mail.example.test' 2>/dev/null
openssl x509 -req -in "$work/csr.pem" -CA "$work/ca.pem" -CAkey "$work/ca.key" -days 2 -out "$dev/cert.pem" \
	-extfile <(echo 'subjectAltName=DNS:mail.example.test,DNS:autoconfig.example.test') 2>/dev/null
timeout 3 bin/mailsrvd dev --dir "$dev" >/dev/null 2>&1 || true
sed -i -E 's/127\.0\.0\.1:2(587|465|143|993|443)"/127.0.0.1:\1"/' "$dev/mailsrvd.toml"
bin/mailsrvd dev --dir "$dev" >"$work/out" 2>"$work/log" &
for _ in $(seq 50); do grep -q 'queue list' "$work/out" && break || sleep 0.1; done
password=$(awk '$1 == "alice" {print $2}' "$work/out")

mkdir -p "$work/policies" "$work/profile" /etc/thunderbird/policies
printf '{"policies":{"Certificates":{"Install":["%s/ca.pem"]},"DisableTelemetry":true,"DisableAppUpdate":true}}' "$work" >"$work/policies/policies.json"
mount --bind "$work/policies" /etc/thunderbird/policies
echo 'user_pref("app.donation.eoy.version.viewed", 999);' >"$work/profile/user.js"
Xvfb -displayfd 5 -screen 0 1280x1000x24 5>"$work/display" >/dev/null 2>&1 &
for _ in $(seq 50); do [ -s "$work/display" ] && break || sleep 0.1; done
DISPLAY=:$(cat "$work/display")
export DISPLAY HOME=$work XDG_RUNTIME_DIR=$work
sleep 1
thunderbird --no-remote --profile "$work/profile" >/dev/null 2>&1 &
thunderbird=$!
sleep 20
keys() { xdotool key "$@"; sleep 0.5; }
write() { xdotool type --delay 40 "$1"; sleep 0.5; }
keys ctrl+a; write Alice; keys Tab; write alice@example.test; keys Return
sleep 10
import -window root dist/thunderbird-found.png
keys Return
sleep 4
write "$password"; keys Return
sleep 10
import -window root dist/thunderbird.png

fail() { echo "thunderbird-test: $1 (see dist/thunderbird*.png)" >&2; cat "$work/log" >&2; exit 1; }
kill $thunderbird # it writes its settings when it ends
for _ in $(seq 50); do kill -0 $thunderbird 2>/dev/null && sleep 0.2 || break; done
for want in '"mail.server.server[0-9]+.hostname", "mail.example.test"' '"mail.server.server[0-9]+.port", 993' '"mail.smtpserver.smtp[0-9]+.port", 465'; do
	grep -qE "$want" "$work/profile/prefs.js" || fail "no $want in its settings"
done
grep -rq 'Welcome to mailsrvd' "$work/profile/ImapMail" || fail "it has not read the mail"
echo "thunderbird-test: set up by itself, and reads mail"
