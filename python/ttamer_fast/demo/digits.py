"""Four models of scikit-learn's handwritten digits, their out-of-sample confidences and their measured latencies."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..arrays import Floats, Ints
from ..extras import require
from ..trace import Trace

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
    """A fitted model: scores (n, 10) from pixels (n, 64); confidence is the best score, or its lead for an SVM."""

    def __init__(self, name: str, scores: Callable[[Floats], Floats], lead: bool) -> None:
        self.name = name
        self._scores = scores
        self._lead = lead

    def __call__(self, pixels: Floats) -> Answer:
        """Answer one request, pixels (64,)."""
        digit, confidence = self.many(pixels[None])
        return Answer(int(digit[0]), float(confidence[0]))

    def many(self, pixels: Floats) -> tuple[Ints, Floats]:
        """Digits (n,) and confidences (n,) for pixels (n, 64)."""
        scores = self._scores(pixels)
        digit = scores.argmax(axis=1)
        ordered = np.sort(scores, axis=1)
        return digit, ordered[:, -1] - ordered[:, -2] if self._lead else ordered[:, -1]


def load_images(limit: int | None = None, seed: int = 0) -> Images:
    """The bundled data set, 1797 images of 8×8 pixels, in random order."""
    pixels, digit = require("sklearn.datasets", "demo").load_digits(return_X_y=True)
    order = np.random.default_rng(seed).permutation(len(digit))[:limit]
    return Images(pixels[order] / 16.0, digit[order].astype(np.int64))


def train(images: Images, trees: int) -> tuple[Stage, ...]:
    """Fit the four models; the SVM learns from shifted copies of the images too."""
    linear = require("sklearn.linear_model", "demo")
    forest = require("sklearn.ensemble", "demo").RandomForestClassifier(trees, random_state=0)
    machine = require("sklearn.svm", "demo").SVC(C=5.0, gamma=0.3, cache_size=500)
    coarse, fine = linear.LogisticRegression(C=10.0, max_iter=2000), linear.LogisticRegression(C=0.3, max_iter=2000)
    coarse.fit(_pooled(images.pixels), images.digit)
    for model in (fine, forest):
        model.fit(images.pixels, images.digit)
    machine.fit(_shifted(images.pixels), np.repeat(images.digit, 9))
    return (
        Stage(STAGES[0], lambda pixels: coarse.predict_proba(_pooled(pixels)), lead=False),
        Stage(STAGES[1], fine.predict_proba, lead=False),
        Stage(STAGES[2], forest.predict_proba, lead=False),
        Stage(STAGES[3], machine.decision_function, lead=True),
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


def _shifted(pixels: Floats) -> Floats:
    """(n, 64) to the nine shifts of each image by at most a pixel, (9 n, 64)."""
    padded = np.pad(pixels.reshape(-1, 8, 8), ((0, 0), (1, 1), (1, 1)))
    shifts = [padded[:, down : down + 8, right : right + 8] for down in range(3) for right in range(3)]
    return np.stack(shifts, axis=1).reshape(-1, 64)
