"""A family of policies in words: what `ttamer fit --tradeoffs` and `ttamer inspect` print."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from .._core import Policy, PolicyFamily, PolicyFormatError, ValidationError
from .._utils.checks import listed

__all__ = ["family_summary", "family_text", "load_either", "tradeoffs_of"]


def load_either(path: Path) -> Policy | PolicyFamily:
    """What is in a file, a policy or a family of them."""
    try:
        return PolicyFamily.load(path)
    except PolicyFormatError as error:
        if "not a family file" not in str(error):
            raise
        return Policy.load(path)


def tradeoffs_of(text: str) -> list[float] | None:
    """Trade-offs with commas in between; None for `auto`."""
    if text == "auto":
        return None
    try:
        return [float(part) for part in text.split(",")]
    except ValueError:
        raise ValidationError(f"`--tradeoffs` must be auto, or numbers with commas, got {text!r}") from None


def family_summary(family: PolicyFamily) -> dict[str, Any]:
    """What a family is, as plain Python values."""
    return {
        "stages": list(family.stages),
        "bytes": len(family.to_bytes()),
        "digest": family.digest,
        "estimate": family.estimate,
        "policies": [
            {
                "tradeoff": float(tradeoff),
                "cost": float(cost),
                "loss": float(loss),
                "method": policy.method,
                "digest": policy.digest,
            }
            for tradeoff, cost, loss, policy in zip(
                family.tradeoffs, family.costs, family.losses, family.policies, strict=True
            )
        ],
    }


def family_text(family: PolicyFamily) -> str:
    """The same in lines."""
    summary = family_summary(family)
    lines = [f"{len(family.stages)} stages: {listed(family.stages)}"]
    lines += [f"{name:<10}{summary[name]}" for name in ("bytes", "digest")]
    lines.append(f"{len(family)} policies; means are {family.estimate}")
    lines.append(f"{'tradeoff':>10}{'mean cost':>12}{'mean loss':>12}  method")
    lines += [
        f"{one['tradeoff']:>10.6g}{one['cost']:>12.6g}{one['loss']:>12.6g}  {one['method']}"
        for one in summary["policies"]
    ]
    return "\n".join(lines)
