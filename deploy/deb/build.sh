#!/bin/bash
# Makes the Debian package: deploy/deb/build.sh [DIRECTORY], default ./dist.
#
# The same commit gives the same bytes, wherever it is built: no path of the
# build, no time but the commit's (SOURCE_DATE_EPOCH, if set), no owner, no
# umask. VERSION names another version than the one that git describes.
set -euo pipefail
umask 022
export LC_ALL=C TZ=UTC
top=$(dirname "$(dirname "$(dirname "$(readlink -f "$0")")")")
mkdir -p "${1:-dist}"
out=$(readlink -f "${1:-dist}")
cd "$top"
deb=deploy/deb
export SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct)}
arch=$(dpkg --print-architecture)

# v1.2 is 1.2, three commits after it 1.2+3.gHASH; before the first tag the
# time of the commit orders the versions.
describe() {
	local d
	if d=$(git describe --tags --match 'v[0-9]*' 2>/dev/null); then
		d=${d#v}
		echo "${d/-/+}" | tr - .
	else
		echo "0+git$(date -d "@$SOURCE_DATE_EPOCH" +%Y%m%d.%H%M%S).$(git rev-parse --short=8 HEAD)"
	fi
}
version=${VERSION:-$(describe)}

root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT
chmod 755 "$root"
put() { install -D -m "$1" "$2" "$root/$3"; }

${GO:-go} build -trimpath -buildmode=pie -buildvcs=false -ldflags "-s -w -buildid= -X main.version=$version" -o "$root/usr/bin/mailsrvd" ./cmd/mailsrvd
mailsrvd=$root/usr/bin/mailsrvd

sed 's,/usr/local/bin/,/usr/bin/,' deploy/systemd/mailsrvd.service | put 644 /dev/stdin lib/systemd/system/mailsrvd.service
put 644 deploy/sysusers.d/mailsrvd.conf usr/lib/sysusers.d/mailsrvd.conf
put 644 deploy/pam/mailsrvd etc/pam.d/mailsrvd
put 644 deploy/mailsrvd.toml etc/mailsrvd/mailsrvd.toml
"$mailsrvd" completion bash | put 644 /dev/stdin usr/share/bash-completion/completions/mailsrvd
"$mailsrvd" completion zsh | put 644 /dev/stdin usr/share/zsh/vendor-completions/_mailsrvd
"$mailsrvd" completion fish | put 644 /dev/stdin usr/share/fish/vendor_completions.d/mailsrvd.fish
for page in docs/man/*; do
	gzip -9nc "$page" | put 644 /dev/stdin "usr/share/man/man${page##*.}/${page##*/}.gz"
done
doc=usr/share/doc/mailsrvd
put 644 $deb/copyright $doc/copyright
gzip -9nc CHANGELOG.md | put 644 /dev/stdin $doc/CHANGELOG.md.gz
put 644 README.md $doc/README.md
for page in $(cd docs && find . -name '*.md'); do
	put 644 "docs/$page" "$doc/docs/$page"
done
put 644 deploy/fail2ban/filter.d/mailsrvd.conf $doc/examples/fail2ban/filter.d/mailsrvd.conf
put 644 deploy/grafana/alerts.yaml $doc/examples/grafana/alerts.yaml
put 644 deploy/grafana/mailsrvd.json $doc/examples/grafana/mailsrvd.json
put 644 deploy/fail2ban/jail.d/mailsrvd.conf $doc/examples/fail2ban/jail.d/mailsrvd.conf

glibc=$(objdump -T "$mailsrvd" | grep -o 'GLIBC_[0-9.]*' | sort -uV | tail -n 1)
size=$(du -sk --apparent-size "$root" | cut -f 1)
for script in postinst prerm postrm; do
	put 755 $deb/$script DEBIAN/$script
done
(cd "$root" && find etc -type f -printf '/%p\n' | sort) | put 644 /dev/stdin DEBIAN/conffiles
(cd "$root" && find . -path ./DEBIAN -prune -o -path ./etc -prune -o -type f -printf '%P\n' | sort | xargs md5sum) |
	put 644 /dev/stdin DEBIAN/md5sums
sed "s/@version@/$version/; s/@arch@/$arch/; s/@glibc@/${glibc#GLIBC_}/; s/@size@/$size/" $deb/control | put 644 /dev/stdin DEBIAN/control
find "$root" -exec touch -h -d "@$SOURCE_DATE_EPOCH" {} +

dpkg-deb --root-owner-group -Zxz --build "$root" "$out/mailsrvd_${version}_$arch.deb"
