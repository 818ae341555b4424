# Needs python3 (3.11 to 3.13) and make; everything else is installed into .venv from the locks.
.DEFAULT_GOAL := help
.PHONY: help demo test test-aws checkov lint spark bench faults docs deploy destroy lock clean

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --quiet --disable-pip-version-check
WORKERS ?= 2

# Tests start hundreds of processes: one that may not keep what it compiled takes twice as long to start.
unexport PYTHONDONTWRITEBYTECODE

help: ## show this list
	@sed -n 's/^\([a-z-]*\):.*## /  make \1#/p' $(MAKEFILE_LIST) | awk -F'#' '{printf "%-17s %s\n", $$1, $$2}'

demo: $(VENV)/.runtime ## run everything on this machine with simulated shoppers
	$(BIN)/shopstream up --demo

test: $(VENV)/.dev ## run all tests, the slow ones and a sample of the faults included
	$(BIN)/pytest -n $(WORKERS) --dist worksteal --ignore tests/models/engines --ignore tests/infra
	$(BIN)/pytest tests/models/engines -n $(WORKERS) --dist loadfile

test-aws: $(VENV)/.dev ## apply Terraform to an emulator of AWS and drive the deployed code (needs terraform)
	$(BIN)/pytest tests/infra -n $(WORKERS) --dist loadgroup --no-loadscope-reorder

# They want other libraries than the package does: an environment of their own.
checkov: .venv-checkov/.done ## install checkov and parliament, which `make test-aws` then has look at terraform/

lint: $(VENV)/.dev ## ruff and mypy --strict
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

spark: $(VENV)/.spark ## also install PySpark, so that `make test` runs the models on it (needs a JDK)

bench: $(VENV)/.dev ## measure this machine; figures go to docs/performance.md
	$(BIN)/python -m benchmarks

faults: $(VENV)/.dev ## kill every stage at hundreds of system calls (Linux with strace)
	$(BIN)/python -m tests.faults
	$(BIN)/pytest tests/faults

docs: $(VENV)/.dev ## write the references in docs/ and terraform/ from the code
	$(BIN)/python -m shopstream.reference
	$(BIN)/python -m tests.infra.readmes

PROFILE ?= starter
deploy: $(VENV)/.runtime ## make it run on AWS (PROFILE=starter or scale; needs terraform, see docs/aws.md)
	scripts/deploy-aws $(PROFILE)

destroy: $(VENV)/.runtime ## remove everything that `make deploy` made, all data included; asks first
	scripts/destroy-aws $(PROFILE)

# hatchling and editables build the package itself, setuptools builds PySpark; in the locks they
# have hashes like the rest.
LOCK := uv pip compile pyproject.toml - --quiet --universal --python-version 3.11 \
	--generate-hashes --no-emit-index-url --no-emit-find-links --no-annotate --no-header
# The tools' lock first: they want older releases of some libraries that the package takes too.
lock: ## resolve requirements.lock, requirements-dev.lock, -spark.lock and -checkov.lock anew (needs uv)
	printf 'hatchling\neditables\nsetuptools\n' | $(LOCK) --upgrade --extra dev \
		--output-file requirements-dev.lock
	printf 'hatchling\neditables\n' | $(LOCK) --upgrade --constraint requirements-dev.lock \
		--output-file requirements.lock
	printf 'setuptools\n' | $(LOCK) --upgrade --extra spark --constraint requirements-dev.lock \
		--output-file requirements-spark.lock
	printf 'checkov\nparliament\nsetuptools<81\n' | $(subst pyproject.toml,,$(LOCK)) --upgrade \
		--output-file requirements-checkov.lock
	printf 'aws-lambda-powertools[tracer]\nboto3\nmsgspec\nstarlette\nstructlog\n' \
		| $(subst pyproject.toml,,$(LOCK)) --constraint requirements-dev.lock \
		--output-file src/shopstream/aws/requirements-lambda.lock

clean: ## remove .venv and what tools leave behind (never a data directory)
	rm -rf $(VENV) .venv-checkov .mypy_cache .ruff_cache .pytest_cache .hypothesis build dist

# The stamps make a second run instant.
$(VENV)/.runtime: requirements.lock pyproject.toml | $(BIN)/python
	$(PIP) install --require-hashes --no-deps -r requirements.lock
	$(PIP) install --no-deps --no-build-isolation --editable .
	@touch $@

$(VENV)/.dev: requirements-dev.lock pyproject.toml | $(BIN)/python
	$(PIP) install --require-hashes --no-deps -r requirements-dev.lock
	$(PIP) install --no-deps --no-build-isolation --editable .
	@touch $@ $(VENV)/.runtime

# PySpark 3.5 comes as source only; it is built with the setuptools of the lock before.
$(VENV)/.spark: requirements-spark.lock | $(VENV)/.dev
	$(PIP) install --require-hashes --no-deps --no-build-isolation -r requirements-spark.lock
	@touch $@

# Parliament imports pkg_resources, which comes with setuptools before 81.
.venv-checkov/.done: requirements-checkov.lock
	@scripts/make-venv "$(PYTHON)" .venv-checkov
	.venv-checkov/bin/python -m pip install --quiet --disable-pip-version-check \
		--require-hashes --no-deps -r requirements-checkov.lock
	@touch $@

$(BIN)/python:
	@scripts/make-venv "$(PYTHON)" "$(VENV)"
