# Every target sets itself up: nothing but Python >= 3.10 and pip is needed.
PYTHON ?= python3
VENV ?= .venv
MODEL ?= resnet50
JOBS ?= 2
ARGS ?=

BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
DOCS_STAMP := $(VENV)/.installed-docs

.PHONY: help search train test check format docs docs-serve tensorboard bench clean
.DEFAULT_GOAL := help

help:
	@echo "make search       search a plan for MODEL=$(MODEL) (more settings: ARGS='dataset=cifar10 episodes=400')"
	@echo "make train        train a baseline for MODEL=$(MODEL)"
	@echo "make test         run all tests on JOBS=$(JOBS) processes (quick ones: ARGS='-m \"not slow\"')"
	@echo "make check        ruff, mypy, import-linter"
	@echo "make format       let ruff format the code and mend what it can"
	@echo "make docs         build the manual into site/ (runs its notebook on digits)"
	@echo "make docs-serve   show the manual at http://127.0.0.1:8000 while it is written"
	@echo "make tensorboard  look at the runs in runs/"
	@echo "make bench        measure where an episode's time goes"
	@echo "make clean        remove the virtual environment and caches"

$(STAMP): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --disable-pip-version-check -c constraints.txt -e '.[dev]'
	touch $@

search: $(STAMP)
	$(BIN)/python -m amc.search model=$(MODEL) $(ARGS)

train: $(STAMP)
	$(BIN)/python -m amc.train model=$(MODEL) $(ARGS)

# One thread per process: two processes that each start a thread per core are slower than one.
test: $(STAMP)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(JOBS) --dist worksteal $(ARGS)

check: $(STAMP)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(STAMP)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

# What the manual needs is installed only for it.
$(DOCS_STAMP): $(STAMP)
	$(BIN)/python -m pip install --disable-pip-version-check -c constraints.txt -e '.[docs]'
	touch $@

docs: $(DOCS_STAMP)
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --clean $(ARGS)

docs-serve: $(DOCS_STAMP)
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs serve $(ARGS)

tensorboard: $(STAMP)
	$(BIN)/tensorboard --logdir runs $(ARGS)

bench: $(STAMP)
	$(BIN)/python -m experiments.bench.episode_seconds $(ARGS)

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache dist site
