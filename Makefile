# make help lists the targets.

GOLANGCI = github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0
FUZZTIME ?= 30s
COUNT ?= 1
BENCH ?= .

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: run
run: ## start the server, with its data in ./data
	go run ./cmd/kith serve

.PHONY: build
build: ## build the program into bin/kith
	CGO_ENABLED=0 go build -trimpath -o bin/kith ./cmd/kith

.PHONY: test
test: tools ## run all tests with the race detector; installs what they need
	CGO_ENABLED=1 go build -race ./...
	CGO_ENABLED=1 go test -race -p 1 -timeout 30m ./... # one package at a time: some start many processes
	CGO_ENABLED=1 go test -race -timeout 30m ./cmd/kith/e2e -store redis
	CGO_ENABLED=1 go test -race -timeout 30m -tags clockjump -run Clock ./cmd/kith

.PHONY: race
race: test ## the same: tests always run with the race detector

.PHONY: lint
lint: ## run the pinned golangci-lint; builds it the first time, which takes some minutes
	go run $(GOLANGCI) run ./...

.PHONY: fuzz
fuzz: ## fuzz every fuzz target for FUZZTIME (30s), two at a time
	.ci/fuzz $(FUZZTIME)

.PHONY: vuln
vuln: ## look for known vulnerabilities; says so where the database cannot be reached
	.ci/vulnerabilities

.PHONY: bench
bench: ## run all Go benchmarks COUNT times (1), for benchstat, then kith bench on a server of its own
	go test -run '^$$' -bench '$(BENCH)' -benchmem -count $(COUNT) -timeout 60m ./...
	.ci/bench

.PHONY: torture
torture: ## torment running systems and count what was promised; TORTURE="--engine pebble --time 1h" for a run of your own
	.ci/torture $(TORTURE)

.PHONY: soak
soak: ## half an hour at half of capacity (TIME=30m): is everything flat? the graph goes to docs/soak.svg
	go run ./cmd/soak --time $(or $(TIME),30m) --csv docs/soak.csv --svg docs/soak.svg

.PHONY: check
check: ## all that CI checks: gofmt, go mod tidy, vet, lint, vulnerabilities, tests, torture, fuzzing for 30 s a target
	.ci/run

.PHONY: tools
tools: # what the tests need besides Go
	@.ci/tools
