# The two that matter: `make run` and `make test`. All of them: `make help`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# More for hubd (make run ARGS="--port 9000") and for pytest (make test PYTEST_ARGS="-k config -x").
ARGS ?=
PYTEST_ARGS ?=
# pytest processes; 0 runs everything in one.
WORKERS ?= 2

PIP_INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check
WEB_TESTS := $(wildcard tests/web/*.test.js)

.DEFAULT_GOAL := help
.PHONY: help run install test test-long bench bench-all bench-deps check format clean node chromium firefox nginx caddy cc postgres

help: ## show this
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: $(VENV)/.installed ## start a hub to try things with: demo page, a key, a curl line
	@exec $(BIN)/hubd serve --dev $(ARGS)

install: $(VENV)/.installed ## make .venv and install hubd into it

test: $(VENV)/.installed-dev node chromium firefox nginx caddy cc postgres ## every test but the long ones; installs what they need
	$(BIN)/python -m pytest -n $(WORKERS) $(PYTEST_ARGS)
	@test -n "$(WEB_TESTS)" || { echo "There are no tests in tests/web/: is this checkout complete?" >&2; exit 1; }
	node --test --test-reporter spec $(WEB_TESTS)

test-long: $(VENV)/.installed-fuzz chromium firefox nginx caddy cc postgres ## the heavy tests
	HUBD_SEED=$${HUBD_SEED:-random} $(BIN)/python -m pytest -m long --timeout 1800 $(PYTEST_ARGS)

bench: $(VENV)/.installed-dev cc ## the main figures, in under 12 minutes (one of them: .venv/bin/python -m bench)
	$(BIN)/python -m bench suite short

bench-all: $(VENV)/.installed-bench cc ## all figures, in some two hours, and from them docs/performance/
	$(BIN)/python -m bench suite all
	$(BIN)/python -m bench report

bench-deps: $(VENV)/.installed-bench ## what hubd is compared with: nchan, NATS, mosquitto, Socket.IO, ...
	sh bench/peers/install.sh build/bench

check: $(VENV)/.installed-dev ## lint, format, types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(VENV)/.installed-dev ## put the code into its format
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean: ## remove everything that was made here, .venv too
	rm -rf $(VENV) build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	    echo "hubd needs Python 3.11 or newer, and $(PYTHON) is: $$($(PYTHON) --version 2>&1)." >&2; \
	    echo "Install one (Debian: apt-get install python3 python3-venv), or name it: make PYTHON=python3.12 ..." >&2; \
	    exit 1; }
	@$(PYTHON) -m venv $(VENV) || { \
	    rm -rf $(VENV); \
	    echo "Cannot make $(VENV). On Debian this helps: apt-get install python3-venv" >&2; \
	    exit 1; }

$(VENV)/.installed: pyproject.toml | $(BIN)/python
	@echo "Installing hubd into $(VENV)/ (once; some twenty seconds)" >&2
	@$(PIP_INSTALL) --editable .
	@touch $@

$(VENV)/.installed-dev: pyproject.toml | $(BIN)/python
	@echo "Installing hubd and what its tests need into $(VENV)/ (once)" >&2
	@$(PIP_INSTALL) --editable '.[dev]'
	@touch $@ $(VENV)/.installed

# Only the long tests fuzz, and atheris isn't to be had everywhere.
$(VENV)/.installed-fuzz: $(VENV)/.installed-dev
	@echo "Installing atheris, which fuzzes, into $(VENV)/ (once)" >&2
	@$(PIP_INSTALL) --editable '.[dev,fuzz]'
	@touch $@

$(VENV)/.installed-bench: $(VENV)/.installed-dev
	@echo "Installing what the benchmarks compare hubd with into $(VENV)/ (once)" >&2
	@$(PIP_INSTALL) --editable '.[dev,bench]'
	@touch $@

# $(call debian-package,NAME): install it as root; otherwise say how, and fail. dpkg wants sbin in its PATH.
define debian-package
	if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	    export DEBIAN_FRONTEND=noninteractive PATH="$$PATH:/usr/local/sbin:/usr/sbin:/sbin"; \
	    echo "Installing $(1) for the tests"; \
	    apt-get update -qq && apt-get install -y -qq --no-install-recommends $(1) >/dev/null; \
	else \
	    echo "The tests need $(1). On Debian: sudo apt-get install -y --no-install-recommends $(1)" >&2; \
	    exit 1; \
	fi
endef

node:
	@command -v node >/dev/null || { $(call debian-package,nodejs); }
	@node -e 'process.exit(parseInt(process.versions.node) < 18 ? 1 : 0)' || { \
	    echo "The tests need Node.js 18 or newer, and this is $$(node --version)." >&2; exit 1; }

chromium caddy:
	@command -v $@ >/dev/null || { $(call debian-package,$@); }

firefox:
	@command -v firefox-esr >/dev/null || { $(call debian-package,firefox-esr); }

# The load clients of bench/ are in C.
cc:
	@command -v cc >/dev/null || { $(call debian-package,gcc libc6-dev); }

# Debian keeps its programs where nobody looks.
postgres:
	@command -v initdb >/dev/null || ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || { $(call debian-package,postgresql); }

# Debian keeps it where only root looks.
nginx:
	@command -v nginx >/dev/null || test -x /usr/sbin/nginx || { $(call debian-package,nginx-light); }
