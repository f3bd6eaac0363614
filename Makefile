# make demo   train, test and read a small model on words spoken by eSpeak NG
# make test   every check: ruff, types, tests

PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo test

demo: .venv/installed
	$(BIN)/audiostride demo

test: .venv/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/pytest

# Written last, so that an interrupted installation starts again.
.venv/installed: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit("audiostride needs Python 3.11 or later, this is " + sys.version.split()[0] + ": run make PYTHON=/path/to/python3.11" if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	@touch $@
