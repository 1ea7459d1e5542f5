# What people and CI run: the same targets, to the letter. `make help` lists them.
SHELL := /bin/bash
# The first that runs: a name on the PATH may be a version manager's placeholder.
PYTHON ?= $(shell for python in python3.12 python3.11 python3; do \
	$$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$python && break; done)
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
# Ten-thread defaults on small machines make processes starve one another.
export OMP_WAIT_POLICY ?= PASSIVE
export OPENBLAS_NUM_THREADS ?= 1
export TF_CPP_MIN_LOG_LEVEL ?= 2
# Some containers set it: each of hundreds of processes would compile the product and its tests anew.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help setup demo up down test check format protos stubs audit release lock bench clean

help: ## List the targets.
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  make %-8s %s\n", $$1, $$2}'

setup: $(STAMP) ## Make the environment in .venv.

$(STAMP): requirements.lock pyproject.toml
	@test -n "$(PYTHON)" && $(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "Python 3.11 or newer is needed; name one with: make setup PYTHON=/path/to/python3.11" >&2; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "Installing the pinned packages into $(VENV) …"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

demo: setup ## Set everything up and show the main job; DATASET=path for a Kaggle-layout folder or zip.
	@$(BIN)/fashion demo $(if $(DATASET),--dataset "$(DATASET)")

up: setup ## Start the stack with the demo catalogue, leave it running, and say how to reach it.
	@$(BIN)/fashion serve --demo-catalogue --detach

down: ## Stop what `make up` started.
	@$(BIN)/fashion stop

# They measure how long callers wait: nothing else may run beside them.
ALONE := tests/e2e/test_restart.py tests/faults/test_recovery.py

# A process that dies ends the run: with another in its place, pytest-xdist 3.8 waits for ever.
test: setup ## Run every test; FASHION_DATASET=path and FASHION_PHOTOS=path add those on real data.
	@$(BIN)/pytest --numprocesses logical --maxprocesses 4 --max-worker-restart 0 --no-loadscope-reorder $(addprefix --ignore=,$(ALONE))
	@$(BIN)/pytest $(ALONE)

check: setup ## Linters, types, import rules, protos, generated code, deployment files.
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/buf lint
	$(BIN)/buf breaking --against protos/released.binpb
	$(BIN)/buf format --diff --exit-code --exclude-path protos/google
	$(BIN)/python tools/generate_stubs.py --check
	$(BIN)/python tools/document_settings.py --check
	$(BIN)/hadolint deploy/Dockerfile
	$(BIN)/check-jsonschema --builtin-schema vendor.compose-spec docker-compose.yml docker-compose.milvus.yml

format: setup ## Format the code and the protos.
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/buf format --write --exclude-path protos/google

protos: setup ## Generate fashion/v1 from protos/.
	$(BIN)/python tools/generate_stubs.py

stubs: setup ## Build a small wheel with the stubs alone, for backend teams, in dist/.
	@rm -rf build/stubs && mkdir -p build/stubs dist
	@cp -r stubs/. build/stubs/ && cp -r fashion build/stubs/
	@$(BIN)/python -m build --quiet --wheel --no-isolation --outdir dist build/stubs
	@ls dist/fashion_stubs-*.whl

audit: setup ## Ask whether a locked package has a known weakness, where the data can be reached.
	@$(BIN)/python -m tools.audit

release: check audit stubs ## Put into dist/ what is published beside the images: SBOMs, licences, chart, API, checksums.
	@$(BIN)/python -m tools.release

COMPILE := $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header

lock: setup ## Pin the dependencies of pyproject.toml anew, with hashes.
	@$(BIN)/python -m pip install --quiet uv
	$(COMPILE) --extra local --extra traces --extra parquet --extra milvus --extra certificates --extra dev --extra train --output-file requirements.lock pyproject.toml
	$(COMPILE) --constraint requirements.lock --extra image --extra traces --output-file requirements-serve.lock pyproject.toml
	$(COMPILE) --constraint requirements.lock --extra image --extra traces --extra milvus --output-file requirements-milvus.lock pyproject.toml
	$(COMPILE) --constraint requirements.lock --extra local --extra bench --output-file requirements-bench.lock pyproject.toml

bench: setup ## Measure speed and memory beside what others use; DATASET=path, on an otherwise idle machine.
	@test -n "$(DATASET)" || { echo "name a data set: make bench DATASET=path" >&2; exit 2; }
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-bench.lock
	@$(BIN)/fashion bench all "$(DATASET)"

clean: ## Remove what can be made again, the environment too.
	rm -rf $(VENV) build dist out .mypy_cache .pytest_cache .ruff_cache
