from __future__ import annotations

from pathlib import Path

import pytest

import ttamer_fast as tt
from ttamer_fast.cli.demo_text import demo_text
from ttamer_fast.demo import DemoSettings, prophet_ratios, run_demo


def test_demo_with_few_images(tmp_path: Path) -> None:
    settings = DemoSettings(images=450, cross_fit_folds=2, folds=2, trees=3, latency_calls=3, tradeoffs=(0.5, 0.9))
    steps: list[str] = []
    result = run_demo(tmp_path / "out", settings, lambda step, share: steps.append(step))
    assert result.serving.as_replayed
    assert result.serving.requests == 150
    assert [way.name for way in result.serving.ways] == ["always the last model", "policy", "tuned threshold"]
    assert result.serving["policy"].accuracy > 0.7
    assert result.serving.deciding_us > 0.0
    trace = tt.read_trace(result.files["trace"])
    assert (trace.n, trace.k, trace.kind) == (300, 4, "models")
    policy = tt.load(result.files["policy"])
    assert policy.provenance["trace"] == trace.digest
    for picture in ("frontier", "picture"):
        assert Path(result.files[picture]).stat().st_size > 10_000
    assert len(set(steps)) == 6
    text = demo_text(result)
    assert "held-out requests, served one by one" in text
    assert result.to_dict()["serving"]["requests"] == 150


def test_without_recall_the_ratio_grows_with_it_it_is_one() -> None:
    for row in prophet_ratios():
        assert row.without_recall == pytest.approx(row.alpha)
        assert row.with_recall == pytest.approx(1.0)
