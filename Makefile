# The two commands: `make table1` and `make test`. Nothing but Python is needed; the rest goes into .venv.
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin

.PHONY: install table1 test nightly docs lint clean

install: $(VENV)/.installed

table1: $(VENV)/.installed
	$(BIN)/python examples/table1.py $(ARGS)

test: $(VENV)/.installed
	$(BIN)/python -m pytest --numprocesses auto --dist loadfile --no-loadscope-reorder $(ARGS)

# Hours; ARGS="--part endurance" runs a part, ARGS=--quick a little of each. With atheris, hostile files are led by the
# code that they reach.
nightly: $(VENV)/.installed
	$(BIN)/uv pip install --quiet --python $(BIN)/python --editable ".[dev,fuzz]"
	$(BIN)/python -m nightly $(ARGS)

# The documentation, as pages for a browser: docs/_build/html/index.html. A warning is an error.
docs: $(VENV)/.installed
	$(BIN)/sphinx-build -q -W --keep-going -n docs docs/_build/html $(ARGS)

lint: $(VENV)/.installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/pyright --pythonpath $(BIN)/python

# uv resolves and downloads several times faster than pip; modules are compiled once here rather than at every start.
$(VENV)/.installed: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	$(BIN)/uv pip install --quiet --compile-bytecode --python $(BIN)/python --editable ".[dev]"
	touch $@

clean:
	rm -rf $(VENV) build dist docs/_build *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis
