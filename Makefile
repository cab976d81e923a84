# `make demo` and `make test` are all a newcomer needs: each creates the locked environment first.
.DEFAULT_GOAL := help
SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c

UV_VERSION := 0.13.9
# uv from PATH, else a private copy in .cache/uv-tool made with the system's Python.
UV := $(shell command -v uv 2>/dev/null || echo .cache/uv-tool/bin/uv)
RUN := .venv/bin/
STAMP := .venv/.synced
export PREFECT_SERVER_ANALYTICS_ENABLED := false
export DO_NOT_TRACK := 1
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help demo test check lint types contracts e2e stack-test browser-test validity clean
help:  ## Show this help
	@grep -hE '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

.cache/uv-tool/bin/uv:
	@python3 -m venv .cache/uv-tool || { echo "Python's venv module is missing: apt-get install python3-venv, then try again" >&2; exit 2; }
	@.cache/uv-tool/bin/pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)

$(STAMP): pyproject.toml uv.lock $(if $(findstring .cache,$(UV)),$(UV))
	@echo "Creating the locked environment in .venv"
	@$(UV) sync --locked --quiet
	@touch $@

demo: $(STAMP)  ## Label the bundled project with the embedded model and show the result
	@$(RUN)labelproof demo

test: $(STAMP)  ## Run the tests
	@$(RUN)python -m pytest -n 2 --dist worksteal

stack-test: $(STAMP)  ## Run the tests that start a real Prefect server
	@$(RUN)python -m pytest -m stack -p no:randomly tests/flows tests/stack

browser-test: $(STAMP)  ## Run the tests that drive the review app in Chromium
	@command -v chromium >/dev/null || [ -n "$${LABELPROOF_CHROMIUM:-}" ] || { \
		echo "Installing Chromium for the browser tests (Debian package)"; \
		$(if $(filter 0,$(shell id -u)),,sudo) apt-get update -qq && $(if $(filter 0,$(shell id -u)),,sudo) apt-get install -y -qq --no-install-recommends chromium >/dev/null \
			|| { echo "install a Chromium, or name one in LABELPROOF_CHROMIUM" >&2; exit 2; }; }
	@$(RUN)python -m pytest -m browser -p no:randomly tests/review

e2e: $(STAMP)  ## Run the end-to-end tests with the embedded model
	@LABELPROOF_E2E=1 $(RUN)python -m pytest -m e2e -p no:randomly

validity: $(STAMP)  ## Simulate every statistical promise (2 000 data sets each, about 20 minutes)
	@$(RUN)python -m benchmarks.validity

lint: $(STAMP)  ## Check style
	@$(RUN)ruff check --quiet . && $(RUN)ruff format --quiet --check .

types: $(STAMP)  ## Check types
	@$(RUN)mypy

contracts: $(STAMP)  ## Check that rooms import one way
	@$(RUN)lint-imports --no-cache | tail -n 20

# Two at a time: the tests of servers and browsers mostly wait, and types need one core. A line says whose it is.
CHECKS := lint types contracts test browser-test stack-test
check: $(STAMP)  ## All checks, as CI runs them
	@$(MAKE) --no-print-directory --jobs 2 $(addprefix checked-,$(CHECKS))

checked-%:
	@began=$$SECONDS; $(MAKE) --no-print-directory $* 2>&1 | awk '{ print "$*: " $$0; fflush() }'; \
		echo "$*: passed in $$((SECONDS - began)) s"

clean:  ## Remove the environment and caches
	rm -rf .venv .cache .pytest_cache .mypy_cache .ruff_cache
