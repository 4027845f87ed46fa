SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.PHONY: help setup setup-dev demo test check bench docs fmt clean

BIN := .venv/bin
RUNTIME := .venv/.weft-runtime
DEV := .venv/.weft-dev
# What the installed package is made of; the sources themselves are used in place.
INPUTS := pyproject.toml hatch_build.py tools/stubs.py tools/setup tools/constraints.txt \
          src/weft/envoy/descriptors.py src/weft/envoy/binary.py
# Further arguments for pytest: make test ARGS="-k retry"
ARGS ?=
# Test files run side by side, three on two cores, because most of them wait for something most of the time; in the order of
# their names, so that the long ones are not the last. Their temporary directory has a short name: those of unix sockets must be.
WORKERS ?= 3

help: ## say what there is to make
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /  make \1\t/' | expand -t 20

setup: $(RUNTIME) ## make the virtual environment .venv with weft in it

setup-dev: $(DEV) ## the same, with what tests and checks need

$(RUNTIME): $(INPUTS)
	tools/setup
	touch $@

$(DEV): $(INPUTS)
	tools/setup dev
	touch $(RUNTIME) $@

demo: $(RUNTIME) ## a whole mesh on this machine, with a story; ONCE=1 runs it unattended and checks each step
	@exec $(BIN)/python examples/01-shop/demo.py

test: $(DEV) ## all tests, with the coverage floor
	tools/install-test-tools
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder --basetemp "$$(mktemp -d -p /tmp)" \
		--cov --cov-report=term:skip-covered $(ARGS)

check: $(DEV) ## formatting, lint, types, import contracts, and the rules of this repository
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	tools/check-examples
	$(BIN)/lint-imports
	$(BIN)/python -m pytest -q tests/meta

bench: $(DEV) ## the benchmarks, with their budgets; writes benchmarks/results
	tools/install-test-tools
	$(BIN)/python -m benchmarks $(ARGS)

docs: $(RUNTIME) ## the documentation as a site, in build/site
	tools/setup docs
	$(BIN)/zensical build --strict

fmt: $(DEV) ## format, and fix what can be fixed
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean: ## remove everything that is not in git
	rm -rf .venv build dist .mypy_cache .ruff_cache .import_linter_cache .hypothesis .coverage htmlcov
	rm -rf src/weft/envoy/protos src/weft/envoy/descriptors.bin
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
