# demo: the main job in a sandbox, without root.  test: everything.  test-runtimes: under containerd and podman, as root.
# test-kernels: on Debian's kernel, emulated.  test-faults: killed, or refused something, at every system call.
# test-upgrade: with programs of an older commit before, and after.
# fuzz: everything that comes in from elsewhere, by libFuzzer.  bench: measurements, beside the reference plugins and
# netavark.  install: see README.md.

CARGO    = cargo
# Programs are built for a named target, so that they are static; see .cargo/config.toml.
BUILT    = $(or $(CARGO_TARGET_DIR),target)/$(shell rustc -vV | sed -n 's/^host: //p')
OUT      = $(BUILT)/release

DESTDIR  =
BINDIR   = /opt/cni/bin
PREFIX   = /usr/local
CONFDIR  = /etc/cni/net.d

.PHONY: all demo test test-kernels test-runtimes test-faults test-upgrade fuzz bench install

all:
	$(CARGO) build --release --locked

demo: all
	$(CARGO) run --quiet --release --locked --example demo

test:
	tests/run

test-kernels:
	tests/kernels/run

test-runtimes:
	tests/tools/newer containerd
	$(CARGO) build --locked --bins
	$(CARGO) test -p runtimes --locked

# Every plugin killed, and refused something, at each of its system calls; FAULTS="bridge chain" chooses.
test-faults:
	FULL=1 $(CARGO) test --locked --test faults -- $(FAULTS)

# Builds the older commit beside; RECORD=1 records what it leaves for make test.
test-upgrade:
	RECORD="$(RECORD)" tests/tools/upgrade

# Needs a nightly toolchain and cargo-fuzz; SECONDS=300 for each target, TARGETS="leases nri" chooses.
fuzz:
	SECONDS="$(SECONDS)" TARGETS="$(TARGETS)" fuzz/run

# QUICK=1: under two minutes. README=1: the result goes there. BENCH="lives path": these parts; BENCH=profile: where
# the time goes.
bench: all
	tests/tools/packages "make bench" <tests/bench/packages
	tests/tools/newer containernetworking-plugins
	REFERENCE_VERSION="$$(dpkg-query -W -f '$${Version}' containernetworking-plugins)" \
		$(CARGO) run --quiet --release --locked --example bench -- $(BENCH)

# A program that is running keeps its old file: each new one is written beside it and renamed over it. portmap is
# host-port's second name. Examples get an ending that no runtime reads: rename one to enable it.
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
