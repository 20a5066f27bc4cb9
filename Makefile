# Thin targets: what they call does the work.

TARGET := $(or $(CARGO_TARGET_DIR),target)

# To build; to run pods and make the sample images; to test beside what others wrote.
BUILD_PACKAGES := gcc libc6-dev
DEMO_PACKAGES := crun iproute2 nftables nginx-light redis-tools busybox-static
TEST_PACKAGES := skopeo

.PHONY: help demo sweep test contracts tidy bench build packages test-packages

help: ## Tells the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "make %-10s %s\n", $$1, $$2}' Makefile

demo: packages contracts/node_modules build ## The whole loop on this machine; KEEP=1 leaves it running
	@KEEP=$(KEEP) scripts/as-root $(TARGET)/debug/demo

sweep: ## Ends what `make demo KEEP=1` left running
	@scripts/as-root $(TARGET)/debug/demo sweep

test: test-packages contracts/node_modules build ## Every test
	cargo run -q -p xtask -- tidy
	scripts/nextest run --workspace --no-fail-fast
	cargo test -q --workspace --doc
	$(MAKE) --no-print-directory contracts
	$(MAKE) --no-print-directory demo
	@echo "Every test passed."

contracts: contracts/node_modules ## The tests of the contracts
	cd contracts && tools/forge test && tools/export-abi --check

tidy: ## Checks of the sources: formatting, lints, layers, names, docs
	cargo fmt --all --check
	cargo clippy -q --workspace --all-targets -- -D warnings
	cargo run -q -p xtask -- tidy

bench: packages contracts/node_modules ## Figures, beside their peers, into report/bench.json
	cargo run --release -q -p xtask -- bench

build:
	cargo build -q -p apocryph -p apocryphd -p apocryph-testbed --bins

packages:
	@scripts/packages $(BUILD_PACKAGES) $(DEMO_PACKAGES)

test-packages:
	@scripts/packages $(BUILD_PACKAGES) $(DEMO_PACKAGES) $(TEST_PACKAGES)

# Not `npm ci`: that one wants the lock file to name the tools of every platform, also those that a
# registry does not have. Versions and digests are the lock file's here too.
contracts/node_modules: contracts/package-lock.json
	npm install --no-save --prefix contracts --no-audit --no-fund --loglevel=error
	@touch $@
