from __future__ import annotations

import sys
from pathlib import Path

import pytest

import ttamer_fast as tt
from conftest import make_trace
from ttamer_fast.plotting.policy import plot_policy

PNG = b"\x89PNG\r\n\x1a\n"


def test_frontier_picture(tmp_path: Path) -> None:
    path = tmp_path / "frontier.png"
    tt.frontier(make_trace(n=300), folds=2, tradeoffs=[0.5, 0.9]).plot(path)
    assert path.read_bytes().startswith(PNG)


@pytest.mark.parametrize("method", ["fit", *tt.baselines.ALL])
def test_policy_pictures(trace: tt.Trace, method: str, tmp_path: Path) -> None:
    policy = tt.fit(trace, tradeoff=0.9) if method == "fit" else tt.baselines.ALL[method](trace, 0.9)
    path = tmp_path / "policy.png"
    plot_policy(policy, path)
    assert path.read_bytes().startswith(PNG)


def test_picture_of_an_exact_policy(tmp_path: Path) -> None:
    policy = tt.solve(tt.Model.line([[0.2, 0.5], [0.1, 0.9]], [0.1, 0.2], [[[0.5, 0.5]], [[0.3, 0.7], [0.6, 0.4]]]))
    plot_policy(policy, tmp_path / "policy.svg")


def test_pictures_refuse_other_endings_and_name_the_extra(
    policy: tt.Policy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(tt.ValidationError, match=r"must end in \.png"):
        plot_policy(policy, tmp_path / "policy.txt")
    with pytest.raises(FileNotFoundError, match=r"policy\.png"):
        plot_policy(policy, tmp_path / "absent" / "policy.png")
    for name in [name for name in sys.modules if name.partition(".")[0] == "matplotlib"]:
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(tt.MissingExtraError, match=r'pip install "ttamer_fast\[plot\]"'):
        plot_policy(policy, tmp_path / "policy.png")
