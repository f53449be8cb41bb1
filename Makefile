# Every target sets up what it needs in VENV: a fresh clone, python3 (3.11 or newer) and pip are enough.
#   make demo     the whole way on the small world; says how to open it in the studio; the last line is the report's path
#   make test     the tests, but for the slow ones (minutes; its last lines say how many were left out)
#   make test-all       all tests
#   make test-portable  everything numerical again, as it runs on older processors
#   make check    lint, format, types, docs freshness, tests: what must hold before a commit
#   make docs     rewrite the generated pages under docs/reference/
# Choose another interpreter or place with:  make test PYTHON=python3.12 VENV=/tmp/venv

PYTHON ?= python3
VENV ?= .venv
PYTEST_ARGS ?=
DEMO_ARGS ?=
PROCESSES ?= 2

BIN := $(VENV)/bin
SOURCES := src tests tools benchmarks
COMPUTING := tests/families tests/lora $(addprefix tests/training/test_,$(addsuffix .py,base_prediction kernels kinds losses \
	masked noise optimizers preservation reference rates runs schedules trials validation))
NUMERICAL := $(COMPUTING) tests/world tests/drawing tests/measuring tests/encoders tests/flow_family \
	tests/dataset/test_preprocess.py tests/dataset/test_cache.py tests/dataset/test_measuring.py
PACKED := tests/lora/test_trials.py tests/training/test_trials.py
PIP_INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check

.DEFAULT_GOAL := help
.PHONY: help demo test test-all test-slow test-portable check lint format-check format types docs docs-check clean

help:
	@sed -n 's/^#   //p' Makefile

demo: $(VENV)/.runtime
	@$(BIN)/maquette demo $(DEMO_ARGS)

test: $(VENV)/.dev
	$(BIN)/python -m pytest $(PYTEST_ARGS)

test-all: $(VENV)/.dev
	$(BIN)/python -m pytest --all $(PYTEST_ARGS)

# What `make test` leaves out, and nothing else.
test-slow: $(VENV)/.dev
	$(BIN)/python -m pytest -m slow $(PYTEST_ARGS)

# torch's and MKL's kernels for processors without vector units, and without any wider than AVX2: no test may depend on which
# ones ran. The slow tests of packed trials run as well, since they feel most how sums are ordered; with AVX2, which every newer
# processor has, what trains is enough.
OLDEST := ATEN_CPU_CAPABILITY=default ONEDNN_MAX_CPU_ISA=SSE41 MKL_CBWR=COMPATIBLE
AVX2 := ATEN_CPU_CAPABILITY=avx2 ONEDNN_MAX_CPU_ISA=AVX2 MKL_CBWR=AVX2,STRICT

test-portable: $(VENV)/.dev
	$(OLDEST) $(BIN)/python -m pytest -n $(PROCESSES) $(NUMERICAL) $(PYTEST_ARGS)
	$(OLDEST) $(BIN)/python -m pytest -n $(PROCESSES) -m slow $(PACKED) $(PYTEST_ARGS)
	$(AVX2) $(BIN)/python -m pytest -n $(PROCESSES) $(COMPUTING) $(PYTEST_ARGS)

check: lint format-check types docs-check test

lint: $(VENV)/.dev
	$(BIN)/ruff check $(SOURCES)

format-check: $(VENV)/.dev
	$(BIN)/ruff format --check $(SOURCES)

format: $(VENV)/.dev
	$(BIN)/ruff format $(SOURCES)
	$(BIN)/ruff check --fix $(SOURCES)

types: $(VENV)/.dev
	$(BIN)/mypy

docs: $(VENV)/.dev
	$(BIN)/python tools/make_docs.py

docs-check: $(VENV)/.dev
	$(BIN)/python tools/make_docs.py --check

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis dist demo-output
	find src tests tools benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +

# Some systems split ensurepip from python3; there the venv borrows the system's pip for its first step.
$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(None if sys.version_info >= (3, 11) else "Maquette needs Python 3.11 or newer, this is " + sys.version.split()[0] + ". Name another one: make PYTHON=python3.12")'
	@echo "Setting up $(VENV) (once; a few minutes, most of it PyTorch)" >&2
	@$(PYTHON) -m venv $(VENV) >/dev/null 2>&1 || { \
		$(PYTHON) -m venv --clear --without-pip $(VENV) && \
		$(PYTHON) -m pip --python $(BIN)/python install --quiet pip; }

$(VENV)/.runtime: pyproject.toml | $(BIN)/python
	@$(PIP_INSTALL) --editable '.[studio]'
	@touch $@

# One resolution for both, so that `make test` in a fresh clone does not resolve the runtime twice.
$(VENV)/.dev: pyproject.toml | $(BIN)/python
	@$(PIP_INSTALL) --editable '.[dev]'
	@touch $(VENV)/.runtime $@
