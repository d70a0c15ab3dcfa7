"""Where requests stand in a network; and adapters whose runtime is missing."""

from __future__ import annotations

import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

import ttamer_fast as tt
from ttamer_fast.stages.carried import keep, standing

SHARED = object()
"""A state that a block hands on as it is: that of several exits."""


@given(
    st.lists(st.tuples(st.integers(0, 4), st.lists(st.booleans(), min_size=6, max_size=6), st.booleans()), max_size=12)
)
def test_requests_stand_where_they_came_last(calls: list[tuple[int, list[bool], bool]]) -> None:
    requests = [tt.Request(x) for x in range(6)]
    stands: dict[int, tuple[int, object, int]] = {}
    for exit, chosen, is_shared in calls:
        asked = [x for x in range(6) if chosen[x]]
        groups = standing([requests[x] for x in asked], "network", exit)
        assert sorted(at for group in groups for at in group.positions) == list(range(len(asked)))
        assert [group.exit for group in groups] == sorted(group.exit for group in groups)
        assert len({(group.exit, id(group.state)) for group in groups}) == len(groups)
        for group in groups:
            for row, at in zip(group.rows, group.positions, strict=True):
                stood = stands.get(asked[at])
                if stood is None or stood[0] >= exit:
                    assert (group.exit, group.state) == (-1, None)
                else:
                    assert (group.exit, group.state, row) == stood
        state = SHARED if is_shared else object()
        keep([requests[x] for x in asked], "network", exit, state)
        stands.update({x: (exit, state, row) for row, x in enumerate(asked)})


def test_networks_do_not_see_what_others_keep() -> None:
    request = tt.Request("x")
    keep([request], "one", 1, object())
    assert standing([request], "other", 3)[0].exit == -1
    assert standing([request], "one", 3)[0].exit == 1


@pytest.mark.parametrize(("make", "module", "extra"), [("TorchExits([], [])", "torch", "torch")])
def test_a_runtime_that_is_missing_is_named_with_its_extra(make: str, module: str, extra: str) -> None:
    program = f"import sys; sys.modules[{module!r}] = None\nimport ttamer_fast as tt\n"
    program += f"try: tt.stages.{make}\nexcept tt.MissingExtraError as error: print(error)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout == f'{module} is not installed: pip install "ttamer_fast[{extra}]"\n'
