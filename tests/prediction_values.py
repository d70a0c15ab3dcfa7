"""Predictions of every kind, for tests."""

from __future__ import annotations

import dataclasses
import datetime
import enum
import math
import uuid
from collections.abc import Hashable
from decimal import Decimal
from fractions import Fraction
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import strategies as st

pd: Any = pytest.importorskip("pandas")
pa: Any = pytest.importorskip("pyarrow")

NOTHING = -(2**63)


class Word(str):
    """Text that compares as text does."""


class Caseless(str):
    """Text of which the class says what it is equal to."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Caseless) and self.lower() == other.lower()

    def __hash__(self) -> int:
        return hash(self.lower())


class Modulo(int):
    """A number of which the class says what it is equal to."""

    def __eq__(self, other: object) -> bool:
        return int(self) % 5 == (int(other) % 5 if isinstance(other, Modulo) else other)

    def __hash__(self) -> int:
        return int(self) % 5


class Colour(enum.Enum):
    RED = 1
    BLUE = 2


class Name(enum.StrEnum):
    YES = "yes"


class Number(enum.IntEnum):
    ONE = 1


class Point(NamedTuple):
    x: float
    y: str


@dataclasses.dataclass(frozen=True)
class Answer:
    text: str
    lines: tuple[int, ...] = ()


class Index:
    def __index__(self) -> int:
        return 4


EQUAL: list[list[Any]] = [
    [0, False, 0.0, -0.0, np.int8(0), np.float32(0), Decimal(0), Fraction(0), 0j, np.bool_(False)],
    [1, True, 1.0, np.uint8(1), np.float16(1), Decimal("1.0"), Fraction(2, 2), 1 + 0j, Number.ONE, np.complex64(1)],
    [4, np.array(4), np.array(4.0), Index(), np.longdouble(4), pa.scalar(4)],
    [-1, np.int64(-1), Decimal(-1)],
    [-2],
    [2**53 + 1, Decimal(2**53 + 1), Fraction(2**53 + 1)],
    [2**61 - 1],
    [2**63 - 1],
    [2**63, float(2**63), np.uint64(2**63), np.float32(2**63), Decimal(2**63)],
    [2**63 + 5, np.uint64(2**63 + 5), Fraction(2**63 + 5)],
    [2**64 - 1, np.uint64(2**64 - 1), Decimal(2**64 - 1)],
    [2**64, float(2**64), np.longdouble(2**64)],
    [2**64 + 1, Fraction(2**64 + 1)],
    [-(2**63) - 1, Decimal(-(2**63) - 1)],
    [2**200, 2.0**200, Fraction(2**200)],
    [2**200 + 1, Decimal(2**200 + 1)],
    [-(2**200) - 1],
    [10**400, Decimal("1e400"), Fraction(10**400)],
    [Decimal("1e-400"), Fraction(1, 10**400)],
    [Decimal("-1e-400")],
    [0.5, np.float32(0.5), Decimal("0.5"), Fraction(1, 2), np.longdouble(0.5), 0.5 + 0j, np.array(0.5)],
    [0.1, np.float64(0.1), Fraction(0.1)],
    [np.float32(0.1), float(np.float32(0.1))],
    [Decimal("0.1"), Fraction(1, 10)],
    [Fraction(1, 3)],
    [Fraction(-1, 3)],
    [math.inf, np.float32("inf"), Decimal("inf")],
    [-math.inf],
    [1e300, Fraction(1e300)],
    [5e-324],
    [1j, np.complex128(1j)],
    [1 + 1j],
    ["", np.str_(""), Word("")],
    ["1", np.str_("1")],
    ["a", np.str_("a"), Word("a"), pa.scalar("a")],
    ["a\0"],
    ["yes", Name.YES, "".join(["y", "es"])],
    ["α", np.str_("α")],
    ["\U0001f600"],
    ["\ud800"],
    ["positive" * 9],
    ["positive" * 9 + "!"],
    [b"", np.bytes_(b"")],
    [b"a", np.bytes_(b"a")],
    [b"1"],
    [()],
    [(1,), (1.0,), (True,)],
    [("1",)],
    [(1, ("a", None)), (1.0, (Word("a"), None))],
    [(None,)],
    [((),)],
    [(0.5, "a"), Point(0.5, "a")],
    [frozenset()],
    [frozenset({1, "a"}), frozenset({"a", 1.0})],
    [frozenset({1})],
    [frozenset({frozenset({1})})],
    [Colour.RED],
    [Colour.BLUE],
    [Answer("a"), Answer("a", ())],
    [Answer("a", (1,))],
    [(Answer("a"), 1), (Answer("a"), True)],
    [Caseless("Yes"), Caseless("yes")],
    [3, Modulo(3), Modulo(8)],
    [uuid.UUID(int=7), uuid.UUID(int=7)],
    [datetime.date(2020, 1, 1), datetime.date(2020, 1, 1)],
    [np.datetime64("2020-01-02"), np.datetime64("2020-01-02T00")],
    [np.timedelta64(5, "s"), np.timedelta64(5000, "ms")],
    [range(3), range(0, 3, 1)],
    [Answer, Answer],
]
"""Predictions that are equal, in a list each; those of different lists are different."""

MISSING: list[Any] = [
    None,
    math.nan,
    np.float32("nan"),
    Decimal("nan"),
    Decimal("snan"),
    complex(0, math.nan),
    np.datetime64("NaT"),
    np.ma.masked,
    np.ma.array(3, mask=True),
    pd.NA,
    pd.NaT,
    pa.scalar(None),
    -(2**63),
    np.int64(-(2**63)),
]


OBJECTS = [Colour.RED, Answer("a"), Answer("b"), Caseless("Yes"), Caseless("yes"), (Answer("a"), 1)]

"""Predictions that can only be compared."""

VALUES: st.SearchStrategy[Hashable] = st.recursive(
    st.one_of(
        st.sampled_from([value for group in EQUAL for value in group if not isinstance(value, np.ndarray)]),
        st.sampled_from([None, math.nan, *OBJECTS]),
        st.integers(-3, 3),
        st.integers(),
        st.floats(),
        st.text(max_size=3),
        st.binary(max_size=3),
        st.decimals(allow_nan=False, allow_infinity=False),
        st.fractions(),
    ),
    lambda inner: st.one_of(st.lists(inner, max_size=3).map(tuple), st.frozensets(inner, max_size=2)),
    max_leaves=4,
)
