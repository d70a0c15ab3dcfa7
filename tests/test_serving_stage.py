"""Stages: what they may be made of."""

from __future__ import annotations

import copy
import functools
import math
import pickle
from typing import Any

import numpy as np
import pytest

import ttamer_fast as tt
from small_cascades import line
from ttamer_fast.serving.coroutines import is_coroutine_function


async def coroutine_function(x: float) -> float:
    return x


def plain(x: float) -> float:
    return x


class Model:
    async def infer(self, x: float) -> float:
        return x

    async def __call__(self, x: float) -> float:
        return x

    @staticmethod
    async def alone(x: float) -> float:
        return x


class Plain:
    def __call__(self, x: float) -> float:
        return x


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (coroutine_function, True),
        (functools.partial(coroutine_function, 1.0), True),
        (functools.partial(functools.partial(coroutine_function)), True),
        (Model().infer, True),
        (Model().alone, True),
        (functools.partial(Model().infer), True),
        (Model(), True),
        (functools.partial(Model()), True),
        (Model, False),
        (plain, False),
        (Plain(), False),
        (functools.partial(plain), False),
        (abs, False),
        (np.max, False),
        (lambda x: coroutine_function(x), False),
        (None, False),
    ],
)
def test_coroutine_functions_are_known_in_every_dress(function: Any, expected: bool) -> None:
    assert is_coroutine_function(function) is expected


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"timeout": 0}, "`timeout` must be above 0 and finite, got 0"),
        ({"timeout": -1.0}, "`timeout` must be above 0 and finite, got -1.0"),
        ({"timeout": math.nan}, "`timeout` must be above 0 and finite, got nan"),
        ({"timeout": math.inf}, "`timeout` must be above 0 and finite, got inf"),
        ({"timeout": "1"}, "`timeout` must be a number, got '1'"),
        ({"timeout": True}, "`timeout` must be a number, got True"),
        ({"retries": -1}, "`retries` must be an integer of at least 0, got -1"),
        ({"retries": 1.0}, "`retries` must be an integer of at least 0, got 1.0"),
        ({"retries": None}, "`retries` must be an integer of at least 0, got None"),
        ({"backoff": -0.1}, "`backoff` must be finite and at least 0, got -0.1"),
        ({"backoff": math.inf}, "`backoff` must be finite and at least 0, got inf"),
        ({"breaker": 5}, "`breaker` must be a Breaker or None, got int"),
        ({"breaker": tt.Breaker}, "`breaker` must be a Breaker or None, got type"),
        ({"threads": -1}, "`threads` must be an integer of at least 0, got -1"),
        ({"threads": 1.5}, "`threads` must be an integer of at least 0, got 1.5"),
        ({"signal": coroutine_function}, "`signal` must be a plain function, got a coroutine function"),
        ({"prediction": Model()}, "`prediction` must be a plain function, got a coroutine function"),
    ],
)
def test_stages_that_cannot_be(given: dict[str, Any], message: str) -> None:
    with pytest.raises(tt.ValidationError) as caught:
        tt.Stage(plain, **{"signal": float, **given})
    assert str(caught.value) == message


def test_cascades_are_copied_without_what_they_have_counted() -> None:
    policy = line()
    made = [tt.Stage(plain, signal=float, name=name, breaker=tt.Breaker(1), threads=2) for name in policy.stages[::-1]]
    cascade = tt.Cascade(policy, made, timing=True)
    cascade.circuits["stage 0"].failed(0, 0.0)
    again = pickle.loads(pickle.dumps(cascade))
    assert (again.stages, again.policy.digest) == (cascade.stages, policy.digest)
    assert [circuit.state for circuit in cascade.circuits.values()] == ["open", "closed", "closed"]
    assert [circuit.state for circuit in again.circuits.values()] == ["closed"] * 3
    assert again(1.0).seconds is not None
    assert copy.copy(again).late == {"stage 0": 0, "stage 1": 0, "stage 2": 0}


def test_numbers_are_taken_as_python_s() -> None:
    numbers: dict[str, Any] = {"timeout": np.float32(0.5), "retries": np.int8(2), "backoff": 0, "threads": np.int64(0)}
    stage = tt.Stage(plain, signal=float, **numbers)
    given = [stage.timeout, stage.retries, stage.backoff, stage.threads]
    assert given == [0.5, 2, 0.0, 0]
    assert [type(one) for one in given] == [float, int, float, int]
