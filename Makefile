# `make demo` and `make test` set up all they need: Rust, Python 3.11 and pip have to be there.
VENV := .venv
PYTHON := $(VENV)/bin/python
SOURCES := $(shell find rust python -name '*.rs' -o -name '*.py' -o -name '*.pyi') Cargo.toml pyproject.toml
RUN_DEMO = $(VENV)/bin/ttamer demo

.PHONY: demo test bench quality clean

demo: $(VENV)/demo
	$(RUN_DEMO)

test: $(VENV)/test
	cargo fmt --check
	cargo clippy --workspace --all-targets -- -D warnings
	cargo test --workspace
	$(PYTHON) -m ruff check
	$(PYTHON) -m ruff format --check
	$(PYTHON) -m mypy
	$(PYTHON) -m pytest

bench: $(VENV)/test
	cargo bench --workspace
	$(PYTHON) -m pytest benches --benchmark-columns=min,median,iqr,rounds --benchmark-sort=name

quality: $(VENV)/test
	$(PYTHON) benches/quality/table.py --output benches/quality/table.md

# A release build with the packages of one extra; `touch` remembers that it is newer than the sources.
$(VENV)/%: $(SOURCES)
	test -x $(PYTHON) || python3 -m venv $(VENV)
	$(PYTHON) -m pip install --quiet --disable-pip-version-check '.[$*]'
	touch $@

clean:
	rm -rf $(VENV) target
