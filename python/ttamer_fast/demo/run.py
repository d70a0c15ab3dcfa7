"""The demo from start to end: train, record, fit, compare, serve, draw."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from os import PathLike
from pathlib import Path
from typing import Any

from .. import baselines
from ..evaluation.comparison import Comparison, compare
from ..evaluation.frontier import frontier
from ..fitting.fit import fit
from ..plotting.policy import plot_policy
from .digits import load_images, record_trace, train
from .prophet import ProphetRatio, prophet_ratios
from .serve import ServingResult, serve

__all__ = ["DemoResult", "DemoSettings", "run_demo"]

Progress = Callable[[str, float], None]
"""Called with the step under way and the share of it that is done."""


@dataclass(frozen=True)
class DemoSettings:
    """Sizes of the demo; the defaults use the whole data set.

    Attributes
    ----------
    images : int, optional
        How many to use.
    served_share : float
        Share of the images, 0 to 1, that is held out and served.
    cross_fit_folds, folds : int
        Parts of the cross-fitting of the models, and of the cross-validation of the rules.
    trees : int
        Of the forest.
    latency_calls : int
        Calls of every model whose median latency is its cost, in milliseconds.
    tradeoff, tradeoffs : float, tuple of float
        λ of the policy, and of the frontier.
    """

    images: int | None = None
    served_share: float = 1 / 3
    cross_fit_folds: int = 5
    folds: int = 5
    trees: int = 100
    latency_calls: int = 200
    tradeoff: float = 0.97
    tradeoffs: tuple[float, ...] = (0.5, 0.7, 0.8, 0.87, 0.92, 0.95, 0.97, 0.98, 0.99, 0.995)


@dataclass(frozen=True)
class DemoResult:
    """What the demo found, and where its files are.

    Attributes
    ----------
    stages : tuple of k str
        Names of the models.
    accuracy : tuple of k floats
        Share of the calibration images, 0 to 1, that each model gets right.
    latency_ms : tuple of k floats
        Median milliseconds of a single request.
    comparison : Comparison
        Costs in milliseconds.
    serving : ServingResult
        Of the held-out images.
    prophet : tuple of ProphetRatio
        Theorem 3.4's instance.
    files : dict of str to str
        Paths of what was written.
    """

    stages: tuple[str, ...]
    accuracy: tuple[float, ...]
    latency_ms: tuple[float, ...]
    comparison: Comparison
    serving: ServingResult
    prophet: tuple[ProphetRatio, ...]
    files: dict[str, str]

    def to_dict(self) -> dict[str, Any]:
        """The same as plain Python values."""
        return asdict(self)


def run_demo(
    folder: str | PathLike[str] = "demo-output",
    settings: DemoSettings = DemoSettings(),
    progress: Progress = lambda step, share: None,
) -> DemoResult:
    """Train four models of digits, fit a policy to their trace, and serve held-out images through them.

    Parameters
    ----------
    folder : path-like
        Made if need be; gets ``trace.npz``, ``digits.policy``, ``frontier.png`` and ``policy.png``.
    settings : DemoSettings
        Sizes.
    progress : callable
        Called with the name of the step and the share of it done.

    Raises
    ------
    MissingExtraError
        If scikit-learn or matplotlib is not installed.
    """
    target = Path(folder)
    target.mkdir(parents=True, exist_ok=True)
    files = {
        name: target / file
        for name, file in (
            ("trace", "trace.npz"),
            ("policy", "digits.policy"),
            ("frontier", "frontier.png"),
            ("picture", "policy.png"),
        )
    }

    progress("training four models", 0.0)
    images = load_images(settings.images)
    held_out = round(len(images) * settings.served_share)
    served, calibration = images.rows(slice(held_out)), images.rows(slice(held_out, None))
    models = train(calibration, settings.trees)

    progress("recording the trace: cross-fitted signals, measured latencies", 0.0)
    trace = record_trace(calibration, models, settings.cross_fit_folds, settings.trees, settings.latency_calls)
    trace.save(files["trace"])

    progress("fitting", 0.0)
    policy = fit(trace, tradeoff=settings.tradeoff)
    policy.save(files["policy"])
    plot_policy(policy, files["picture"])

    step = "comparing with every baseline"
    comparison = compare(trace, settings.tradeoff, settings.folds, progress=lambda share: progress(step, share))

    frontier_step = "tracing the loss-cost frontier"
    frontier(
        trace,
        settings.folds,
        tradeoffs=settings.tradeoffs,
        progress=lambda share: progress(frontier_step, share),
    ).plot(files["frontier"])

    policies = {"policy": policy, "tuned threshold": baselines.threshold(trace, settings.tradeoff)}
    serving = serve(served, models, policies, lambda share: progress("serving held-out requests", share))
    return DemoResult(
        stages=trace.stages,
        accuracy=tuple((1.0 - trace.loss.mean(axis=0)).tolist()),
        latency_ms=tuple(trace.mean_cost.tolist()),
        comparison=comparison,
        serving=serving,
        prophet=tuple(prophet_ratios()),
        files={name: str(path) for name, path in files.items()},
    )
