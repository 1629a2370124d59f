# Everything starts here; after `source .venv/bin/activate` plain dvc, pytest and ruff work as well.
PYTHON ?= python3
BIN := .venv/bin
export PATH := $(CURDIR)/$(BIN):$(PATH)

.PHONY: run test slow lint install clean

# Stages at once; with JOBS=1 one after the other, as `dvc repro` runs them.
JOBS ?= 2

run: install  ## install what is missing, then the whole study on the demo
	$(BIN)/python -m stages.repro --jobs $(JOBS)

# One worker a core, each with one thread; a file's tests stay together and the pipeline's own, which
# take longest, begin first.
test: install lint  ## lint, then every test but the slow ones
	OMP_NUM_THREADS=1 NUMBA_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder -m 'not slow'

slow: install  ## the tests that take minutes each; .ci/run runs them too
	OMP_NUM_THREADS=1 NUMBA_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile -m slow

lint: install  ## ruff and mypy, strict on the library
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

install: $(BIN)/.installed

# uv installs in seconds what takes pip minutes; it lives inside the environment only. Byte code is
# compiled once, here: every stage is a process of its own, and would otherwise start seconds slower
# wherever Python may not write it.
$(BIN)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet uv
	$(BIN)/uv pip install --quiet --compile-bytecode --python $(BIN)/python --constraint constraints.txt --editable '.[dev]'
	touch $@

clean:  ## remove the environment and every cached result that is not shared
	rm -rf .venv data/scratch
