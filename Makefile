# make demo   make four small corpora, train one model on their five tasks, test it, show its strides
# make test   run every check: ruff, mypy, tests
# make soak   attack with damaged files and kills, many more times than make test does; takes long
# make docs   build the documentation into site/; a broken link is an error
#
# Each target first installs audiostride with everything it needs into .venv. To use another Python:
# make PYTHON=/path/to/python3.12 TARGET

PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo test soak docs

demo: .venv/installed
	$(BIN)/audiostride demo

test: .venv/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	OMP_NUM_THREADS=1 $(BIN)/pytest --numprocesses auto  # a process per core, each with one thread of torch

soak: .venv/installed
	$(BIN)/pytest tests/soak --soak

docs: .venv/installed
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet  # without an announcement of the theme

# Written last, so that an interrupted installation starts again.
.venv/installed: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit("audiostride needs Python 3.11 or later, this is " + sys.version.split()[0] + ": run make PYTHON=/path/to/python3.11" if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	@touch $@
