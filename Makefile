# make demo: install into .venv and run the main job.  make test: what CI runs.
# TensorFlow reports every library that it did not find.
export TF_CPP_MIN_LOG_LEVEL ?= 3

PYTHON ?= python3
# One process a core; tests of a file share what they set up.
PARALLEL ?= -n auto --maxprocesses 4 --dist loadfile
BIN := .venv/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt

.PHONY: demo test lint clean

demo: .venv/installed
	$(BIN)/python examples/quickstart.py

test: .venv/installed-test lint
	$(BIN)/python -m pytest $(PARALLEL)
	KERAS_BACKEND=jax $(BIN)/python -m pytest $(PARALLEL) -m ops

lint: .venv/installed-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

.venv/bin/python:
	$(PYTHON) -m venv .venv

# A stamp file: installing again waits for a change of the requirements.
.venv/installed: .venv/bin/python setup.cfg pyproject.toml constraints.txt
	$(PIP) -e .
	touch $@

.venv/installed-test: .venv/installed
	$(PIP) -e ".[test]"
	touch $@

clean:
	rm -rf .venv build *.egg-info
