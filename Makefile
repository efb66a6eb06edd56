# make run    what it takes to try mailsrvd: set-up, build, `mailsrvd dev`
# make test   the same set-up, then every test (PAM and real peers included)
# make lint   gofmt, vet, staticcheck, govulncheck
# make build  bin/mailsrvd
# make fuzz   each fuzz target for FUZZTIME (default 30s)
# make bench  the Go benchmarks, ready for benchstat
# make torture  the random tests against Dovecot for minutes instead of seconds,
#              200 times kill -9, a burst of 10,000 messages
# make queue-peers  2,000 messages through the queues of mailsrvd, Postfix and chasquid
# make walkthrough, make systemd-test   the main job with real clients; the unit under systemd
# make screenshots   pictures of the status page, in dist/
# make thunderbird-test   Thunderbird sets itself up (root; needs thunderbird, xvfb, xdotool, imagemagick)
# make migrate-test   docs/migrate.md, done with Debian's chasquid and Dovecot
# make manual-test   every command of docs/manual
# make ansible-test   the playbook deploy_mail.yml on a bare Debian, twice
# make deb    the Debian package, in dist/; make debian-test tries it on a bare Debian

GO        ?= go
VERSION   ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
LDFLAGS   = -X main.version=$(VERSION)
FUZZTIME  ?= 30s
BIN       = bin/mailsrvd

.PHONY: build run test lint setup setup-test fuzz bench torture queue-peers clean walkthrough screenshots systemd-test thunderbird-test deb debian-test migrate-test ansible-test manual-test

build: setup
	$(GO) build -trimpath -ldflags '$(LDFLAGS)' -o $(BIN) ./cmd/mailsrvd

run: build
	$(BIN) dev

# The build needs libpam's headers and a C compiler, the tests the real peers.
setup:
	@deploy/setup.sh build

setup-test:
	@deploy/setup.sh build test

test: setup-test build
	$(GO) test -race -timeout 12m ./...

lint: setup
	@out=$$(gofmt -l $$(git ls-files '*.go')); [ -z "$$out" ] || { echo "not gofmt-ed:"; echo "$$out"; exit 1; }
	$(GO) vet ./...
	$(GO) tool staticcheck ./...
	@deploy/vulncheck.sh

fuzz: setup
	FUZZTIME=$(FUZZTIME) deploy/fuzz.sh

bench:
	$(GO) test -run '^$$' -bench . -benchmem -count $${COUNT:-1} ./...

torture: setup-test
	CLIENTTEST_TIME=$${CLIENTTEST_TIME:-60s} CLIENTTEST_OPS=$${CLIENTTEST_OPS:-50000} \
		$(GO) test -count=1 -timeout 60m -v -run 'Crossing|SameState' ./imapd/clienttest
	KILL_ROUNDS=$${KILL_ROUNDS:-200} $(GO) test -count=1 -timeout 30m -v -run KilledDaemon ./cmd/mailsrvd
	BURST=$${BURST:-10000} $(GO) test -count=1 -v -run Burst ./smtpd

queue-peers: setup-test
	QUEUE_PEERS=$${QUEUE_PEERS:-2000} QUEUE_ROUNDS=$${QUEUE_ROUNDS:-5} \
		$(GO) test -count=1 -timeout 60m -v -run QueuesSideBySide ./cmd/mailsrvd

walkthrough: setup-test build
	deploy/walkthrough.sh

# Pictures of the status page, in dist/.
screenshots: setup-test
	mkdir -p dist
	SCREENSHOTS=$(CURDIR)/dist $(GO) test -count=1 -run StatusPageInABrowser ./cmd/mailsrvd

# Not a part of CI: it drives windows, and its packages are large.
thunderbird-test: build
	deploy/thunderbird-test.sh

# The unit under a real systemd, in namespaces of its own.
systemd-test: setup-test build
	deploy/systemd-test.sh

deb: setup
	deploy/deb/build.sh dist

# From debootstrap to mail by the package alone, upgraded under load, purged.
debian-test: setup-test
	deploy/debian-test.sh

# From chasquid and Dovecot and back, by the commands of docs/migrate.md.
migrate-test: setup-test
	deploy/migrate-test.sh

# The playbook on a bare Debian over SSH, then the monitoring pipeline against it.
ansible-test: setup-test
	deploy/ansible-test.sh

# Every command of docs/manual, on a machine of its own.
manual-test: setup-test
	deploy/manual-test.sh

clean:
	rm -rf bin dev dist
