# Thin targets: what they call does the work.

TARGET := $(or $(CARGO_TARGET_DIR),target)

# To build; to run pods and make the sample images; to test beside what others wrote, also in a cluster.
BUILD_PACKAGES := gcc libc6-dev
DEMO_PACKAGES := crun iproute2 nftables nginx-light redis-tools busybox-static
TEST_PACKAGES := skopeo ca-certificates
CLUSTER_PACKAGES := containerd runc containernetworking-plugins iproute2 nftables util-linux busybox-static gcc libc6-dev
PROVE_PACKAGES := python3-venv

.PHONY: help demo sweep test contracts mutation invariants prove coverage deploy tidy bench kubernetes-test manifest cluster cluster-down cluster-test build packages test-packages cluster-packages

help: ## Tells the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "make %-12s %s\n", $$1, $$2}' Makefile

# Pods run on this machine, or with ENGINE=kubernetes on a cluster, of which a run that stays is told.
ON_CLUSTER := $(filter kubernetes,$(ENGINE))

demo: packages $(if $(ON_CLUSTER),cluster-packages) contracts/node_modules build ## The whole loop; KEEP=1 leaves it running, ENGINE=kubernetes takes a cluster
	@mkdir -p report
	@KEEP=$(KEEP) ENGINE=$(ENGINE) $(if $(ON_CLUSTER),scripts/with-cluster) scripts/as-root $(TARGET)/debug/demo

sweep: ## Ends what `make demo KEEP=1` left running
	@$(if $(ON_CLUSTER),scripts/with-cluster) scripts/as-root $(TARGET)/debug/demo sweep

test: test-packages contracts/node_modules build ## Every test
	cargo run -q -p xtask -- tidy
	scripts/nextest run --workspace --no-fail-fast -E 'not ($(CLUSTER_TESTS))'
	@$(MAKE) --no-print-directory kubernetes-test
	cargo test -q --workspace --doc
	$(MAKE) --no-print-directory contracts
	$(MAKE) --no-print-directory demo
	@echo "Every test passed."

# Those that have nothing to test where there is no cluster.
CLUSTER_TESTS := (package(apocryph-kubernetes) & kind(test)) | (package(apocryph-testbed) & (binary(chart) | binary(cluster_hosts)))

kubernetes-test: build ## The Kubernetes engine, and the loop, on a real cluster
	@testbed/cluster/cluster can && scripts/packages $(CLUSTER_PACKAGES) ca-certificates binutils && \
		scripts/with-cluster scripts/nextest run --workspace --no-fail-fast -E '$(CLUSTER_TESTS)' || \
		{ [ $$? = 77 ] && echo "skipped: the tests of the Kubernetes engine"; }

manifest: ## The plain manifest of the chart, after a change of it
	deploy/render "$$(testbed/cluster/cluster build helm)" > deploy/kubernetes/apocryph.yaml

cluster: cluster-packages ## A real Kubernetes on this machine, in CLUSTER; needs Go and root
	@testbed/cluster/cluster up

cluster-down: ## Takes it away
	@testbed/cluster/cluster down

cluster-test: cluster-packages test-packages ## The tests of the cluster itself, on one of their own
	cd testbed/cluster/agents && go vet ./... && go test ./...
	cd testbed/cluster/decoder && go vet ./... && go test ./...
	cd testbed/cluster && go vet ./... && go test -count=1 ./...

contracts: contracts/node_modules ## The tests of the contracts, their gas and their coverage
	cd contracts && tools/forge test -vv && tools/export-abi --check && tools/coverage

mutation: contracts/node_modules ## Whether the tests notice when a defence of the contracts is taken out
	contracts/tools/mutation/run

invariants: contracts/node_modules ## What must hold of the contracts whatever happens, at length
	cd contracts && FOUNDRY_PROFILE=thorough tools/forge test --mc InvariantsTest -vv

coverage: contracts/node_modules ## Which lines and branches of the contracts the tests reach
	contracts/tools/coverage

prove: contracts/node_modules ## Proofs about the contracts, and a search for known kinds of defects
	@scripts/packages $(PROVE_PACKAGES)
	contracts/tools/prove

deploy: ## The contracts onto the chain CHAIN by its endpoint RPC; the payer's key is in APOCRYPH_KEY
	cargo run -q -p apocryph-evm --example deploy -- $(RPC) $(CHAIN) deployments

tidy: ## Checks of the sources: formatting, lints, layers, names, docs
	cargo fmt --all --check
	cargo clippy -q --workspace --all-targets -- -D warnings
	cargo run -q -p xtask -- tidy

bench: packages $(if $(ON_CLUSTER),cluster-packages) contracts/node_modules ## Figures, beside their peers, into report/bench.json; ENGINE=kubernetes: those of a cluster; FIGURES="..." some
	@ENGINE=$(ENGINE) $(if $(ON_CLUSTER),scripts/with-cluster) cargo run --release -q -p xtask -- bench $(FIGURES)

build:
	cargo build -q -p apocryph -p apocryphd -p apocryph-testbed --bins

packages:
	@scripts/packages $(BUILD_PACKAGES) $(DEMO_PACKAGES)

test-packages:
	@scripts/packages $(BUILD_PACKAGES) $(DEMO_PACKAGES) $(TEST_PACKAGES)

cluster-packages:
	@testbed/cluster/cluster can
	@scripts/packages $(CLUSTER_PACKAGES)

# Not `npm ci`: that one wants the lock file to name the tools of every platform, also those that a
# registry does not have. Versions and digests are the lock file's here too.
contracts/node_modules: contracts/package-lock.json
	npm install --no-save --prefix contracts --no-audit --no-fund --loglevel=error
	@touch $@
