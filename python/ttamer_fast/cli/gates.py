"""Checks that decide about the exit code, and files that are written: both are looked at before any work."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from .._core import ValidationError, check_writable
from ..evaluation.comparison import Comparison
from ..monitoring.report import DriftReport

__all__ = ["Check", "at_most", "check_limit", "check_output", "no_drift", "no_simple_rule_is_better"]


@dataclass(frozen=True)
class Check:
    """One condition that was asked for."""

    name: str
    passed: bool
    text: str
    """What was found, with its numbers."""

    def __str__(self) -> str:
        return f"check {'passed' if self.passed else 'FAILED'}: {self.text}"

    def to_dict(self) -> dict[str, Any]:
        """The same as plain Python values."""
        return asdict(self)


def check_limit(option: str, limit: float | None) -> None:
    """A ValidationError where a limit can never be kept or broken."""
    if limit is not None and not limit >= 0.0:
        raise ValidationError(f"`{option}` must be at least 0, got {limit}")


def at_most(option: str, what: str, value: float, limit: float | None) -> list[Check]:
    """The check of a largest value, if there is one."""
    if limit is None:
        return []
    if value <= limit:
        return [Check(option, True, f"{what} {value:.6g} is within {option} {limit:g}")]
    return [Check(option, False, f"{what} {value:.6g} exceeds {option} {limit:g} by {value - limit:.3g}")]


def no_simple_rule_is_better(result: Comparison) -> Check:
    """Whether the default fit is not clearly behind the best simple rule, by two standard errors."""
    fit = result["fit"]
    passed = fit.difference <= 2.0 * fit.difference_se
    found = f"{fit.difference:+.4g} ± {fit.difference_se:.2g} against {result.reference}"
    return Check("--check", passed, f"the fit is {'not ' if passed else ''}clearly worse: objective {found}")


def no_drift(report: DriftReport) -> Check:
    """Whether a stream raised no alarm."""
    if not report.alarm:
        return Check("drift", True, f"no alarm in {report.requests} requests")
    text = f"drift of the {report.watched} of {report.stage!r}, alarm after {report.alarmed_at} requests"
    return Check("drift", False, text)


def check_output(option: str, output: Path, *inputs: Path | None) -> None:
    """A ValidationError where a file to be written is one that is read; an OSError where it cannot be written."""
    for given in inputs:
        if given is not None and _same(output, given):
            raise ValidationError(f"`{option}` must be another file than those that are read, got {output}")
    check_writable(output)


def _same(one: Path, other: Path) -> bool:
    if one.exists() and other.exists():
        return one.samefile(other)
    return os.path.realpath(one) == os.path.realpath(other)
