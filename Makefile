PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.installed
LOWEST_PYTHON ?= python3.10
LOWEST := .venv-lowest/bin

.DEFAULT_GOAL := help
.PHONY: help setup demo model test test-all fuzz lowest check licences hooks clean

help:  ## say what can be made
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1\t\2/' | expand -t 16

setup: $(STAMP)  ## install the package, its tests and its linters into .venv, in the tested versions

$(STAMP): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet -c constraints.txt -e ".[test,dev,app]"
	touch $@

demo: setup  ## train and evaluate a small model on made-up skeletons, on a CPU; see runs/demo
	$(BIN)/llm-action demo --out runs/demo

model: setup  ## train the model to begin with on the releases below DATA=FOLDER (utd_mhad, nw_ucla, msr_action3d, msrc12)
	for name in utd-mhad nw-ucla msr-action3d; do folder=$$(echo $$name | tr - _); \
	  $(BIN)/llm-action prepare $$name --source $(DATA)/$$folder --out runs/data/$$folder || exit 1; done
	$(BIN)/llm-action prepare folder --source $(DATA)/msrc12 --csv $(DATA)/msrc12/listing.csv --out runs/data/msrc12
	$(BIN)/llm-action train --config general --out runs/general
	$(BIN)/llm-action distill runs/general/model --data runs/data/utd_mhad
	for name in utd_mhad nw_ucla msr_action3d msrc12; do \
	  $(BIN)/llm-action evaluate runs/general/model --dataset runs/data/$$name --record || exit 1; done

test: setup  ## run the fast tests, some minutes on two cores
	$(BIN)/python -m pytest --numprocesses auto --dist loadfile

test-all: setup  ## run all tests, the slow ones too: processes, kills and resumes, installs, the whole way to the Hub
	$(BIN)/python -m pytest --numprocesses auto --dist loadfile -m ""

fuzz: setup  ## try 10,000 hostile inputs on everything that reads (FOLDER=... adds real recordings), see tests/fuzz
	$(BIN)/python -m tests.fuzz --inputs 10000 --keep runs/fuzz $(if $(FOLDER),--real $(FOLDER))

lowest:  ## run the fast tests with the lowest versions that pyproject.toml allows, in .venv-lowest (needs python3.10)
	test -x $(LOWEST)/python || $(LOWEST_PYTHON) -m venv .venv-lowest
	$(LOWEST)/python .ci/lowest.py > .venv-lowest/constraints.txt
	$(LOWEST)/python -m pip install --quiet -c .venv-lowest/constraints.txt -e ".[test]"
	$(LOWEST)/python -m pytest --numprocesses auto --dist loadfile

check: setup  ## lint, formatting and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

licences: setup  ## list the licences of all that is installed with the package, in .github/LICENCES.md
	$(BIN)/python .ci/licences.py > .github/LICENCES.md

hooks: setup  ## let git run the checks of `make check` before every commit
	$(BIN)/pre-commit install

clean:  ## remove what was built, except .venv, .venv-lowest and runs
	rm -rf build dist *.egg-info .pytest_cache .ruff_cache .mypy_cache
	find . -name __pycache__ -not -path './.venv*/*' -type d -prune -exec rm -rf {} +
