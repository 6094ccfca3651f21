PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: demo test lint types bench docs clean help

$(STAMP): pyproject.toml
	@command -v "$(PYTHON)" >/dev/null || { \
	  echo "make: no '$(PYTHON)' found. Install Python 3.11 or newer, or name one: make PYTHON=python3.12 …" >&2; exit 1; }
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "make: holdstate needs Python 3.11 or newer, and '$(PYTHON)' is $$("$(PYTHON)" -V 2>&1)." \
	       "Name another one: make PYTHON=python3.12 …" >&2; exit 1; }
	@"$(PYTHON)" -c 'import ensurepip, venv' 2>/dev/null || { \
	  echo "make: '$(PYTHON)' cannot create virtual environments (no venv or ensurepip)." \
	       "On Debian and Ubuntu: apt install python3-venv" >&2; exit 1; }
	@echo "Preparing $(VENV) (once)" >&2
	@"$(PYTHON)" -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@

demo: $(STAMP) ## show what holdstate does, in a minute
	@$(BIN)/python -m holdstate.tools.demo

test: $(STAMP) ## run all tests; spec/ and runtime/ must be covered completely
	$(BIN)/pytest --numprocesses=logical --dist=loadfile --cov --cov-report= $(PYTEST_ARGS)
	@$(BIN)/coverage report --include='spec/*,runtime/*' --fail-under=100

lint: $(STAMP) ## check style, format and import layers
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

types: $(STAMP) ## check types
	$(BIN)/mypy

bench: $(STAMP) ## measure, in units of one raw LMDB commit
	@$(BIN)/holdstate bench $(BENCH_ARGS)

docs: $(STAMP) ## build the documentation site in build/site, and run every example in it
	$(BIN)/sphinx-build --quiet --fail-on-warning --keep-going -c docs/site docs build/site
	$(BIN)/pytest tests/docs
	@echo "The site is build/site/index.html"

clean: ## remove what the other targets made
	rm -rf $(VENV) build dist src/*.egg-info .coverage .coverage.* .holdstate-failures .hypothesis .import_linter_cache \
	  .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-6s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
