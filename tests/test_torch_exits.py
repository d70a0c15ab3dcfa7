"""`tt.stages.TorchExits` on a trained network: answers are those of the plain modules, through every door."""

from __future__ import annotations

import asyncio
import gc
import pickle
import random
import threading
import weakref
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import ttamer_fast as tt

torch = pytest.importorskip("torch", reason='needs torch: pip install "ttamer_fast[torch]"')
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from torch_networks import K, counted, digits, plain_logits

pytestmark = pytest.mark.extra("torch")

CLOSE = 1e-5
"""By how much signals of batches of different sizes may differ; sums are taken in another order."""


@pytest.fixture(scope="module")
def exits() -> tt.stages.TorchExits:
    network = digits()
    return tt.stages.TorchExits(network.blocks, network.heads)


@pytest.fixture(scope="module")
def expected() -> tuple[NDArray[Any], NDArray[Any]]:
    """Signals and predictions of all exits, by the plain modules and numpy."""
    network = digits()
    logits = np.stack(plain_logits(network.blocks, network.heads, torch.from_numpy(network.images)), axis=1)
    chances = np.exp(logits - logits.max(axis=2, keepdims=True))
    return (chances / chances.sum(axis=2, keepdims=True)).max(axis=2), logits.argmax(axis=2)


@pytest.fixture(scope="module")
def trace(exits: tt.stages.TorchExits) -> tt.Trace:
    network = digits()
    signal, prediction = exits.answers(network.images)
    return tt.Trace(signal, prediction != network.labels[:, None], [1, 2, 3, 4], prediction=prediction, kind="exits")


def predictions(trace: tt.Trace) -> NDArray[np.int64]:
    assert trace.prediction is not None
    return trace.prediction


@pytest.fixture(scope="module")
def policy(trace: tt.Trace) -> tt.Policy:
    policy = tt.fit(trace, tradeoff=0.95)
    shares = policy.replay(trace.signal, trace.prediction).consulted.mean(axis=0)
    assert 0.02 < shares[1:].max() < 0.98  # there is something to decide
    return policy


def requests_for(inputs: Any) -> list[tt.Request[Any]]:
    return [tt.Request(x) for x in inputs]


def test_all_exits_answer_as_the_plain_modules_do(exits: Any, expected: Any) -> None:
    for most in (1000, 64, 7):
        signal, prediction = exits.answers(digits().images, batch=most)
        np.testing.assert_allclose(signal, expected[0], atol=CLOSE)
        assert (prediction == expected[1]).all()
    accuracy = (expected[1] == digits().labels[:, None]).mean(axis=0)
    assert 0.3 < accuracy[0] < accuracy[1]
    assert accuracy[K - 1] > 0.9


def served_by(door: str, cascade: Any, images: Any) -> list[Any]:
    if door == "call":
        return [cascade(x) for x in images]
    if door == "batch":
        return list(cascade.batch(images))

    async def together() -> list[Any]:
        if door == "abatch":
            return list(await cascade.abatch(images))
        if door == "acall":
            return list(await asyncio.gather(*[cascade.acall(x) for x in images]))
        async with tt.Batcher(cascade, max_batch=16) as batcher:
            return list(await asyncio.gather(*[batcher(x) for x in images]))

    return asyncio.run(together())


@pytest.mark.parametrize("door", ["call", "batch", "acall", "abatch", "batcher"])
def test_served_is_replayed(door: str, exits: Any, trace: tt.Trace, policy: tt.Policy) -> None:
    count = 200 if door in ("call", "acall") else 1000
    served = served_by(door, tt.Cascade(policy, exits), digits().images[:count])
    replay = policy.replay(trace.signal[:count], predictions(trace)[:count])
    assert [one.stage for one in served] == replay.answer.tolist()
    assert [one.cost for one in served] == replay.cost.tolist()
    for row, one in enumerate(served):
        assert one.output["prediction"] == predictions(trace)[row, one.stage]
        asked = list(one.consulted)
        assert asked == np.flatnonzero(replay.consulted[row]).tolist()
        np.testing.assert_allclose(one.signal[asked], trace.signal[row, asked], atol=CLOSE)
        assert one.failures == {}


def test_a_batch_runs_on_with_the_rows_that_are_left(policy: tt.Policy, trace: tt.Trace) -> None:
    network = digits()
    blocks, heads = counted(network.blocks), counted(network.heads)
    table = tt.Cascade(policy, tt.stages.TorchExits(blocks, heads)).batch(network.images)
    consulted = table.consulted
    deepest = K - 1 - consulted[:, ::-1].argmax(axis=1)
    for j in range(K):
        assert sum(blocks[j].calls) == (deepest >= j).sum()
        assert sum(heads[j].calls) == consulted[:, j].sum()
        assert len(blocks[j].calls) <= 1
    assert blocks[0].calls == [1000]
    assert 0 < blocks[1].calls[0] < 1000


def test_in_any_order_every_request_goes_through_each_block_once(expected: Any) -> None:
    network, rng = digits(), random.Random(0)
    for _ in range(30):
        blocks = counted(network.blocks)
        exits = tt.stages.TorchExits(blocks, network.heads)
        count = 12
        requests = requests_for(network.images[:count])
        reached = [-1] * count
        while min(reached) < K - 1:
            exit = rng.randrange(K)
            asked = [i for i in range(count) if reached[i] < exit and rng.random() < 0.5]
            rng.shuffle(asked)
            if not asked:
                continue
            answers = exits[exit].batch([requests[i] for i in asked])  # type: ignore[misc]
            assert answers["prediction"].tolist() == expected[1][asked, exit].tolist()
            np.testing.assert_allclose(answers["signal"], expected[0][asked, exit], atol=CLOSE)
            for i in asked:
                reached[i] = exit
        assert [sum(block.calls) for block in blocks] == [count] * K


def test_requests_of_different_batches_go_on_together() -> None:
    network = digits()
    blocks = counted(network.blocks)
    exits = tt.stages.TorchExits(blocks, network.heads)
    requests = requests_for(network.images[:9])
    exits[0].batch(requests[:3])  # type: ignore[misc]
    exits[0].batch(requests[3:6])  # type: ignore[misc]
    exits[2].batch([requests[i] for i in (8, 1, 3, 7, 0, 5)])  # type: ignore[misc]
    assert [block.calls for block in blocks] == [[3, 3, 2], [6], [6], []]


def test_an_exit_that_is_asked_again_gives_the_same(exits: Any, expected: Any) -> None:
    requests = requests_for(digits().images[:5])
    for exit in (3, 1, 3, 0, 2):
        assert exits[exit].batch(requests)["prediction"].tolist() == expected[1][:5, exit].tolist()


class Failing(nn.Module):
    """Fails when it is told to."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module, self.fails = module, True
        self.eval()

    def forward(self, x: Any) -> Any:
        if self.fails:
            raise RuntimeError("out of memory")
        return self.module(x)


def test_a_head_that_fails_costs_its_exit_alone(policy: tt.Policy) -> None:
    network = digits()
    blocks, heads = counted(network.blocks), [*network.heads]
    heads[1] = Failing(heads[1])
    table = tt.Cascade(policy, tt.stages.TorchExits(blocks, heads)).batch(network.images[:100])
    failed = [one for one in table if one.failures]
    assert 0 < len(failed) < 100
    assert all(one.failures == {1: "RuntimeError: out of memory"} for one in failed)
    assert all(one.output is not None and one.stage != 1 for one in table)
    last = K - 1 - table.consulted[:, ::-1].argmax(axis=1)
    assert sum(blocks[1].calls) >= (last >= 1).sum() > 0  # those that go on come through it a second time


def test_a_block_that_fails_once_is_tried_again(policy: tt.Policy, expected: Any) -> None:
    network = digits()
    blocks = [*network.blocks]
    blocks[1] = failing = Failing(blocks[1])
    requests = requests_for(network.images[:4])
    exits = tt.stages.TorchExits(blocks, network.heads)
    exits[0].batch(requests)  # type: ignore[misc]
    with pytest.raises(RuntimeError, match="out of memory"):
        exits[1].batch(requests)  # type: ignore[misc]
    failing.fails = False
    assert exits[1].batch(requests)["prediction"].tolist() == expected[1][:4, 1].tolist()  # type: ignore[misc]


def test_an_input_that_does_not_fit_fails_alone(exits: Any, policy: tt.Policy, expected: Any) -> None:
    images = digits().images
    inputs = [images[0], np.zeros((3, 8, 8), np.float32), "text", images[3], None, torch.from_numpy(images[5])]
    table = tt.Cascade(policy, exits).batch(inputs)
    assert [i for i in range(6) if table.stage[i] >= 0] == [0, 3, 5]
    for i in (0, 3, 5):
        assert table[i].output["prediction"] == expected[1][i, table.stage[i]]  # type: ignore[index]
    with pytest.raises(tt.NoAnswerError, match=r"RuntimeError: .* to have 1 channels, but got 3"):
        tt.Cascade(policy, exits)(inputs[1])
    with pytest.raises(tt.NoAnswerError, match="ValidationError: an input must be a tensor, array or number, got str"):
        tt.Cascade(policy, exits)("text")


def test_a_stage_that_is_late_is_gone_on_from(policy: tt.Policy, expected: Any) -> None:
    network = digits()
    go_on = threading.Event()

    class Waiting(nn.Module):
        def forward(self, x: Any) -> Any:
            assert go_on.wait(30.0)
            return x

    heads = [*network.heads]
    heads[0] = nn.Sequential(Waiting(), heads[0]).eval()
    exits = tt.stages.TorchExits(network.blocks, heads)
    stages = [replace(exits[0], timeout=0.05), *exits[1:]]
    served = tt.Cascade(policy, stages)(network.images[0])
    assert set(served.failures) == {0}
    assert served.output["prediction"] == expected[1][0, served.stage]  # type: ignore[index]
    go_on.set()


def test_threads_may_share_exits(exits: Any, policy: tt.Policy, trace: tt.Trace) -> None:
    cascade: tt.Cascade[Any, Any] = tt.Cascade(policy, exits)
    parts = np.arange(400).reshape(4, 100)
    found: dict[int, list[int]] = {}

    def serve(part: int) -> None:
        found[part] = cascade.batch(digits().images[parts[part]]).stage.tolist()

    threads = [threading.Thread(target=serve, args=(part,)) for part in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    answer = policy.replay(trace.signal[:400], predictions(trace)[:400]).answer
    assert [found[part] for part in range(4)] == answer.reshape(4, 100).tolist()


def test_states_are_gone_with_their_requests() -> None:
    network = digits()
    states: list[weakref.ref[Any]] = []

    class Seen(nn.Module):
        def __init__(self, module: nn.Module) -> None:
            super().__init__()
            self.module = module
            self.eval()

        def forward(self, x: Any) -> Any:
            returned = self.module(x)
            states.append(weakref.ref(returned))
            return returned

    exits = tt.stages.TorchExits([Seen(block) for block in network.blocks], network.heads)
    requests = requests_for(network.images[:6])
    exits[0].batch(requests)  # type: ignore[misc]
    exits[1].batch(requests[:3])  # type: ignore[misc]
    assert states[0]() is not None  # three requests stand there
    exits[2].batch(requests[3:])  # type: ignore[misc]
    gc.collect()
    assert states[0]() is None
    assert states[1]() is not None
    del requests
    gc.collect()
    assert [state() for state in states] == [None] * len(states)


class Waits(TorchDispatchMode):
    """Counts operations that wait for the device, or whose result's shape is known there alone."""

    OPERATIONS = (
        "item",
        "_local_scalar_dense",
        "nonzero",
        "is_nonzero",
        "equal",
        "masked_select",
        "unique",
        "index.Tensor",
    )

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self.count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.name()
        self.count += 1
        self.found += [name for one in self.OPERATIONS if f"::{one}" in name]
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("signal", ["max_probability", "margin", "negative_entropy", "energy"])
def test_nothing_waits_for_the_device_before_the_answers(signal: Any) -> None:
    network = digits()
    exits = tt.stages.TorchExits(network.blocks, network.heads, signal=signal)
    requests = requests_for(network.images[:32])
    with Waits() as waits:
        exits[0].batch(requests)  # type: ignore[misc]
        exits[2].batch(requests[3:9])  # type: ignore[misc]
    assert waits.count > 20
    assert waits.found == []
    with torch.inference_mode(), Waits() as waits:
        sums = torch.ones(2, 2).sum(1)
        float(sums[0]), bool(sums[1] > 0), sums.nonzero(), sums[sums > 0]
    assert len(waits.found) == 4


def test_exits_go_with_a_cascade_into_other_processes(exits: Any, policy: tt.Policy) -> None:
    cascade: tt.Cascade[Any, Any] = tt.Cascade(policy, exits)
    images = digits().images[:50]
    restored = pickle.loads(pickle.dumps(cascade))
    assert restored.batch(images).stage.tolist() == cascade.batch(images).stage.tolist()
    assert repr(exits) == "TorchExits(4 exits, device='cpu', signal='max_probability')"
    assert exits.device == torch.device("cpu")
    assert len(exits[1:]) == K - 1
