# The targets people use; `make` alone lists them.
GO       ?= go
FUZZTIME ?= 10s
# What ships is what is tested: without cgo. The race detector alone needs it.
export CGO_ENABLED = 0

.PHONY: list run build test check race fuzz bench bench-collector bench-e2e bench-search opensearch e2e browser docs screenshots clean
list:
	@sed -n 's/^## //p' Makefile

## make run          build and serve everything on 127.0.0.1:8000
run:
	$(GO) run . serve

## make build        one static binary: ./mayday
build:
	$(GO) build -o mayday .

## make test         every test that needs nothing but Go (others skip and say why)
test:
	$(GO) test -timeout 20m ./...

## make check        what must pass before every commit: format, vet, staticcheck, tests
check:
	@test -z "$$(gofmt -l $$(git ls-files '*.go'))" || { echo "gofmt these:"; gofmt -l $$(git ls-files '*.go'); exit 1; }
	$(GO) vet ./...
	$(GO) tool staticcheck ./...
	$(GO) mod tidy -diff
	$(GO) test -timeout 20m ./...

## make race         the race detector, on everything without cloud SDKs
race:
	CGO_ENABLED=1 $(GO) test -timeout 20m -race -short $$($(GO) list ./... | grep -v -E '^mayday$$|^mayday/app$$|^mayday/test')

## make fuzz         each fuzz target for FUZZTIME (10s)
fuzz:
	FUZZTIME=$(FUZZTIME) test/fuzz.sh

## make opensearch   the search engine's suite, and the binary, on a real OpenSearch (needs Maven and Java 17; else it says so)
opensearch:
	test/opensearch.sh $(GO) test -count=1 -timeout 20m ./storage/search/opensearch ./test/opensearch

## make fuzz-nightly each fuzz target for a minute
fuzz-nightly:
	FUZZTIME=60s test/fuzz.sh

## make bench        Go benchmarks of every hot path
bench:
	$(GO) test -run '^$$' -bench . -benchmem ./...

## make bench-collector   a collector of its own under load: 20 kB, 600 kB, 5 MB, fsync on and off
bench-collector: build
	test/load/collector.sh ./mayday

## make bench-e2e    2,300 crashes a minute through everything, for BENCH_SECONDS (600)
bench-e2e: build
	test/load/e2e.sh ./mayday

## make bench-search a million crashes searched through HTTP, one table (PEER=URL adds another instance)
bench-search: build
	test/searchbench/run.sh ./mayday

## make bench-symbols     compile, lookups, API, uploads, downloads of symbols; MAYDAY_BENCH_SYM: a .sym, MAYDAY_BENCH_PYTHON: a Python with symbolic
bench-symbols: build
	$(GO) run ./test/symbolbench -binary ./mayday -sym "$(MAYDAY_BENCH_SYM)" -python "$(MAYDAY_BENCH_PYTHON)"

## make bench-stackwalk   walking stacks, cold and warm, beside minidump-stackwalk where it is (PEER=FILE)
bench-stackwalk: build
	$(GO) build -o stackspeed ./test/stackspeed
	./stackspeed -peer "$(PEER)" ./mayday; rc=$$?; rm -f stackspeed; exit $$rc

## make e2e          the real binary, end to end (also part of make test)
e2e:
	$(GO) test -count=1 ./test/...

## make browser      pages in a real browser (needs Chromium)
browser:
	$(GO) test -count=1 ./test/browser

## make screenshots  a picture of every page, in test/out/
screenshots:
	MAYDAY_SCREENSHOTS=../out $(GO) test -count=1 -run Screenshots ./test/browser

## make truth        source lines of live crashes against gdb (needs gcc, g++, rustc, gdb, dump_syms)
truth:
	MAYDAY_TRUTH=1 $(GO) test -count=1 -timeout 30m -v -run TestTruth ./test/truth

## make docs         renew config.example.yaml
docs:
	$(GO) run . config --example > config.example.yaml

clean:
	rm -f mayday
