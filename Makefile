# demo: shows what the suite is for, in a sandbox, without root.  test: all checks and tests.
# check: what can be checked without packages, sandboxes and root: format, lints and unit tests.
# test-runtimes: tests with containerd and podman, as root.  test-kernels: tests on Debian's kernel in an emulated machine.
# test-overlay: three hosts, their agents and etcd, and all that can go wrong.  demo-overlay: shows them, without root.
# test-packages: installs, upgrades and removes the packages in a small Debian.
# test-faults: kills the plugins, or makes a system call fail, at every system call.
# test-upgrade: tests together with the programs of an older commit.
# fuzz: every kind of untrusted input, with libFuzzer.  bench: measures the suite, the reference plugins and netavark.
# install, uninstall: from this tree, see packaging/install.  packages: a Debian package, an RPM, a tarball and an image, see
# RELEASING.md.  deb: the Debian package alone.

CARGO    = cargo
TARGET   = $(or $(CARGO_TARGET_DIR),target)
# Programs are built for a named target, so that they are static; see .cargo/config.toml. Without Rust: what is built already.
BUILT    = $(TARGET)/$(or $(shell rustc -vV 2>/dev/null | sed -n 's/^host: //p'),$(shell uname -m)-unknown-linux-gnu)
OUT      = $(BUILT)/release
NRI      = $(BUILT)/nri
PACKAGES = $(TARGET)/packages
TOOLS    = $(TARGET)/tools
BUILD    = PATH="$(abspath $(TOOLS))/bin:$$PATH" packaging/build "$(OUT)" "$(NRI)/cleat-nri" "$(PACKAGES)"
SOURCES  = $(shell find Cargo.toml Cargo.lock .cargo cli ipam lib plugins -name '*.rs' -o -name '*.toml' -o -name Cargo.lock)

# See packaging/install and packaging/build.
export DESTDIR BINDIR PREFIX CONFDIR IMAGE

.PHONY: all plugins check demo demo-overlay test test-overlay test-packages test-kernels test-runtimes test-faults test-upgrade \
	fuzz bench install uninstall deb packages

all: plugins $(OUT)/cleat-overlay

plugins: $(OUT)/cleat

# Built programs that are newer than all that they are made from are taken as they are: then nothing here needs Rust. cleat is
# built with the plugins.
$(OUT)/cleat: $(SOURCES)
	@tests/tools/rust
	$(CARGO) build --release --locked
	touch "$@"

$(NRI)/cleat-nri: $(SOURCES)
	@tests/tools/rust
	$(CARGO) build --profile nri --locked --bin cleat-nri
	touch "$@"

# The agent of overlay networks, whose HTTP/2 stack the plugins do not wait for.
$(OUT)/cleat-overlay: $(SOURCES)
	@tests/tools/rust
	$(CARGO) build --release --locked -p cleat-overlay
	touch "$@"

demo: plugins
	@tests/tools/rust
	$(CARGO) run --quiet --release --locked --example demo

demo-overlay: all
	@tests/tools/rust
	$(CARGO) run --quiet --release --locked -p cleat-overlay --example demo-overlay

check:
	@tests/tools/rust
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets --locked -- -D warnings
	$(CARGO) test --workspace --lib --locked --quiet

test:
	@tests/tools/rust
	tests/run

# The programs are built first: the tests attach containers with them.
test-overlay:
	@tests/tools/rust
	$(CARGO) build --locked --bins
	$(CARGO) build --locked -p cleat-overlay
	$(CARGO) test --locked -p cleat-overlay

# Packages that this makes are installed, upgraded and removed in a small Debian.
test-packages: packages
	$(CARGO) test --locked --test packages

test-kernels:
	tests/kernels/run

test-runtimes:
	tests/tools/newer containerd
	tests/tools/cnitool
	$(CARGO) build --locked --bins
	$(CARGO) build --locked -p cleat-overlay
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

# QUICK=1: takes about five minutes. README=1: writes the result to README.md and docs/performance.md. BENCH="lives path": only
# these parts; BENCH=overlay: only that of overlay networks, which fails where a bound is missed.
# BENCH=profile: shows where the time goes.
SUITES = $(filter-out overlay,$(BENCH))
bench: all
	tests/tools/packages "make bench" <tests/bench/packages
ifneq ($(strip $(BENCH)),overlay)
	tests/tools/newer containernetworking-plugins
	tests/tools/newer netavark libc6 libgcc-s1
	REFERENCE_VERSION="$$(dpkg-query -W -f '$${Version}' containernetworking-plugins)" \
		$(CARGO) run --quiet --release --locked --example bench -- $(SUITES)
endif
ifneq ($(filter overlay,$(or $(BENCH),overlay)),)
	$(CARGO) run --quiet --release --locked -p cleat-overlay --example bench-overlay
endif

# Keeps what it replaces, as NAME.before-cleat; `make uninstall` brings it back.
install: $(OUT)/cleat $(NRI)/cleat-nri $(OUT)/cleat-overlay
	folder=$$(mktemp -d) && trap 'rm -rf "$$folder"' EXIT && \
		packaging/stage "$(OUT)" "$(NRI)/cleat-nri" "$$folder" && "$$folder/install"

uninstall:
	packaging/uninstall

deb: $(OUT)/cleat $(NRI)/cleat-nri $(OUT)/cleat-overlay
	tests/tools/crate cargo-deb 3.8.0 "$(TOOLS)"
	$(BUILD) deb

packages: $(OUT)/cleat $(NRI)/cleat-nri $(OUT)/cleat-overlay
	tests/tools/crate cargo-deb 3.8.0 "$(TOOLS)"
	tests/tools/crate cargo-generate-rpm 0.21.1 "$(TOOLS)"
	$(BUILD) deb rpm tar image
