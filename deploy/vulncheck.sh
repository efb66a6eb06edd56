#!/bin/sh
# Runs govulncheck where its database can be reached, and says so where not.
out=$(go tool govulncheck ./... 2>&1)
code=$?
case $out in
*"fetching vulnerabilities"* | *"dial tcp"* | *"no such host"* | *"connection refused"* | *"HTTP GET"*)
	echo "govulncheck: its database cannot be reached from here; not checked" >&2
	exit 0
	;;
esac
echo "$out"
exit $code
