# `make demo` and `make test` set up all they need: Rust, Python 3.11 and pip have to be there.
BASE_PYTHON ?= python3
VENV := .venv
PYTHON := $(VENV)/bin/python
export PYO3_PYTHON := $(abspath $(PYTHON))
SOURCES := $(shell find rust python -name '*.rs' -o -name '*.py' -o -name '*.pyi') Cargo.toml pyproject.toml

.PHONY: demo test bench clean

demo: $(VENV)/demo
	$(VENV)/bin/ttamer demo

test: $(VENV)/test
	cargo fmt --check
	cargo clippy --workspace --all-targets -- -D warnings
	cargo test --workspace
	$(PYTHON) -m ruff check
	$(PYTHON) -m ruff format --check
	$(PYTHON) -m mypy
	$(PYTHON) -m pytest

bench: $(VENV)/bench
	cargo bench -p ttamer --bench '*'
	$(PYTHON) -m pytest benches --benchmark-columns=min,median,iqr,rounds --benchmark-sort=name
	$(PYTHON) benches/fit.py
	$(PYTHON) benches/solve.py --output benches/solve.md
	@if command -v valgrind > /dev/null; then $(PYTHON) benches/instructions.py; \
	else echo "valgrind is not installed: the budget of instructions is not checked"; fi
	@if test -d ../shared/traces; then \
	$(PYTHON) benches/quality/table.py --output benches/quality/table.md && \
	$(PYTHON) benches/quality/small.py && $(PYTHON) benches/quality/selection.py && $(PYTHON) benches/production.py; \
	else echo "../shared/traces is absent: no tables of quality"; fi

# A release build with the packages of one extra; `touch` remembers that it is newer than the sources.
$(VENV)/%: $(SOURCES)
	test -x $(PYTHON) || $(BASE_PYTHON) -m venv $(VENV)
	@echo "building and installing into $(VENV): a few minutes the first time"
	$(PYTHON) -m pip install --quiet --disable-pip-version-check '.[$*]'
	touch $@

clean:
	rm -rf $(VENV) target
