"""The stages of a cascade, as they are given, in the order of its policy."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from copy import copy
from typing import Any, TypeAlias, TypeVar

from .._core import ValidationError, in_order
from .stage import Stage

__all__ = ["Stages", "arranged"]

X = TypeVar("X")
Y = TypeVar("Y")

Stages: TypeAlias = (
    Sequence[Stage[X, Y] | Callable[[X], Y]]
    | Mapping[str, Stage[X, Y]]
    | Mapping[str, Callable[[X], Y]]
    | Mapping[str, Stage[X, Y] | Callable[[X], Y]]
)


def arranged(
    stages: Stages[X, Y],
    wanted: Sequence[str],
    signal: Callable[[Y], Any] | None,
    prediction: Callable[[Y], Any] | None,
) -> tuple[Stage[X, Y], ...]:
    """The stages of a policy with these names, or a ValidationError; `signal` and `prediction` are those of plain
    callables."""
    names, entries = _named(stages)
    made = _as_stages(names, entries, signal, prediction)
    order = _order([stage.name for stage in made], wanted, isinstance(stages, Mapping))
    return tuple(made[at] for at in order)


def _named(stages: Stages[X, Y]) -> tuple[list[str | None], list[Stage[X, Y] | Callable[[X], Y]]]:
    """Entries, and what a mapping calls them."""
    if isinstance(stages, Mapping):
        return [name if isinstance(name, str) else repr(name) for name in stages], list(stages.values())
    if not isinstance(stages, Sequence):
        given = type(stages).__name__
        raise ValidationError(f"`stages` must be a sequence or mapping of Stage or callables, got {given}")
    return [None] * len(stages), list(stages)


def _as_stages(
    names: Sequence[str | None],
    stages: Sequence[Stage[X, Y] | Callable[[X], Y]],
    signal: Callable[[Y], Any] | None,
    prediction: Callable[[Y], Any] | None,
) -> tuple[Stage[X, Y], ...]:
    """Plain callables made stages, and stages given the names of a mapping."""
    made: list[Stage[X, Y]] = []
    plain = 0
    for i, (name, stage) in enumerate(zip(names, stages, strict=True)):
        if isinstance(stage, Stage):
            if name is not None and stage.name not in (None, name):
                raise ValidationError(f"`stages` entry {name!r} must be a Stage of that name, got {stage.name!r}")
            made.append(stage if name is None else _renamed(stage, name))
        elif not callable(stage):
            raise ValidationError(f"`stages` entry {i} must be a Stage or callable, got {type(stage).__name__}")
        elif signal is None:
            raise ValidationError(f"`signal` must be given, since `stages` entry {i} is a plain callable")
        else:
            made.append(Stage(stage, signal=signal, prediction=prediction, name=name))
            plain += 1
    for argument, given in (("signal", signal), ("prediction", prediction)):
        if given is not None and not plain:
            raise ValidationError(f"`{argument}` must be left out where every entry of `stages` is a Stage")
    return tuple(made)


def _renamed(stage: Stage[X, Y], name: str) -> Stage[X, Y]:
    """A copy under another name, whatever makes stages of this class."""
    renamed = copy(stage)
    object.__setattr__(renamed, "name", name)
    return renamed


def _order(given: Sequence[str | None], wanted: Sequence[str], is_mapping: bool) -> list[int]:
    """For each stage of the policy, which of the given ones it is; those without a name are taken as they stand."""
    is_partly = None in given and len(given) == len(wanted)
    if is_partly and all(name in (None, own) for name, own in zip(given, wanted, strict=True)):
        return list(range(len(wanted)))
    names = [name if name is not None else "(no name)" for name in given]
    if is_mapping and set(names) != set(wanted):
        raise ValidationError(f"`stages` must have the stages {list(wanted)}, got {names}")
    return in_order("stages", list(wanted), names)
