# make help lists the targets.
SHELL   := /bin/bash
.SHELLFLAGS := -euo pipefail -c
GO      ?= go
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo devel)
FUZZTIME ?= 3s

# Programs that the tests run against, with the Debian package where it has another name; see packages.
PROGRAMS := curl nginx openssl npm node:nodejs wget unzip aria2c:aria2 mkfs.ext4:e2fsprogs mount findmnt:util-linux chromium
# Python modules of the system that clients use, with the Debian package python3-NAME where it has another name.
PYTHON := requests tusclient:tuspy

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-9s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: run
run: build ## build and run the daemon with its defaults
	./fileshare serve

.PHONY: build
build: ## build ./fileshare, one static file
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags '-s -w -X main.version=$(VERSION)' -o fileshare .

.PHONY: man
man: build ## write the manual page dist/fileshare.1
	@mkdir -p dist
	./fileshare man >dist/fileshare.1

.PHONY: test
test: packages lint ## all that CI does: lint, modules, tests with -race, every fuzz target for a moment
	$(GO) mod verify
	$(GO) mod tidy -diff
	$(GO) tool -modfile=tools/go.mod -n versitygw >/dev/null # built once, for the tests over S3
	$(GO) test -race -timeout 45m ./...
	$(GO) -C tools/bench test ./...
	$(MAKE) --no-print-directory fuzz

# The tests need some programs; on Debian, as root, they are installed. The clients of other
# projects that the tests run come from the npm registry.
.PHONY: packages
packages:
	@missing=''; for p in $(PROGRAMS); do command -v "$${p%:*}" >/dev/null || missing+=" $${p#*:}"; done; \
	compgen -G '/usr/lib/postgresql/*/bin/postgres' >/dev/null || missing+=" postgresql"; \
	for m in $(PYTHON); do /usr/bin/python3 -c "import $${m%:*}" 2>/dev/null || missing+=" python3-$${m#*:}"; done; \
	if [ -n "$$missing" ] && [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	  echo "installing$$missing"; export DEBIAN_FRONTEND=noninteractive; \
	  { apt-get update -qq && apt-get install -y -qq --no-install-recommends $$missing; } >/dev/null; \
	elif [ -n "$$missing" ]; then echo "not installed, tests may fail:$$missing" >&2; fi
	@cd testdata/js && { cmp -s package-lock.json node_modules/.installed || { \
	  npm ci --no-audit --no-fund --loglevel=error && cp package-lock.json node_modules/.installed; }; }

.PHONY: lint
lint: ## gofmt, go vet, staticcheck
	@unformatted=$$(gofmt -l .); \
	if [ -n "$$unformatted" ]; then echo "gofmt -w is needed:"; echo "$$unformatted"; exit 1; fi
	$(GO) vet ./...
	$(GO) -C tools/bench vet ./...
	$(GO) tool -modfile=tools/go.mod staticcheck ./...

.PHONY: fuzz
fuzz: ## run every fuzz target for FUZZTIME (3s)
	@for package in $$(grep -rl --include='*_test.go' '^func Fuzz' . | xargs -r -n1 dirname | sort -u); do \
	  for target in $$($(GO) test -list '^Fuzz' $$package | grep '^Fuzz'); do \
	    echo "fuzzing $$package $$target"; \
	    $(GO) test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) $$package >.fuzz.log 2>&1 || { cat .fuzz.log; rm -f .fuzz.log; exit 1; }; \
	  done; \
	done; rm -f .fuzz.log

.PHONY: bench
bench: build ## measure every row of the performance targets beside its references
	$(GO) run -C tools/bench . -bin $(abspath fileshare)

.PHONY: clean
clean: ## remove what was built
	rm -rf fileshare dist .fuzz.log
