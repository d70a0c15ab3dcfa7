"""Who takes part: each method by name, where it comes from, and what it is made of."""

from __future__ import annotations

import hashlib
import inspect
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from types import ModuleType
from typing import Any

import agreement
import cascade_routing
import deferral
import frugal_gpt
import frugal_ml
import library
import numpy
import sklearn
from rows import Method

from ttamer_fast import _core, baselines

FOLDER = Path(__file__).resolve().parent
CORE = hashlib.sha256(Path(_core.__file__).read_bytes()).digest()
"""Of the core that is loaded, read before anything else can be put in its place."""
OURS = "tt.fit"
OURS_NO_RECALL = "tt.fit, no recall"


@dataclass(frozen=True)
class Contestant:
    """A method, and where it comes from."""

    run: Method
    source: str
    is_ours: bool = False
    """Not a rival: it is the fit, or the fit with something left out."""
    needs_predictions: bool = False

    @cached_property
    def digest(self) -> str:
        """SHA-256 of all that its choices depend on: its source and what that imports here; of ours, the core."""
        found = hashlib.sha256()
        module = sys.modules[_function(self.run).__module__]
        for file in sorted({Path(inspect.getfile(one)) for one in _imported(module)}):
            found.update(file.read_bytes())
        if module is library:
            found.update(CORE)
        return f"{found.hexdigest()} {_called(self.run)} numpy {numpy.__version__} sklearn {sklearn.__version__}"


CONTESTANTS: dict[str, Contestant] = {
    OURS: Contestant(library.fitted, "the default fit of this library", is_ours=True),
    OURS_NO_RECALL: Contestant(
        partial(library.fitted, recall=False), "the same, but the last answer is returned", is_ours=True
    ),
    "boosted deferral": Contestant(
        deferral.boosted_deferral,
        "post-hoc deferral with recall (Jitkrittum et al. 2023, section 4), own code; scikit-learn's "
        "HistGradientBoosting on signals, classes and agreements",
    ),
    "logistic deferral": Contestant(
        deferral.logistic_deferral,
        "the same; scikit-learn's LogisticRegression of losses and Ridge of gains, on broken lines in the ranks of "
        "signals, classes and agreements",
    ),
    "FrugalGPT": Contestant(
        frugal_gpt.frugal_gpt,
        "Chen et al. 2023, section 3, own code: scores by scikit-learn's LogisticRegression on signal and class, the "
        "best chain of up to three stages, thresholds tuned jointly, no recall",
    ),
    "FrugalML": Contestant(
        frugal_ml.frugal_ml,
        "Chen et al. 2020, sections 2 and 3, own code, exact on the training rows: a base stage, then a threshold and "
        "an added stage a class",
    ),
    "cascade routing": Contestant(
        cascade_routing.cascade_routing,
        "Dekoninck et al. 2025, section 4, own code: sets of stages by their expected best quality; qualities by "
        "scikit-learn's LogisticRegression on signals, classes and agreements",
    ),
    "agreement (ABC)": Contestant(
        agreement.agreement_cascade,
        "Kolawole et al. 2024, section 3, own code: up to three tiers that vote, all tiers and numbers of votes tried",
        needs_predictions=True,
    ),
    **{
        rule.replace("_", " "): Contestant(
            library.simple(rule), f"`tt.baselines.{rule}` of this library", needs_predictions=rule == "patience"
        )
        for rule in baselines.ALL
    },
}
"""By name, ours first."""


def _function(method: Method) -> Any:
    return method.func if isinstance(method, partial) else method


def _called(method: Method) -> str:
    """Name of a function, and what it is given by its method."""
    options = (method.args, method.keywords) if isinstance(method, partial) else ((), {})
    return f"{_function(method).__name__} {[getattr(value, '__name__', value) for value in options[0]]} {options[1]}"


def _imported(module: ModuleType) -> Iterator[ModuleType]:
    """A module and the modules of this folder that it uses, directly or not."""
    waiting, seen = [module], {module.__name__}
    while waiting:
        one = waiting.pop()
        yield one
        for value in vars(one).values():
            name = value.__name__ if isinstance(value, ModuleType) else getattr(value, "__module__", None)
            found = sys.modules.get(name) if isinstance(name, str) else None
            file = getattr(found, "__file__", None)
            if found is not None and file and Path(file).parent == FOLDER and found.__name__ not in seen:
                seen.add(found.__name__)
                waiting.append(found)
