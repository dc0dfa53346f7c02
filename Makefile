# Every target sets itself up; a fresh machine needs Python 3.11 or later and nothing else.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.ready
TORCH ?= torch==2.13.0

.DEFAULT_GOAL := help
.PHONY: help setup demo test check bench lock contracts slither protos clean

help: ## Show this list
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-10s %s\n", $$1, $$2}'

setup: $(STAMP) ## Make .venv and install what the lock names, hashes checked

$(STAMP): requirements/dev.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Twinward needs Python 3.11 or later: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade 'pip>=25.1'
	$(BIN)/python -m pip install --quiet $(TORCH)
	$(BIN)/python -m pip install --quiet --no-deps --require-hashes -r requirements/dev.lock
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	$(BIN)/python -m pip check
	@touch $@

demo: setup ## Four hospitals train one model here, with consent, privacy and proofs
	@$(BIN)/twinward demo $(DEMO)

test: setup ## Run every test; what needs more than Python is skipped with its reason
	@$(BIN)/python -m pytest $(TESTS)

check: setup ## Formatting, lint, types, layers
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

bench: setup ## Run every benchmark, one after the other
	@for file in tests/benchmarks/*.py; do echo "== $$file"; $(BIN)/python $$file || exit 1; done

lock: ## Resolve anew and write requirements/*.lock
	@sh requirements/lock.sh $(BIN)

slither: $(VENV)/slither/.ready ## Slither over the contracts, held against the review (needs Node)
	@$(VENV)/slither/bin/python ledger/contracts/slither.py

$(VENV)/slither/.ready: requirements/slither.lock | $(STAMP)
	@$(PYTHON) -m venv $(VENV)/slither
	@$(VENV)/slither/bin/python -m pip install --quiet --disable-pip-version-check \
	  --require-hashes -r requirements/slither.lock
	@touch $@

contracts: ## Rebuild the Solidity artifacts (needs Node)
	@cd ledger/contracts && npm ci --silent && node build.js

protos: setup ## Rebuild the gRPC stubs
	@$(BIN)/python -m grpc_tools.protoc -I. --python_out=. --pyi_out=. --grpc_python_out=. \
	  twinward/rpc/messages.proto

clean: ## Remove the environment and what the tools left
	@rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis dist build
