# SPDX-License-Identifier: LGPL-2.1-or-later
#
# make            what can be made
# make demo       the whole job on this machine, really run
# make test       all tests

GO      ?= go
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
LDFLAGS := -s -w -X vsc-zk/internal/cli.version=$(VERSION)
BIN     ?= bin

# make install PREFIX=dir DESTDIR=dir
PREFIX  ?= /usr/local
DESTDIR ?=

# make demo SRC=dir DST=dir JOBS=n DEPTH=n
JOBS    ?= 4
DEPTH   ?=

# make differential ROUNDS=n SEED=n
# make chaos ROUNDS=n SECONDS=n SEED=n
# make bench ROUNDS=n QUICK=1 DEPTH=n BENCHDIR=dir
ROUNDS   ?=
SEED     ?= 0
SECONDS  ?= 0
QUICK    ?=
BENCHDIR ?=

.PHONY: help deps test-deps build install deb rpm package-test test differential chaos race lint demo bench clean

help: ## this list
	@sed -n 's/^\([a-z -]*\):.*## /  make \1 	/p' $(MAKEFILE_LIST) | expand -t 24

# What is needed, each a command and the package that has it.
NEEDS      = rsync:rsync java:default-jre-headless $(foreach program,$(PEERS),$(program):$(program))
TEST_NEEDS = chromium:chromium promtool:prometheus strace:strace clush:clustershell pdsh:pdsh slurmctld:slurm-wlm ip:iproute2 \
	pgrep:procps fish:fish systemd-analyze:systemd logrotate:logrotate tmux:tmux

deps: ## install what a fresh Debian machine lacks (as root); nothing if all is there
deps test-deps:
	@missing=; PATH=$$PATH:/usr/sbin:/sbin; \
	for need in $(NEEDS) $(if $(filter test-deps,$@),$(TEST_NEEDS)); do command -v "$${need%%:*}" >/dev/null || missing="$$missing $${need#*:}"; done; \
	[ -e /usr/share/java/zookeeper.jar ] || missing="$$missing zookeeper"; \
	[ $@ = deps ] || /usr/bin/python3 -c 'import kazoo' 2>/dev/null || missing="$$missing python3-kazoo"; \
	[ $@ = deps ] || [ "$$(id -u)" = 0 ] || command -v fusermount3 >/dev/null || missing="$$missing fuse3"; \
	[ -z "$$missing" ] && exit 0; \
	echo "installing:$$missing"; \
	[ "$$(id -u)" = 0 ] || { echo "not root, please run: sudo apt-get install$$missing" >&2; exit 1; }; \
	apt-get -qq update && DEBIAN_FRONTEND=noninteractive apt-get -qq -y install --no-install-recommends $$missing >/dev/null && \
	case "$$missing" in *prometheus*) [ ! -d /run/systemd/system ] || systemctl --quiet disable --now prometheus;; esac # only its promtool is used

build: ## static programs bin/zkrsync and bin/zkinitree
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags '$(LDFLAGS)' -o $(BIN)/ ./cmd/zkrsync ./cmd/zkinitree

# So that "make build && sudo make install" needs no Go for root.
$(BIN)/zkrsync: $(shell find cmd internal -name '*.go' -o -name guide.md -o -path '*/assets/*') go.mod go.sum
	$(MAKE) --no-print-directory build
	@touch $@

install: $(BIN)/zkrsync ## programs, man pages, completions, examples: PREFIX=/usr/local DESTDIR=
	@set -e; share='$(DESTDIR)$(PREFIX)/share'; \
	show() { install -d "$${3%/*}"; env -i $(BIN)/$$1 --$$2 >"$$3"; chmod 644 "$$3"; echo "$$3"; }; \
	for program in zkrsync zkinitree; do \
		install -D -m 755 $(BIN)/$$program '$(DESTDIR)$(PREFIX)'/bin/$$program; \
		echo '$(DESTDIR)$(PREFIX)'/bin/$$program; \
		show $$program help=man "$$share/man/man1/$$program.1"; \
		show $$program completion=bash "$$share/bash-completion/completions/$$program"; \
		show $$program completion=zsh "$$share/zsh/site-functions/_$$program"; \
		show $$program completion=fish "$$share/fish/vendor_completions.d/$$program.fish"; \
	done; \
	show zkrsync help=guide-man "$$share/man/man7/zkrsync.7"; \
	find examples -type f | sort | while read -r example; do \
		install -D -m 644 "$$example" "$$share/doc/zkrsync/$$example"; \
		echo "$$share/doc/zkrsync/$$example"; \
	done

# A tool that brings two hundred modules is not one of go.mod.
NFPM    ?= $(GO) run github.com/goreleaser/nfpm/v2/cmd/nfpm@v2.45.2
# Of a package a version begins with a digit.
PACKAGE_VERSION = $(if $(filter v0% v1% v2% v3% v4% v5% v6% v7% v8% v9%,$(VERSION)),$(VERSION:v%=%),0~$(VERSION))

deb rpm: build ## a package for Debian, or for Red Hat and SUSE, in bin
	@$(MAKE) --no-print-directory install DESTDIR=$(BIN)/root PREFIX=/usr >/dev/null
	@cd $(CURDIR) && ROOT=$(BIN)/root ARCH=$$($(GO) env GOARCH) VERSION='$(PACKAGE_VERSION)' \
		$(NFPM) package --config .ci/nfpm.yaml --packager $@ --target $(BIN)
	@rm -rf $(BIN)/root

# It takes minutes, and needs the mirrors of Debian and of Go.
package-test: ## the deb installed, used, upgraded and removed in a clean Debian (root, network, 3 min)
	.ci/package-test

test: test-deps ## all tests, against a real ZooKeeper, rsync and kazoo
	$(GO) test -timeout 20m ./...

differential: test-deps ## random trees against single rsync: ROUNDS=300 SEED=n
	$(GO) test -count=1 -timeout 0 -v -run TestRandom ./internal/differential -rounds=$(or $(ROUNDS),300) -seed=$(SEED)

chaos: test-deps ## kill, stop and cut whatever takes part: ROUNDS=100 SECONDS=n SEED=n
	$(GO) test -count=1 -timeout 0 -v -run TestChaos ./internal/chaos -rounds=$(or $(ROUNDS),100) -seconds=$(SECONDS) -seed=$(SEED)

race: test-deps ## all tests with the race detector (needs gcc)
	CGO_ENABLED=1 $(GO) test -race -timeout 25m ./...

lint: ## gofmt, go vet, staticcheck
	@unformatted=$$(gofmt -l cmd internal); [ -z "$$unformatted" ] || { echo "gofmt would change: $$unformatted" >&2; exit 1; }
	$(GO) vet ./...
	$(GO) tool staticcheck ./...

demo: deps build ## a whole run, compared in full: SRC=dir DST=dir JOBS=4 DEPTH=n
	$(GO) run ./internal/demo -bin $(BIN) -src '$(SRC)' -dst '$(DST)' -jobs $(JOBS) -depth '$(or $(DEPTH),auto)'

# A program of its own, not "go run", so that a signal to make reaches it.
bench: PEERS := fpart rclone
bench: deps build ## how fast, beside rsync, fpsync and rclone (root, 30 min): ROUNDS=3 QUICK=1 DEPTH=3
	$(GO) build -o $(BIN)/bench ./internal/bench
	@exec $(BIN)/bench -bin $(BIN) -examples examples -rounds $(or $(ROUNDS),3) -quick=$(if $(QUICK),true,false) -depth $(or $(DEPTH),3) $(if $(BENCHDIR),-dir '$(BENCHDIR)')

clean: ## remove what was built
	rm -rf $(BIN)
