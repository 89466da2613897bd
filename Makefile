# demo: shows what the suite is for, in a sandbox, without root.  test: all checks and tests.
# check: what can be checked without packages, sandboxes and root: format, lints and unit tests.
# test-runtimes: tests with containerd and podman, as root.  test-kernels: tests on Debian's kernel in an emulated machine.
# test-faults: kills the plugins, or makes a system call fail, at every system call.
# test-upgrade: tests together with the programs of an older commit.
# fuzz: every kind of untrusted input, with libFuzzer.  bench: measures the suite, the reference plugins and netavark.
# install: see README.md.

CARGO    = cargo
# Programs are built for a named target, so that they are static; see .cargo/config.toml.
BUILT    = $(or $(CARGO_TARGET_DIR),target)/$(shell rustc -vV | sed -n 's/^host: //p')
OUT      = $(BUILT)/release

DESTDIR  =
BINDIR   = /opt/cni/bin
PREFIX   = /usr/local
CONFDIR  = /etc/cni/net.d

.PHONY: all check demo test test-kernels test-runtimes test-faults test-upgrade fuzz bench install

all:
	$(CARGO) build --release --locked

demo: all
	$(CARGO) run --quiet --release --locked --example demo

check:
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets --locked -- -D warnings
	$(CARGO) test --workspace --lib --locked --quiet

test:
	tests/run

test-kernels:
	tests/kernels/run

test-runtimes:
	tests/tools/newer containerd
	$(CARGO) build --locked --bins
	$(CARGO) test -p runtimes --locked

# Kills every plugin at each of its system calls, and makes each call fail. FAULTS="bridge chain" chooses plugins.
test-faults:
	FULL=1 $(CARGO) test --locked --test faults -- $(FAULTS)

# Builds the older commit in target/. RECORD=1 records the state that its programs leave, for make test.
test-upgrade:
	RECORD="$(RECORD)" tests/tools/upgrade

# Needs a nightly toolchain and cargo-fuzz. SECONDS=300 sets the time of each target; TARGETS="leases nri" chooses targets.
fuzz:
	SECONDS="$(SECONDS)" TARGETS="$(TARGETS)" fuzz/run

# QUICK=1: takes about two minutes. README=1: writes the result to README.md and docs/performance.md. BENCH="lives path": only
# these parts.
# BENCH=profile: shows where the time goes.
bench: all
	tests/tools/packages "make bench" <tests/bench/packages
	tests/tools/newer containernetworking-plugins
	tests/tools/newer netavark libc6 libgcc-s1
	REFERENCE_VERSION="$$(dpkg-query -W -f '$${Version}' containernetworking-plugins)" \
		$(CARGO) run --quiet --release --locked --example bench -- $(BENCH)

# Each new program is written beside the old one and renamed over it, so a running program keeps its old file. portmap is
# a second name of host-port. Examples end in .example, which no runtime reads: rename one to enable it.
install: all
	$(CARGO) build --profile nri --locked --bin cleat-nri
	install -d "$(DESTDIR)$(BINDIR)" "$(DESTDIR)$(PREFIX)/bin" "$(DESTDIR)$(PREFIX)/lib/systemd/system" \
		"$(DESTDIR)$(PREFIX)/share/cleat" "$(DESTDIR)$(CONFDIR)"
	set -e; put() { install -m $$1 "$$2" "$$3.new"; mv -fT "$$3.new" "$$3"; }; \
	for name in bridge host-local host-port link-env loopback; do \
		put 755 "$(OUT)/$$name" "$(DESTDIR)$(BINDIR)/$$name"; done; \
	ln -sfT host-port "$(DESTDIR)$(BINDIR)/portmap.new"; \
	mv -fT "$(DESTDIR)$(BINDIR)/portmap.new" "$(DESTDIR)$(BINDIR)/portmap"; \
	put 755 "$(OUT)/cleat" "$(DESTDIR)$(PREFIX)/bin/cleat"; \
	put 755 "$(BUILT)/nri/cleat-nri" "$(DESTDIR)$(PREFIX)/bin/cleat-nri"; \
	put 644 conf/cleat-nri.service "$(DESTDIR)$(PREFIX)/lib/systemd/system/cleat-nri.service"; \
	put 755 conf/kubernetes/install-on-node "$(DESTDIR)$(PREFIX)/share/cleat/install-on-node"; \
	for file in conf/*.conflist conf/*/*.conflist; do put 644 "$$file" "$(DESTDIR)$(CONFDIR)/$${file##*/}.example"; done
	"$(OUT)/cleat" generate share "$(DESTDIR)$(PREFIX)/share"
