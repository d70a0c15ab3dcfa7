"""Four models of scikit-learn's handwritten digits, their out-of-sample confidences and their measured latencies."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._utils.arrays import Floats, Ints
from .._utils.extras import require
from ..traces.trace import Trace

__all__ = ["STAGES", "Answer", "Images", "Stage", "load_images", "record_trace", "train"]

STAGES = ("logistic 4x4", "logistic 8x8", "random forest", "RBF SVM")


@dataclass(frozen=True)
class Answer:
    """What a model says about one image."""

    digit: int
    confidence: float


@dataclass(frozen=True)
class Images:
    """Pixels (n, 64) in [0, 1] and digits (n,)."""

    pixels: Floats
    digit: Ints

    def rows(self, index: NDArray[Any] | slice) -> Images:
        """Some of the images."""
        return Images(self.pixels[index], self.digit[index])

    def __len__(self) -> int:
        return len(self.digit)


class Stage:
    """A fitted model: probabilities (n, 10) from pixels (n, 64); confidence is the largest one."""

    def __init__(self, name: str, probabilities: Callable[[Floats], Floats]) -> None:
        self.name = name
        self._probabilities = probabilities

    def __call__(self, pixels: Floats) -> Answer:
        """Answer one request, pixels (64,)."""
        digit, confidence = self.many(pixels[None])
        return Answer(int(digit[0]), float(confidence[0]))

    def many(self, pixels: Floats) -> tuple[Ints, Floats]:
        """Digits (n,) and confidences (n,) for pixels (n, 64)."""
        probabilities = self._probabilities(pixels)
        return probabilities.argmax(axis=1), probabilities.max(axis=1)


def load_images(limit: int | None = None, seed: int = 0) -> Images:
    """The bundled data set, 1797 images of 8×8 pixels, in random order."""
    pixels, digit = require("sklearn.datasets", "demo").load_digits(return_X_y=True)
    order = np.random.default_rng(seed).permutation(len(digit))[:limit]
    return Images(pixels[order] / 16.0, digit[order].astype(np.int64))


def train(images: Images, trees: int) -> tuple[Stage, ...]:
    """Fit the four models; all of them give probabilities."""
    linear = require("sklearn.linear_model", "demo")
    forest = require("sklearn.ensemble", "demo").RandomForestClassifier(trees, random_state=0)
    kernel = require("sklearn.svm", "demo").SVC(C=5.0, gamma=0.3)
    machine = require("sklearn.calibration", "demo").CalibratedClassifierCV(kernel)
    coarse, fine = linear.LogisticRegression(C=10.0, max_iter=2000), linear.LogisticRegression(C=0.3, max_iter=2000)
    coarse.fit(_pooled(images.pixels), images.digit)
    for model in (fine, forest, machine):
        model.fit(images.pixels, images.digit)
    return (
        Stage(STAGES[0], lambda pixels: coarse.predict_proba(_pooled(pixels))),
        Stage(STAGES[1], fine.predict_proba),
        Stage(STAGES[2], forest.predict_proba),
        Stage(STAGES[3], machine.predict_proba),
    )


def record_trace(images: Images, models: tuple[Stage, ...], folds: int, trees: int, latency_calls: int) -> Trace:
    """Cross-fitted answers of every model on every image, at the latencies of `models` in milliseconds."""
    split = require("sklearn.model_selection", "demo").StratifiedKFold(folds)
    digit = np.empty((len(images), len(models)), np.int64)
    confidence = np.empty(digit.shape)
    for fitted_on, asked in split.split(images.pixels, images.digit):
        for i, stage in enumerate(train(images.rows(fitted_on), trees)):
            digit[asked, i], confidence[asked, i] = stage.many(images.pixels[asked])
    return Trace(
        signal=confidence,
        loss=digit != images.digit[:, None],
        cost=latencies(images, models, latency_calls),
        prediction=digit,
        kind="models",
        stages=STAGES,
    )


def latencies(images: Images, models: tuple[Stage, ...], calls: int) -> Floats:
    """(k,) median milliseconds of a single request, models taking turns on the same images."""
    taken = np.empty((calls, len(models)))
    for call in range(calls):
        pixels = images.pixels[call % len(images)]
        for i, stage in enumerate(models):
            start = perf_counter()
            stage(pixels)
            taken[call, i] = 1e3 * (perf_counter() - start)
    return np.median(taken, axis=0)


def _pooled(pixels: Floats) -> Floats:
    """(n, 64) to the means of 2×2 pixels, (n, 16)."""
    pooled: Floats = pixels.reshape(-1, 4, 2, 4, 2).mean(axis=(2, 4)).reshape(-1, 16)
    return pooled
