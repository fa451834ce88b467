# `make` builds, `make run` runs a mail server, `make test` is the one test command. Everything else is listed by `make help`.

SHELL := /bin/bash
T ?= 10s
N ?= 200
SEED ?= 0
B ?= relay
K ?= gossip
P ?=
GO ?= go
VERSION ?=
LDFLAGS := $(if $(VERSION),-ldflags "-X main.version=$(VERSION)")

.PHONY: build run test lint peers faults fuzz bench help clean need

build: need ## build bin/restante
	$(GO) build $(LDFLAGS) -o bin/restante ./cmd/restante

run: build ## run a mail server with the embedded defaults
	bin/restante serve --mailserver

test: lint ## all tests that a plain machine can run
	$(GO) test -timeout 8m ./...
	$(GO) test -timeout 8m -race ./internal/relay ./internal/session ./internal/filter ./internal/keyring ./internal/rpc ./internal/devp2p ./internal/inbox ./internal/mailnet
	CGO_ENABLED=0 $(GO) test -timeout 4m ./internal/message ./internal/keyring
	$(MAKE) --no-print-directory fuzz T=2s

lint: need ## formatting and vet
	@unformatted=$$(gofmt -s -l $$(git ls-files '*.go')); [ -z "$$unformatted" ] || { echo "run gofmt -s -w on: $$unformatted"; exit 1; }
	$(GO) vet ./...
	$(GO) vet -tags peers ./test/...
	$(GO) mod verify

peers: need ## real peers against ours; P=geth6, status162, waku1, web3-shh or shhclient for one
	$(GO) test -timeout 15m -count=1 -tags peers $(if $(P),-run '(?i)$(subst -,_,$(P))') ./test/peers/...

faults: need ## seeded fault runs: K=gossip, network, crash, inbox, kill9 or disk, N=200 SEED=1
	@case "$(K)" in \
	gossip) $(GO) test -timeout 60m -count=1 -run TestNetworks ./internal/sim -sim.runs=$(N) -sim.seed=$(SEED) -v ;; \
	network) $(GO) test -timeout 120m -count=1 -run TestWorlds ./internal/sim/mailsim -mailsim.runs=$(N) -mailsim.seed=$(SEED) -v ;; \
	inbox) $(GO) test -timeout 60m -count=1 -run TestCrash ./internal/store -store.clones=$(N) -store.seed=$(SEED) -v && \
		$(GO) test -timeout 60m -count=1 -run TestPowerCuts ./internal/inbox -inbox.clones=$(N) -inbox.seed=$(SEED) -v ;; \
	crash) $(GO) test -timeout 120m -count=1 -run 'TestFaults/Crash' ./internal/archive/segment -archive.clones=$(N) -archive.seed=$(SEED) -v ;; \
	kill9) $(GO) test -timeout 60m -count=1 -run TestKill9 ./test/faults -kill9.runs=$(N) -kill9.seed=$(SEED) -v ;; \
	disk) $(GO) test -timeout 60m -count=1 -run 'TestFaults/(Damaged|Failing|Full|Every|Slow|Free|Backup|Drop)' ./internal/archive/segment -archive.clones=$(N) -archive.seed=$(SEED) -v && \
		$(GO) test -timeout 10m -count=1 -run TestFullDisk ./test/faults -v ;; \
	*) echo "faults: K=$(K) is unknown; there are gossip (networks), network (clients, mail servers and their faults), inbox (power cuts of the client), crash (the archive's file system is cloned at every acknowledgement), kill9 (the program is killed) and disk (full, failing, damaged)"; exit 2 ;; \
	esac

fuzz: need ## every fuzz target for T=10s
	@GO=$(GO) ./test/fuzz.sh $(T)

bench: need ## measurements beside other nodes: B=relay, mine, crypto, ingest, history, scale, catchup or rpc; JSON=1
	$(GO) run ./bench -b $(B) $(if $(JSON),-json)

help: ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

clean: ## remove what was built
	rm -rf bin .build

need:
	@GO=$(GO) ./test/setup.sh
