# Everything that is done to this repository by hand or by CI has a name here.

BIN     := bin
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
LDFLAGS := -s -w -X main.version=$(VERSION)
GO      ?= go
LINTER  := $(BIN)/golangci-lint

# How long each fuzz target runs in fuzz-smoke; make fuzz runs them longer.
FUZZTIME ?= 10s
# The short form of the crash loop; the full form is kills=200 alerts=5000.
KILLS  ?= 15
ALERTS ?= 600
# How many sequences model plays, and by what they are drawn; it prints the seed.
SEQUENCES ?= 10000
SEED      ?= $(shell date +%s)

.PHONY: help
help: ## show what can be done
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

.PHONY: build
build: ## build bin/erbridge, static
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags '$(LDFLAGS)' -o $(BIN)/erbridge ./cmd/erbridge

.PHONY: test
test: ## run every test that needs no installed service; say what was left out
	@./scripts/test.sh

.PHONY: race
race: ## run the tests under the race detector
	MODEL_SEQUENCES=60 $(GO) test -race -timeout 30m ./...

.PHONY: model
model: ## play SEQUENCES random sequences of alerts, crashes and faults, and judge what the guard promises
	@MODEL_SEQUENCES=$(SEQUENCES) MODEL_SEED=$(SEED) $(GO) test ./playbooks/modeltest -run '^TestModel' -count=1 -v -timeout 60m

.PHONY: lint
lint: $(LINTER) ## run the linters of .golangci.yml
	$(LINTER) run ./...

$(LINTER): tools/go.mod tools/go.sum
	cd tools && $(GO) build -o ../$(LINTER) github.com/golangci/golangci-lint/v2/cmd/golangci-lint

.PHONY: editor
editor: ## drive a language server over playbooks, as editors do; needs npm
	@PATH="$$PATH:$$(./scripts/language-server.sh)" $(GO) test ./cmd/erbridge -run '^TestEditor' -count=1 -v

.PHONY: judges
judges: ## install the programs of others that judge what the sinks send; needs the network
	@./scripts/judges.sh

.PHONY: generate
generate: ## write the client's call table, docs/reference and the JSON Schemas
	$(GO) run ./connector/catalogue/gen
	$(GO) run ./internal/gendocs/cmd
	$(GO) test ./cmd/erbridge -run '^TestReference$$' -count=1 -update

.PHONY: verify
verify: ## fail when generated files, go.mod or formatting are not up to date
	@./scripts/verify.sh

.PHONY: bench
bench: ## measure throughput and latency, beside what the machine can do
	@./scripts/bench.sh

.PHONY: fuzz-smoke
fuzz-smoke: ## run every fuzz target for FUZZTIME
	@FUZZTIME=$(FUZZTIME) ./scripts/fuzz-smoke.sh

.PHONY: fuzz
fuzz: ## run every fuzz target for ten minutes, or for FUZZTIME
	@FUZZTIME=$(if $(filter command line environment,$(origin FUZZTIME)),$(FUZZTIME),10m) ./scripts/fuzz-smoke.sh

.PHONY: crash-short
crash-short: build ## kill the daemon KILLS times while ALERTS alerts arrive; nothing may be lost or done twice
	$(GO) run ./scripts/crashloop -erbridge $(BIN)/erbridge -kills $(KILLS) -alerts $(ALERTS)

.PHONY: crash
crash: build ## the same with 200 kills and 5000 alerts
	$(GO) run ./scripts/crashloop -erbridge $(BIN)/erbridge -kills 200 -alerts 5000

.PHONY: image
image: ## build the container image
	docker build --build-arg VERSION=$(VERSION) -t erbridge:$(VERSION) .
