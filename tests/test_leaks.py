"""Serving for ever takes no more memory than serving for a second: on no path of a run, a batch or a replay."""

from __future__ import annotations

import pytest

from leak_paths import PATHS, growth

MOST = 8.0
"""Bytes a call. What pyo3 puts aside for later takes at least that."""


@pytest.mark.parametrize("name", PATHS)
def test_nothing_grows(name: str) -> None:
    calls = PATHS[name].calls
    assert growth(name, calls) < MOST
