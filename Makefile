# Every target first creates .venv from requirements.lock if it is missing or out of date.

PYTHON ?= python3
STUDY  ?= digits
BIN    := .venv/bin
READY  := .venv/.ready
# One process more than cores, because tests often wait; idle processes take tests from busy ones.
SIDE_BY_SIDE = --numprocesses $(shell n=$$(nproc); echo $$((n < 8 ? n + 1 : 9))) --dist worksteal

export MLFLOW_DISABLE_TELEMETRY = true

.DEFAULT_GOAL := help
.PHONY: help study ui report test fuzz faults mutants check bench lock clean

help: ## list the targets
	@echo "make TARGET [STUDY=digits] [PYTHON=python3]"
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

study: $(READY) ## start or resume a study: trials, tables, plots, report, MLflow
	@$(BIN)/netcore run "$(STUDY)"

ui: $(READY) ## start the MLflow UI, on this machine only
	@$(BIN)/netcore ui

report: $(READY) ## rebuild a study's tables, plots and report from its records
	@$(BIN)/netcore report "$(STUDY)"

test: $(READY) ## run the tests; slow proofs are left to make check
	$(BIN)/python -m pytest $(SIDE_BY_SIDE) $(PYTEST)

fuzz: $(READY) ## read ten thousand damaged files of each format
	$(BIN)/python -m pytest -m fuzz

faults: $(READY) ## kill, starve and disturb real runs, hundreds of times: about half an hour on two cores
	$(BIN)/python -m pytest $(SIDE_BY_SIDE) --faults -m "not fuzz" --timeout 3600 tests/faults

mutants: $(READY) ## change one statement of netcore at a time: a test must fail (about an hour)
	$(BIN)/python tests/mutants.py tests/mutants.json mutants.jsonl

check: $(READY) ## what CI runs: style, types, import contracts, all tests with branch coverage
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m pytest $(SIDE_BY_SIDE) -m "not fuzz" --cov --cov-report=term

bench: $(READY) ## measure the performance claims of experiments/README.md
	$(BIN)/python experiments/cost.py
	$(BIN)/python experiments/memory.py --quick
	$(BIN)/python experiments/scale.py
	$(BIN)/python experiments/scale.py data
	$(BIN)/python experiments/scale.py trials 200 1000
	$(BIN)/python experiments/peers.py --rounds 5 --studies 1 --trials 10

lock: $(READY) ## update requirements.lock from pyproject.toml
	$(BIN)/uv pip compile pyproject.toml --extra dev --universal --python-version 3.11 --generate-hashes \
	    --no-emit-index-url --no-emit-find-links --no-strip-extras --custom-compile-command "make lock" --upgrade --quiet -o requirements.lock

clean: ## remove the environment and all caches; results, mlflow.db and mlruns stay
	rm -rf .venv build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache .coverage .coverage.*
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(READY): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || \
	    { echo "netcore needs Python 3.11 or newer, got $$($(PYTHON) --version 2>&1); name one: make PYTHON=python3.12 …" >&2; exit 2; }
	@echo "creating .venv (about two minutes, once) …"
	@$(PYTHON) -m venv --clear .venv
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@
