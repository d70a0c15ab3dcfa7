"""Where the requests of a batch stand in a network that they go through block by block."""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from ..serving.request import Request

__all__ = ["Group", "Place", "keep", "standing"]


class Place(NamedTuple):
    """What a request keeps: after which exit it stands, and its row in the state of the batch that came there.

    A state is shared by the requests of that batch, and nobody writes to it: no request copies its row before it is
    known which rows go on together.
    """

    exit: int
    state: Any
    row: int


@dataclass(slots=True)
class Group:
    """Requests that came to an exit together.

    Attributes
    ----------
    exit : int
        The exit, -1 for none so far.
    state : object
        Of the batch that came there; None before the first exit.
    rows : list of int
        Their rows in that state.
    positions : list of int
        Their positions among the requests asked about.
    """

    exit: int
    state: Any
    rows: list[int] = field(default_factory=list)
    positions: list[int] = field(default_factory=list)


def standing(requests: Iterable[Request[Any]], owner: Hashable, before: int) -> list[Group]:
    """Which requests stand where, by what they keep under `owner`, those that are least far first.

    A request that stands at exit `before` or behind it starts anew: a call that was left behind by a time-out may have
    brought it there.

    Examples
    --------
    >>> first, second, third = (Request(x) for x in "abc")
    >>> state = object()
    >>> keep([first, third], "network", 0, state)
    >>> [(group.exit, group.rows, group.positions) for group in standing([first, second, third], "network", 2)]
    [(-1, [0], [1]), (0, [0, 1], [0, 2])]
    >>> [group.exit for group in standing([first, second, third], "network", 0)]
    [-1]
    """
    groups: dict[tuple[int, int], Group] = {}
    for position, request in enumerate(requests):
        place: Place | None = request.kept.get(owner)
        if place is None or place.exit >= before:
            group = groups.setdefault((-1, 0), Group(-1, None))
            group.rows.append(len(group.rows))
        else:
            group = groups.setdefault((place.exit, id(place.state)), Group(place.exit, place.state))
            group.rows.append(place.row)
        group.positions.append(position)
    return sorted(groups.values(), key=lambda group: group.exit)


def keep(requests: Iterable[Request[Any]], owner: Hashable, exit: int, state: Any) -> None:
    """Requests came to an exit together, in the order of the rows of `state`."""
    for row, request in enumerate(requests):
        request.kept[owner] = Place(exit, state, row)
