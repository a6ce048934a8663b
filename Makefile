# All that is done to akvfs beside writing it. `make check` is what CI runs, and all that it runs.

CARGO ?= cargo
PREFIX ?= /usr/local
DESTDIR ?=
TARGET ?= target
PROGRAM ?= $(TARGET)/release/akvfs

bin = $(DESTDIR)$(PREFIX)/bin
man = $(DESTDIR)$(PREFIX)/share/man
# mount(8) looks for its helpers in /sbin, whatever the prefix.
sbin = $(DESTDIR)/sbin

.PHONY: help
help: ## what can be made
	@sed -n 's/^\([a-z-]*\):.*## /  make \1\t/p' $(MAKEFILE_LIST) | expand -t 20

.PHONY: check
check: setup fmt clippy test docs deny ## everything that must hold, the cheapest first

.PHONY: setup
setup: ## what the checks need and this machine lacks
	packaging/setup

.PHONY: fmt
fmt:
	$(CARGO) fmt --all --check

.PHONY: clippy
clippy:
	$(CARGO) clippy --workspace --all-targets --locked -- -D warnings

.PHONY: test
test:
	$(CARGO) test --workspace --locked

.PHONY: docs
docs:
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --workspace --no-deps --locked

.PHONY: deny
deny:
	$(CARGO) deny --workspace check bans licenses sources

.PHONY: bench
bench: ## the measurements, printed
	$(CARGO) bench --locked --bench requests --bench read --bench storm

.PHONY: build
build: ## the program as it is shipped
	$(CARGO) build --release --locked

# What is installed: PROGRAM, if another one is named, else what is built now. Root may have no
# Rust, as under sudo; then it is what was built before.
.PHONY: program
program:
ifeq ($(PROGRAM),$(TARGET)/release/akvfs)
	if command -v $(CARGO) >/dev/null; then $(CARGO) build --release --locked; fi
endif
	test -x $(PROGRAM)

.PHONY: install
install: program ## the program, mount(8)'s helper and the manual; DESTDIR= PREFIX=
	install -d $(bin) $(sbin) $(man)/man1 $(man)/man8
	install -m 0755 $(PROGRAM) $(bin)/akvfs
	ln -sfn $(PREFIX)/bin/akvfs $(sbin)/mount.akvfs
	$(PROGRAM) manual > $(man)/man1/akvfs.1
	chmod 0644 $(man)/man1/akvfs.1
	ln -sfn ../man1/akvfs.1 $(man)/man8/mount.akvfs.8

.PHONY: uninstall
uninstall: ## what install put there
	rm -f $(bin)/akvfs $(sbin)/mount.akvfs $(man)/man1/akvfs.1 $(man)/man8/mount.akvfs.8
