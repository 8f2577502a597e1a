# One word each. Everything lives in .venv; `make clean` takes it away.
#
#   make setup      a virtual environment with all members and the development tools
#   make demo       the demo on SQLite and PostgreSQL (ARGS="--json" passes options on)
#   make test       what people run, in minutes (ARGS="-k kill" passes options on)
#   make test-all   with long properties, real servers, real SDKs and injected faults
#   make lint       ruff, mypy, import-linter
#   make docs       the documents are complete and true
#   make compatibility  the contract on every provider of docs/compatibility.md, and that page
#   make bench      measured beside the other SDKs, which it installs
#   make clean      removes .venv and caches

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-all lint docs compatibility bench clean
.DELETE_ON_ERROR:

VENV := .venv
BIN := $(VENV)/bin
ARGS ?=

# Byte code is kept in .venv whatever the environment says of it: else each of the workers, and of the
# thousand processes that tests start, compiles all that it imports.
unexport PYTHONDONTWRITEBYTECODE
export PYTHONPYCACHEPREFIX := $(abspath $(VENV))/pycache

# The Python at hand, if it is new enough; none is ever downloaded.
FIND_PYTHON = for p in python3 python3.14 python3.13 python3.12 python3.11 python; do \
	"$$p" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && command -v "$$p" && break; done
PYTHON ?= $(shell $(FIND_PYTHON))

# uv if it is on PATH and knows what we ask of it, else one of our own inside .venv.
UV := $(shell uv sync --no-default-groups --help >/dev/null 2>&1 && command -v uv || echo $(BIN)/uv)

# The committed lock decides the versions. Inexact: what `bench` added stays when `test` comes next.
SYNC := UV_PYTHON_DOWNLOADS=never UV_PROJECT_ENVIRONMENT=$(VENV) VIRTUAL_ENV= \
	"$(UV)" sync --quiet --frozen --inexact --python "$(BIN)/python"

PROJECTS := pyproject.toml uv.lock $(wildcard providers/*/pyproject.toml contract_tests/*/pyproject.toml)

help:
	@sed -n 's/^#   //p' $(firstword $(MAKEFILE_LIST))

# A stamp for each set of packages, so that nothing is installed twice.
$(VENV)/.made:
	@test -n "$(PYTHON)" || { \
	  echo "Downhaul needs Python 3.11 or newer, and none was found on PATH." >&2; \
	  echo "Install one, or name it: make setup PYTHON=/path/to/python3.12" >&2; exit 1; }
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "Downhaul needs Python 3.11 or newer, and $(PYTHON) is not that." >&2; \
	  echo "Name another: make setup PYTHON=/path/to/python3.12" >&2; exit 1; }
	@echo "Making $(VENV) with $(PYTHON)"
ifeq ($(UV),$(BIN)/uv)
	@"$(PYTHON)" -m venv $(VENV) || { \
	  echo "python -m venv failed: install uv, or your system's venv package (python3-venv on Debian)." >&2; exit 1; }
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check 'uv>=0.8'
else
	@test -x $(BIN)/python || UV_PYTHON_DOWNLOADS=never "$(UV)" venv --quiet --python "$(PYTHON)" $(VENV)
endif
	@touch $@

$(VENV)/.demo: $(VENV)/.made $(PROJECTS)
	@echo "Installing what the demo needs"
	@$(SYNC) --no-default-groups --extra demo
	@$(SYNC) --no-default-groups --package downhaul-postgres
	@$(SYNC) --no-default-groups --package downhaul-unleash
	@touch $@

$(VENV)/.dev: $(VENV)/.made $(PROJECTS)
	@echo "Installing all members and the development tools"
	@$(SYNC) --all-packages
	@touch $@ $(VENV)/.demo

$(VENV)/.peers: $(VENV)/.dev
	@echo "Installing the SDKs to measure against"
	@$(SYNC) --all-packages --group peers
	@touch $@

setup: $(VENV)/.dev
	@echo "Ready: $(BIN)/python"

demo: $(VENV)/.demo
	@$(BIN)/downhaul demo $(ARGS)

# One worker more than there are cores: many tests wait, for a poll, a server or a timeout.
WORKERS ?= $(shell $(BIN)/python -c 'import os; print((os.cpu_count() or 1) + 1)' 2>/dev/null)

test: $(VENV)/.dev
	$(BIN)/pytest -n $(WORKERS) --dist loadgroup -m "not slow and not postgres and not fault" $(ARGS)

# Where `make test` has just passed, TESTED=1 runs of its tests only properties again: those search
# further here.
AGAIN := $(if $(TESTED), and (slow or postgres or hypothesis))

# Faults first and one at a time, as they measure time and kill things. 5 is pytest's "no such test".
test-all: export DOWNHAUL_HYPOTHESIS_PROFILE := long
test-all: $(VENV)/.peers
	$(BIN)/pytest -m fault --timeout 600 $(ARGS) || [ $$? -eq 5 ]
	$(BIN)/pytest -n $(WORKERS) --dist loadgroup -m "not fault$(AGAIN)" --timeout 600 $(ARGS)

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

docs: $(VENV)/.dev
	$(BIN)/python docs/check.py $(ARGS)

compatibility: $(VENV)/.dev
	$(BIN)/python docs/compatibility.py --run

bench: $(VENV)/.peers
	$(BIN)/python benchmarks/run.py $(ARGS)
	$(if $(ARGS),,$(BIN)/python benchmarks/guardrails.py 400)

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache .coverage .coverage.* htmlcov
	find . -name __pycache__ -not -path './.git/*' -prune -exec rm -rf {} +
