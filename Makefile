# make demo: install into .venv and run the main job.  make test: what CI runs.
# make quick: what is worth a run while editing.
# TensorFlow reports every library that it did not find.
export TF_CPP_MIN_LOG_LEVEL ?= 3

PYTHON ?= python3
# One process a core; tests of a file share what they set up. Files are handed
# out in the order of tests/conftest.py.
PARALLEL ?= -n auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder
BIN := .venv/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt

.PHONY: demo test quick test-onednn-off coverage lint docs figures notebooks dist clean

# Nets this small keep one core busy each; an accelerator takes one process.
TWO ?= $(shell command -v nvidia-smi > /dev/null || echo --executor processes:2)
demo: .venv/installed
	$(BIN)/keras-jft study examples/quickstart.toml $(TWO)

test: .venv/installed-test lint
	$(BIN)/python -m pytest $(PARALLEL)
	KERAS_BACKEND=jax $(BIN)/python -m pytest $(PARALLEL) -m ops

# The rooms that train nothing, or one: make quick ROOM=scaling. Not what is slow.
ROOM ?= layers metrics scaling
quick: .venv/installed-test
	$(BIN)/python -m pytest -q $(PARALLEL) -m "not slow" \
		tests/test_layout.py $(addprefix tests/,$(ROOM))

# What touches convolutions, on TensorFlow's own kernels: those of a CPU that
# lacks AVX-512, unless oneDNN is turned on. Not what sets oneDNN itself.
test-onednn-off: .venv/installed-test
	TF_ENABLE_ONEDNN_OPTS=0 $(BIN)/python -m pytest $(PARALLEL) \
		-k "not corrupt_memory and not where_tensorflow_lacks" \
		tests/layers tests/backbones/test_resnet.py \
		tests/transfer/heads/test_heads.py::test_a_head_learns_one_batch \
		tests/transfer/heads/test_deeplab_aspp.py \
		tests/transfer/heads/test_deeplab_v3_plus.py \
		"tests/benchmarks/test_speed.py::test_a_timing_runs_in_small[speed/segmentation.py]"

# The lines of the package that tests run on TensorFlow, and the floor of
# setup.cfg. Takes longer than the tests alone.
coverage: .venv/installed-test
	$(BIN)/coverage erase
	$(BIN)/coverage run -m pytest $(PARALLEL)
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report

lint: .venv/installed-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# The site, in build/site; warnings are errors.
docs: .venv/installed-docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet --strict

# Draw the figures again whose rows have changed.
figures: .venv/installed
	$(BIN)/python benchmarks/draw.py

# Run the notebooks and keep their outputs.
notebooks: .venv/installed-notebooks
	PYTHONWARNINGS=ignore $(BIN)/jupytext --to ipynb --execute \
		examples/notebooks/*.py

# A wheel and an sdist, in dist. They may go to an index as they are.
dist: .venv/installed-test
	$(BIN)/python -m build --no-isolation

.venv/bin/python:
	$(PYTHON) -m venv .venv

# A stamp file: installing again waits for a change of the requirements.
.venv/installed: .venv/bin/python setup.cfg pyproject.toml constraints.txt
	$(PIP) -e .
	touch $@

.venv/installed-test: .venv/installed
	$(PIP) -e ".[test]"
	touch $@

.venv/installed-docs: .venv/installed
	$(PIP) -e ".[docs]"
	touch $@

.venv/installed-notebooks: .venv/installed
	$(PIP) -e ".[hub,notebooks]"
	touch $@

clean:
	rm -rf .venv build dist *.egg-info
