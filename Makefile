# make help lists the targets.
SHELL   := /bin/bash
.SHELLFLAGS := -euo pipefail -c
GO      ?= go
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo devel)
# Inputs, not seconds: at the end of a time go test may take its own deadline for a failure (go.dev/issue/75804).
FUZZTIME ?= 20000x

# Programs that the tests run against, with the Debian package where it has another name; see packages.
PROGRAMS := curl nginx openssl npm node:nodejs wget unzip aria2c:aria2 mkfs.ext4:e2fsprogs mount findmnt:util-linux chromium \
	    lintian systemd-analyze:systemd adduser pgrep:procps
# Python modules of the system that clients use, with the Debian package python3-NAME where it has another name.
PYTHON := requests tusclient:tuspy

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-9s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: run
run: build ## build and run the daemon with its defaults
	./fileshare serve

BUILD = CGO_ENABLED=0 $(GO) build -trimpath -ldflags '-s -w -X main.version=$(VERSION)'

.PHONY: build
build: ## build ./fileshare, one static file
	$(BUILD) -o fileshare .

.PHONY: man
man: build ## write the manual page dist/fileshare.1
	@mkdir -p dist
	./fileshare man >dist/fileshare.1

# The package's version: 1.2 of a tag v1.2, 1.2+3.gabc of what comes after it, 0~DATE.COMMIT without a tag.
DEB_VERSION    ?= $(shell git describe --tags --match 'v[0-9]*' 2>/dev/null | sed 's/^v//; s/-\([0-9]*\)-g/+\1.g/' | grep . || \
                    git log -1 --format=0~%cd.%h --date=format:%Y%m%d%H%M%S 2>/dev/null || echo 0~devel)
DEB_MAINTAINER ?= fileshare <fileshare@example.com>
# The package of one commit is the same file whenever it is built.
SOURCE_DATE_EPOCH ?= $(shell git log -1 --format=%ct 2>/dev/null || date +%s)

.PHONY: deb
deb: ## build the Debian package dist/fileshare_VERSION_ARCH.deb; GOARCH=arm64 for another machine
	@rm -rf dist/deb && mkdir -p dist/deb
	$(BUILD) -o dist/deb/fileshare .
	@GOARCH= $(BUILD) -o dist/deb/here .
	@cd dist/deb && ./here man >fileshare.1 && for shell in bash zsh fish; do ./here completion $$shell >fileshare.$$shell; done
	@cp README.md dist/deb
	@{ echo "fileshare ($(DEB_VERSION)) unstable; urgency=medium"; echo; echo '  * See the history of the repository.'; echo; \
	  echo " -- $(DEB_MAINTAINER)  $$(date --utc --date=@$(SOURCE_DATE_EPOCH) '+%a, %d %b %Y %T +0000')"; } >dist/deb/changelog
	@$(MAKE) --no-print-directory --silent licences >dist/deb/licences
	@cd dist/deb && gzip -9n fileshare.1 README.md changelog licences
	SOURCE_DATE_EPOCH=$(SOURCE_DATE_EPOCH) DEB_VERSION='$(DEB_VERSION)' DEB_MAINTAINER='$(DEB_MAINTAINER)' DEB_ARCH=$$($(GO) env GOARCH) GOARCH= \
	  $(GO) tool -modfile=tools/go.mod nfpm package --config deploy/debian/nfpm.yaml --packager deb --target dist

.PHONY: licences
licences: ## print the licences of all that is linked into the program
	@echo "== The Go programming language"; cat "$$($(GO) env GOROOT)/LICENSE"
	@$(GO) list -deps -f '{{with .Module}}{{if not .Main}}{{.Path}} {{.Version}} {{.Dir}}{{end}}{{end}}' . | sort -u | while read -r path version dir; do \
	  for file in "$$dir"/LICEN[SC]E* "$$dir"/COPYING* "$$dir"/NOTICE* "$$dir"/PATENTS*; do \
	    [ ! -f "$$file" ] || { printf '\n== %s %s, %s\n\n' "$$path" "$$version" "$${file##*/}"; cat "$$file"; }; done; done

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
fuzz: ## run every fuzz target for FUZZTIME (20000x: inputs; or a time, as 5m)
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
