# `make run` serves, `make test` tests. Both create an environment from the lock file. They need only
# git, make and Python 3.11 or newer.
.DEFAULT_GOAL := help
.PHONY: help run migrate test check format bench screenshots dist swagger.yaml clean

PYTHON ?= python3
BIN := .venv/bin
# uv: the installed one, or one that pip installs into the environment.
UV := $(or $(shell command -v uv 2>/dev/null),$(BIN)/uv)
# Compiled now, so that every start of a command and of the service is a second faster.
SYNC = $(UV) sync --extra server --frozen --inexact --quiet --compile-bytecode
PYTEST_ARGS ?=
# One process per core and one more; they share the servers. `-n 0` in PYTEST_ARGS uses only this
# process.
IN_PARALLEL = --numprocesses=auto --dist=worksteal

help: ## show this
	@grep -hE '^[a-z.]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 16

run: .venv/run.stamp ## serve on 127.0.0.1:9000, with SQLite under ./var (CC_… variables change it)
	@$(BIN)/customer-certificates migrate
	@exec $(BIN)/customer-certificates serve

migrate: .venv/run.stamp ## upgrade the database's schema to this version
	@$(BIN)/customer-certificates migrate

test: check ## run all checks and tests, on SQLite and on PostgreSQL with Redis
	PYTHONDONTWRITEBYTECODE= $(BIN)/python -m pytest $(IN_PARALLEL) $(PYTEST_ARGS)

check: .venv/dev.stamp ## format, lint, types, import rules, links
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/pyrefly check
	$(BIN)/lint-imports --no-cache
	$(BIN)/python -m checks.markdown
	$(BIN)/python -m checks.identifiers

format: .venv/dev.stamp ## format the code
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

swagger.yaml: .venv/run.stamp ## regenerate the description of the API
	@$(BIN)/customer-certificates openapi > $@

bench: .venv/dev.stamp ## measure the figures of docs/reference/performance.md, beside FastAPI, OpenBao and pgbench
	$(BIN)/python -m bench $(BENCH_ARGS)

screenshots: .venv/dev.stamp ## take the screenshots of README (needs Chromium)
	$(BIN)/python -m checks.screenshots

dist: .venv/run.stamp ## build a wheel in ./dist
	@rm -rf dist
	@$(UV) build --quiet --wheel --out-dir dist
	@ls dist/*.whl

clean: ## remove the environment and every cache, but no data
	rm -rf .venv .cache .hypothesis .pytest_cache .ruff_cache .import_linter_cache

.venv/run.stamp: uv.lock pyproject.toml $(BIN)/python
	@$(SYNC) --no-dev
	@touch $@

.venv/dev.stamp: uv.lock pyproject.toml $(BIN)/python
	@$(SYNC) --group dev
	@touch $@ .venv/run.stamp

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	    || { echo "Python 3.11 or newer is needed; name it with make PYTHON=python3.13 …" >&2; exit 1; }
	@if command -v uv >/dev/null 2>&1; then uv venv --quiet --python "$$(command -v $(PYTHON))" .venv; else \
	    $(PYTHON) -m venv .venv && $(BIN)/pip install --quiet --disable-pip-version-check uv==$(UV_VERSION) \
	    || { rm -rf .venv; echo "On Debian and Ubuntu: apt-get install python3-venv" >&2; exit 1; }; fi

UV_VERSION := 0.13.9
