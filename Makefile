# One door to everything: install, serve, test, check, bench.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.NOTPARALLEL:
.PHONY: help install install-dev serve test test-servers soak check format bench bench-quick bench-plot bench-usage bench-memory bench-rag image-check constraints clean

help: ## list the targets
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

install: $(VENV)/.embedder ## make .venv with the pinned packages, prepare the embedder

install-dev: $(VENV)/.installed-dev $(VENV)/.embedder ## the same plus the test and lint tools

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' 2>/dev/null || { echo "AILB needs Python 3.11, and '$(PYTHON)' is not that. Install it (Debian: apt-get install python3.11 python3.11-venv) or name yours: make PYTHON=/path/to/python3.11 $(MAKECMDGOALS)" >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); echo "Python could not make $(VENV). On Debian: apt-get install python3.11-venv" >&2; exit 1; }

$(VENV)/.installed: requirements.txt constraints.txt | $(BIN)/python
	@echo "Installing the pinned packages into $(VENV) (a few minutes the first time) ..."
	$(PIP) -r requirements.txt
	@touch $@

$(VENV)/.embedder: rag/onnx_export.py rag/packaged_model.py $(VENV)/.installed
	@echo "Preparing the embedding model (about twenty seconds, once) ..."
	@$(BIN)/python -m rag.onnx_export
	@touch $@

$(VENV)/.installed-dev: requirements-dev.txt $(VENV)/.installed
	$(PIP) -r requirements-dev.txt
	@touch $@

serve: install ## install if needed, then run everything
	@exec $(BIN)/python manage.py serve

# Settings keep generated secrets in AILB_DATA_DIR: tools get a folder of their own.
WITH_EMPTY_DATA := data=$$(mktemp -d) && trap 'rm -rf "$$data"' EXIT && export AILB_DATA_DIR="$$data" &&

test: install-dev ## all tests but the soak tests
	@deploy/debian_packages.sh chromium || echo "Tests that need these packages are skipped." >&2
	@$(WITH_EMPTY_DATA) $(BIN)/python -m pytest --numprocesses=2 --dist=loadfile --no-loadscope-reorder

test-servers: install-dev ## the API tests on each of the other HTTP servers
	@set -e; for server in granian uvicorn; do \
	  echo "The API tests on $$server:"; \
	  ( $(WITH_EMPTY_DATA) AILB_SERVER=$$server $(BIN)/python -m pytest --numprocesses=2 --dist=loadfile --no-loadscope-reorder tests/api ); \
	done

soak: install-dev ## the tests that run for minutes
	@$(WITH_EMPTY_DATA) $(BIN)/python -m pytest -m soak

check: install-dev ## lint, format, types, import contracts, migrations, Django's checks
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	@$(WITH_EMPTY_DATA) set -ex; \
	  $(BIN)/mypy; \
	  $(BIN)/python manage.py makemigrations --check --dry-run; \
	  $(BIN)/python manage.py check

format: install-dev ## let ruff mend what it can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: install-dev ## AILB beside LiteLLM and Portkey on this machine, half an hour: JSON=file keeps the figures
	$(BIN)/python -m benchmarks.run $(if $(JSON),--json "$(JSON)")

bench-quick: install-dev ## the same in five minutes, for a look
	$(BIN)/python -m benchmarks.run --quick $(if $(JSON),--json "$(JSON)")

bench-plot: install-dev ## draw docs/performance.svg from the figures of a run: JSON=file
	$(BIN)/python -m benchmarks.plot "$(JSON)" docs/performance.svg

bench-usage: install-dev ## how long the admin's pages take over a million usage rows
	$(BIN)/python -m benchmarks.usage_pages

bench-memory: install-dev ## whether memory finds the right turns, and how long it takes
	$(BIN)/python -m benchmarks.memory

bench-rag: install-dev ## whether documents answer, and how fast: DATA=folder in BEIR's form
	$(BIN)/python -m benchmarks.rag "$(DATA)"

image-check: ## run the Dockerfile's steps without a container engine
	deploy/check_image_steps.sh

constraints: ## pin again whatever the two requirements files bring along
	@fresh=$$(mktemp -d) && trap 'rm -rf "$$fresh"' EXIT && set -e && \
	  for file in requirements.txt requirements-dev.txt; do sed '/^-c /d' $$file > "$$fresh/$$file"; done && \
	  $(PYTHON) -m venv "$$fresh/venv" && \
	  "$$fresh/venv/bin/python" -m pip install --quiet --disable-pip-version-check -r "$$fresh/requirements-dev.txt" && \
	  sed -n '/^#/p' constraints.txt > "$$fresh/constraints.txt" && \
	  "$$fresh/venv/bin/python" -m pip freeze | sed -E 's/\+[a-z0-9.]+$$//' >> "$$fresh/constraints.txt" && \
	  cp "$$fresh/constraints.txt" constraints.txt

clean: ## remove .venv and caches; ./data stays
	rm -rf $(VENV) .bench build dist .pytest_cache .hypothesis .mypy_cache .ruff_cache .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
