# One target a job; `make` alone lists them. `make check` is what CI runs.

GO ?= go
NPM := npm --prefix client
# The linter has a module file of its own, so that the library's go.mod lists what the library needs and no more.
LINT := $(GO) tool -modfile=tools/go.mod golangci-lint
# A hung test says where it hangs; the whole suite takes a fraction of this on two cores.
TEST_TIMEOUT ?= 15m
# npm writes this file last: newer than the lock file means installed.
MODULES := client/node_modules/.package-lock.json

.DEFAULT_GOAL := help
.NOTPARALLEL:

.PHONY: help
help: ## List the targets
	@awk 'BEGIN { FS = ":.*## " } /^[a-z-]+:.*## / { printf "  %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: setup
setup: ## Find or install what the tests need: PostgreSQL with pg_dump, PgBouncer, Chromium, npm packages
	@GO=$(GO) MAKE=$(MAKE) scripts/setup.sh

.PHONY: check
check: setup lint vet test ## Everything that CI checks

# Begun first, or one of them is left at the end with a processor to itself.
LONGEST := ./trackers ./handlers

.PHONY: test
test: setup ## Run all tests: Go with the race detector, then the browser client
	$(GO) test -race -timeout $(TEST_TIMEOUT) $(LONGEST) ./...
	cd internal/plugintest && $(GO) test -race -timeout $(TEST_TIMEOUT) ./...
	cd cmd/gormsync && $(GO) test -race -timeout $(TEST_TIMEOUT) ./...
	$(NPM) test

.PHONY: test-client
test-client: $(MODULES) ## Run the browser client's tests alone, in Chromium
	$(NPM) test

.PHONY: lint
lint: ## Run the linters of .golangci.yml (the first run builds them: some minutes)
	$(LINT) run ./...
	cd cmd/gormsync && $(GO) tool -modfile=../../tools/go.mod golangci-lint run ./...

.PHONY: vet
vet: ## Run go vet
	$(GO) vet ./...
	cd internal/plugintest && $(GO) vet ./...
	cd cmd/gormsync && $(GO) vet ./...

.PHONY: fmt
fmt: ## Format the Go code
	$(LINT) fmt ./...

.PHONY: client
client: $(MODULES) ## Build the browser client into client/dist
	$(NPM) run build

.PHONY: verify
verify: client ## Fail unless the committed client bundle is what its source builds to
	@git diff --exit-code --stat -- client/dist
	@test -z "$$(git status --porcelain -- client/dist)" || \
		{ echo "client/dist differs from the last commit: commit what 'make client' builds." >&2; exit 1; }

$(MODULES): client/package-lock.json
	$(NPM) ci
	@touch $@

.PHONY: matrix
matrix: ## Run the Go tests on PostgreSQL 14 to 18, from npm's packages
	@GO=$(GO) scripts/matrix.sh

# Long runs of the tests that look for rare faults. FOR is how long each load lasts, FUZZ how often each fuzz target runs.
FOR ?= 60s
FUZZ ?= 1000000x

.PHONY: soak
soak: setup ## Torture, crashes and fuzzing for about half an hour (FOR=60s, FUZZ=1000000x)
	$(GO) test -race -timeout 60m -run 'TestTorture|TestRetention$$|TestKeepLatestUnderLoad|TestCrash|TestOracle' ./trackers -torture.for=$(FOR)
	$(GO) test -race -timeout 60m -run 'TestHubModel|TestStalledReader$$|TestKilledAndReconnected' ./handlers -hub.rounds=10 -stalled.readers=2000 -reconnect.kills=1000
	$(GO) test -race -timeout 60m -run TestListener ./listener -outage.for=$(FOR)
	$(GO) test -timeout 60m -run TestPlans ./trackers -plans.rows=1000000
	$(GO) test -timeout 60m -run TestCopyKilled ./migrate -copy.rows=1000000
	cd cmd/gormsync && $(GO) test -timeout 60m -run TestCopyKilled . -copy.rows=1000000
	$(GO) test -race -timeout 60m -run 'TestPushUnderLoad|TestPushSurvivesKills|TestPushAnyValues|TestPushFieldsConverge' ./handlers -push.mutations=500 -push.kills=20 -rapid.checks=5000
	GO=$(GO) FUZZ=$(FUZZ) scripts/fuzz.sh
	SEEDS=$$(seq -s, 1 $(or $(SEEDS),100)) $(NPM) exec -- vitest run --root client test/browser/random.test.ts
	EDITS=10000 $(NPM) exec -- vitest run --root client test/browser/storage.test.ts

.PHONY: bench
bench: ## Measure: tables of medians and ratios (ROUNDS=31, RTT=1ms)
	$(GO) test -run '^$$' -bench . -benchtime 1x -timeout 60m ./bench -rounds $(or $(ROUNDS),31) -rtt $(or $(RTT),1ms)

.PHONY: bench-client
bench-client: $(MODULES) ## Measure how fast the browser client takes changes in (ROUNDS=5)
	ROUNDS=$(or $(ROUNDS),5) $(NPM) run bench
