# The commands of README. Everything is built with one profile into one folder outside the clone
# (docs/decisions/0001-one-profile.md). `.ci/cargo` compiles RocksDB beforehand, in a third of the time that cargo takes
# (docs/decisions/0004-rocksdb.md).

SHELL := /bin/bash
CARGO_TARGET_DIR ?= $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/lighter/target
export CARGO_TARGET_DIR

# Two OCI layouts to demonstrate with, in the order of their names: the old release, then the new one.
IMAGES ?=

# Seconds for each fuzz target; FUZZ_RUNS=N makes it N inputs instead.
FUZZ_SECONDS ?= 60

# Minutes for `make mutants`, and the files that it changes.
MUTANTS_MINUTES ?= 30
MUTANTS_FILES ?=

# Tests that `make faults` runs side by side: each has one or two nodes.
FAULTS_THREADS ?= 3

.PHONY: help setup build demo test lint check bench fuzz faults mutants clean

help:
	@echo "make demo    build, then update three nodes on this machine by patches (IMAGES=DIR: with your own images)"
	@echo "make test    build, then run every test"
	@echo "make lint    formatting, clippy, licences, duplicate dependencies, advisories if their database is there"
	@echo "make check   lint and test"
	@echo "make bench   print every figure beside its bar and the stock tool's (BENCH=peers, BENCH=odd: those that take long)"
	@echo "make fuzz    run each fuzz target of tests/fuzz for FUZZ_SECONDS (60)"
	@echo "make faults  make each system call of an import, a pull and a gc fail in turn; takes some 20 minutes"
	@echo "make mutants change the code of engine, wire, patch and delta, and list what no test notices (MUTANTS_MINUTES)"
	@echo "make setup   install what is missing for all of these"
	@echo "make clean   remove the build folder"

setup:
	@.ci/setup test

build:
	@.ci/setup build
	@.ci/cargo build --release --workspace

demo: build
	@tests/demo.sh "$(CARGO_TARGET_DIR)/release/lighter" "$(IMAGES)"

test: setup
	@.ci/cargo build --release --workspace
	@.ci/cargo nextest run --release --workspace --no-fail-fast
	@.ci/cargo test --release --workspace --doc --quiet

lint: setup
	@cargo fmt --all --check
	@.ci/cargo clippy --release --workspace --all-targets -- -D warnings
	@cargo fetch --locked --quiet
	@cargo deny --offline check licenses bans sources
	@.ci/advisories

check: lint test

bench: setup
	@.ci/cargo build --release --workspace
	@.ci/cargo run --release --quiet -p lighter-tests --bin bench -- $(BENCH)

fuzz: setup
	@cargo fuzz --version >/dev/null 2>&1 || cargo install --locked cargo-fuzz
	@tests/fuzz/run "$(CARGO_TARGET_DIR)/fuzz" "$(FUZZ_SECONDS)"

faults: setup
	@.ci/cargo build --release --workspace
	@.ci/cargo nextest run --release -p lighter-tests --run-ignored only -E 'test(faults::matrix::every_call)' --no-fail-fast \
	  --test-threads "$(FAULTS_THREADS)" --success-output final

mutants: setup
	@cargo mutants --version >/dev/null 2>&1 || cargo install --locked cargo-mutants
	@.ci/mutants "$(CARGO_TARGET_DIR)/mutants" "$(MUTANTS_MINUTES)" $(MUTANTS_FILES)

clean:
	@rm -rf "$(CARGO_TARGET_DIR)"
