# Every command is one of scripts/bootstrap.py, which also runs where there is no make.
# ARGS passes options on:  make up ARGS="--port 9000"   make test-fast ARGS="-k stream"
# VENV names another folder than .venv for the virtual environment.

PYTHON ?= python3
ARGS ?=

# exec, so that Ctrl-C and SIGTERM reach the program itself and not a shell in between.
define run
	@command -v $(PYTHON) >/dev/null || { \
	  echo "make: $(PYTHON) is not on PATH. Install Python 3.11 or newer:" >&2; \
	  echo "  sudo apt install python3 python3-venv | sudo dnf install python3.12 | brew install python@3.12" >&2; \
	  exit 1; }
	@exec $(PYTHON) scripts/bootstrap.py $@ $(ARGS)
endef

.DEFAULT_GOAL := help
.PHONY: help up test test-fast test-slow lint format bench openapi dist clean

help: ## List these commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' Makefile

up: ## Install what is needed, start Maloca, print where it is
	$(run)

test: ## Install what tests need, lint, run every test but the slow ones
	$(run)

test-fast: ## The daily loop: tests without real models, a browser, PostgreSQL or whole programs
	$(run)

test-slow: ## Soaks and long fault runs
	$(run)

lint: ## Style, types, layers, file length, spelling, house rules; the page's too
	$(run)

format: ## Rewrite the sources in the one style
	$(run)

bench: ## Measure time to first token and throughput; ARGS names another file of bench/
	$(run)

openapi: ## Write docs/openapi/
	$(run)

dist: ## Build the wheel and the source archive in dist/, the page inside
	$(run)

clean: ## Remove what was built; .venv and node_modules stay
	$(run)
