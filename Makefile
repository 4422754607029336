# Everything runs in .venv, which is made when missing. `make demo` and `make test` are the two commands to know.
PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip install --disable-pip-version-check -c constraints.txt
# The tests are many small ones, and some wait for processes: three with one thread each keep two cores busy, and who
# has none left takes over from the others.
TEST_PROCESSES ?= 3

.PHONY: demo test check bench fuzz docs clean
.DEFAULT_GOAL := help

.PHONY: help
help:
	@echo "make demo    train, measure and report on built-in faces (about 6 minutes on 2 cores)"
	@echo "make test    all tests"
	@echo "make check   ruff, pyright, import-linter, docs"
	@echo "make bench   every benchmark that needs no trained run: a table and one line of JSON each"
	@echo "make fuzz    more than 100,000 broken inputs for every reader (about 12 minutes on 2 cores)"
	@echo "make docs    the documentation site, into site/"

.venv/.run: pyproject.toml constraints.txt
	$(PYTHON) -c "import sys; sys.exit(sys.version_info < (3, 11) and 'vlrface needs Python 3.11 or newer: make PYTHON=python3.12 ...')"
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(PIP) -e ".[all]"
	touch $@

.venv/.dev: .venv/.run
	$(PIP) -e ".[all,dev]"
	touch $@

demo: .venv/.run
	$(BIN)/vlrface demo --out runs/demo

test: .venv/.dev
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(TEST_PROCESSES) --dist worksteal $(PYTEST_ARGS)

check: .venv/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright
	$(BIN)/lint-imports
	$(BIN)/mkdocs build --strict

# A helper, one with a target of its own, and those of trained runs.
NOT_BENCH = result.py fuzz.py combined_index.py removal.py windows.py

bench: .venv/.dev
	set -e; for each in $(filter-out $(addprefix benchmarks/,$(NOT_BENCH)),$(wildcard benchmarks/*.py)); do $(BIN)/python $$each; done

fuzz: .venv/.dev
	$(BIN)/python benchmarks/fuzz.py --json fuzz.json

docs: .venv/.dev
	$(BIN)/mkdocs build --strict

clean:
	rm -rf .venv site build dist .pytest_cache .ruff_cache .hypothesis
