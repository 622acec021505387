# SPDX-License-Identifier: Apache-2.0
#
#   make run     everything from a bare Debian 12+ or Ubuntu 22.04+ to a verdict
#   make test    every test, real boots included
#   make scenarios   every attack on two kernels with two drivers, and the table of docs/scenarios.md
#
# The other verbs: deps build test-unit test-boot fuzz lint bench golden grid compilers generate clean.

SHELL := /bin/bash
.DELETE_ON_ERROR:
.PHONY: deps build run test test-unit test-boot fuzz lint bench golden grid compilers scenarios generate clean

# A Go that deps had to fetch lies in .tools/go.
export PATH := $(CURDIR)/.tools/go/bin:$(PATH)
export CGO_ENABLED := 0

GOFILES := $(shell find . -name '*.go' -not -path './.tools/*') go.mod go.sum matrix.yaml
DATA    := $(shell find scenarios builders bpf results -type f -not -name '*.go')

PROFILE ?= quick

build: bin/mews bin/mews-agent

bin/mews: $(GOFILES) $(DATA)
	go build -o $@ ./cmd/mews

# The agent is PID 1 of a guest that has no libc: static, and stripped because every guest loads all of it.
bin/mews-agent: $(GOFILES) $(DATA)
	go build -ldflags='-s -w' -o $@ ./cmd/mews-agent

deps:
	@scripts/deps

run: deps
	@$(MAKE) --no-print-directory build
	bin/mews run --profile $(PROFILE)

test: deps
	@$(MAKE) --no-print-directory lint build
	scripts/test

test-unit:
	scripts/test unit

test-boot: build
	scripts/test boot

# Every fuzz target, FUZZRUNS times each.
fuzz:
	scripts/fuzz $(FUZZRUNS)

lint:
	@out=$$(gofmt -l $$(git ls-files --cached --others --exclude-standard '*.go')); [ -z "$$out" ] || { echo "gofmt would change:"; echo "$$out"; exit 1; }
	go vet ./...
	go tool staticcheck ./...

bench: build
	go run ./harness/bench -out out/bench.json

# Rewrites what the golden tests compare with; look at the diff before you commit it.
golden:
	scripts/golden

# Builds Falco's drivers for a kernel of each line of Debian, and writes the table of docs/building.md.
grid: build
	scripts/grid

# The same of one driver with every compiler that the builder images have.
compilers: build
	scripts/grid compilers

# Runs profile scenarios, and writes the table of docs/scenarios.md; fails when an attack fired on no cell of the real Falco.
scenarios: build
	scripts/scenarios

# The probe's object and bindings, and the agent's wire format, are committed; this makes them again.
generate:
	go generate ./...

clean:
	rm -rf bin out
