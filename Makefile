# Everything a checkout can do. A fresh machine needs Python 3.11 or later with venv and pip, and make; the tests against
# real peers also need Go. The suite's own virtual environment is .venv; what is built or large goes to $(KITCAR_CACHE).

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.NOTPARALLEL:

export KITCAR_CACHE ?= $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/kitcar
export PYTHONPATH := tests
export PYTHONDONTWRITEBYTECODE :=

VENV := .venv
READY := $(VENV)/.ready
BIN := $(CURDIR)/$(VENV)/bin
PYTHON := $(BIN)/python
# Arguments of the benchmarks, such as `--size 256 --only pack,pull`.
BENCH ?=
JOBS ?= $(shell nproc 2>/dev/null || echo 2)
PYTEST := $(PYTHON) -m pytest -n $(JOBS)
QUICK := $(wildcard tests/unit tests/conformance tests/faults)
PEERS := $(wildcard tests/peers tests/e2e)

# The first interpreter that runs (a pyenv shim may not) and is new enough.
FIND_PYTHON = for candidate in $(KITCAR_PYTHON) python3 python3.13 python3.12 python3.11; do \
	  if "$$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; then echo "$$candidate"; break; fi; \
	done

.PHONY: help setup check format test test-quick test-peers test-all coverage peers demo bench docs requirements clean

help: ## Show what there is
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-13s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(READY) ## Make .venv with kitcar and all that the suite needs

$(READY): requirements/dev.txt pyproject.toml src/kitcar/__init__.py
	@base="$$($(FIND_PYTHON))"; \
	if [ -z "$$base" ]; then echo "Python 3.11 or later is needed (name one with KITCAR_PYTHON=...)" >&2; exit 1; fi; \
	rm -rf $(VENV); \
	if uv --version >/dev/null 2>&1; then \
	  uv venv --quiet --python "$$("$$base" -c 'import sys; print(sys.executable)')" $(VENV); \
	  uv pip install --quiet --python $(PYTHON) --require-hashes -r requirements/dev.txt; \
	  uv pip install --quiet --python $(PYTHON) --no-deps --no-build-isolation -e .; \
	else \
	  "$$base" -m venv $(VENV); \
	  $(PYTHON) -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/dev.txt; \
	  $(PYTHON) -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .; \
	fi; \
	$(PYTHON) -m compileall -q $(VENV)/lib >/dev/null || true; \
	touch $@

check: $(READY) ## Format, lint, types, layers, the project's own spelling
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/mypy --strict tests/harness tests/bench
	$(BIN)/lint-imports
	$(PYTHON) -m pytest -q tests/conformance/test_project.py

format: $(READY) ## Format the code and mend what the linter can
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

# The peers are built while the quick tests run; a peer that cannot be built shows in the tests that need it.
test: $(READY) ## Every test that is not expensive: quick ones, then real peers
	@log="$$(mktemp)"; trap 'rm -f "$$log"' EXIT; \
	$(PYTHON) -m harness.peers default </dev/null >"$$log" 2>&1 & building=$$!; \
	quick=0; $(PYTEST) -m "not peer and not expensive" $(QUICK) || quick=$$?; \
	wait $$building || true; cat "$$log"; \
	peers=0; $(PYTEST) -m "not expensive" $(PEERS) || peers=$$?; \
	if [ $$quick -ne 0 ]; then echo "the quick tests above failed ($$quick)" >&2; exit $$quick; fi; \
	exit $$peers

test-quick: $(READY) ## Unit, conformance and fault tests alone
	$(PYTEST) -m "not peer and not expensive" $(QUICK)

test-peers: $(READY) peers ## Tests against real peers alone
	$(PYTEST) -m "not expensive" $(PEERS)

test-all: test ## `make test`, then the expensive tests
	@$(PYTHON) -m harness.peers all
	$(PYTEST) -m expensive tests

coverage: $(READY) ## Branch coverage of the quick tests
	$(PYTEST) -q --cov --cov-report=term-missing:skip-covered -m "not peer and not expensive" $(QUICK)

peers: $(READY) ## Build the real peers into the cache
	@$(PYTHON) -m harness.peers default

demo: $(READY) ## Train, pack, push, deliver, predict: the whole road on this machine
	@environment="$$($(PYTHON) -m harness.environments requirements/demo.txt)"; \
	PATH="$(BIN):$$environment/bin:$$PATH" $(PYTHON) examples/iris/demo.py --python "$$environment/bin/python"

bench: $(READY) peers ## Measure against kit, oras, crane, cp and SHA-256; rewrites the tables in docs/performance.md
	$(PYTHON) -m bench $(BENCH)

docs: $(READY) ## Check the documentation: links resolve, examples run
	$(PYTHON) -m pytest -q tests/conformance/test_docs.py

requirements: ## Pin all requirements anew (needs uv)
	@lock() { uv pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes \
	  --no-emit-index-url --custom-compile-command "make requirements" "$$@"; }; \
	lock --all-extras pyproject.toml -o requirements/runtime.txt; \
	lock --all-extras pyproject.toml requirements/dev.in -c requirements/runtime.txt -o requirements/dev.txt; \
	lock examples/iris/requirements.in -o requirements/demo.txt; \
	lock requirements/moto.in -o requirements/moto.txt

clean: ## Remove what was made in the checkout (the cache stays)
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis .coverage dist build demo
	find src tests -name __pycache__ -type d -prune -exec rm -rf {} +
