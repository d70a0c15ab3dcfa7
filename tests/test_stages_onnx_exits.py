"""A network cut into ONNX blocks: hidden states go with the request, through every door, and nowhere else."""

from __future__ import annotations

import asyncio
import gc
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest

import ttamer_fast as tt
from onnx_graphs import CLASSES, Network, linear, model, slow, tensor, texts
from ttamer_fast.stages.onnx_chain import Reached
from ttamer_fast.stages.onnx_graph import Graph

K, N, LONG = 4, 120, 60.0
TEXTS = texts(N)

pytestmark = pytest.mark.extra("onnx")


@pytest.fixture(scope="module")
def network() -> Network:
    return Network(K)


@pytest.fixture(scope="module")
def exits(network: Network) -> Any:
    return tt.stages.OnnxExits(network.blocks(), pad=0, intra_op_threads=1, names=["a", "b", "c", "d"])


@pytest.fixture(scope="module")
def policy(exits: Any) -> tt.Policy:
    """Some go far, some do not; each answers better than the one before."""
    signal, said = said_by(exits)
    rng = np.random.default_rng(5)
    wrong = rng.random((N, K)) > signal ** np.array([4.0, 2.0, 1.0, 0.25])
    names = [stage.name for stage in exits]
    trace = tt.Trace(signal, wrong, [1.0] * K, said, kind="exits", stages=names)
    return tt.fit(trace, tradeoff=0.9)


def said_by(exits: Any) -> tuple[Any, Any]:
    """(n, k) signals and predictions of the texts."""
    logits = exits.logits(TEXTS)
    signal = [stage.signal(one) for stage, one in zip(exits, logits, strict=True)]
    return np.stack(signal, axis=1), np.stack([one.argmax(axis=1) for one in logits], axis=1)


@contextmanager
def watched() -> Iterator[list[tuple[Graph, dict[str, Any]]]]:
    """Which graph was run with what, as long as it lasts."""
    seen: list[tuple[Graph, dict[str, Any]]] = []
    run = Graph.run

    def watching(self: Graph, names: Sequence[str], feeds: dict[str, Any]) -> Any:
        seen.append((self, feeds))
        return run(self, names, feeds)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Graph, "run", watching)
        yield seen


def block_of(graph: Graph) -> int:
    name = next(iter(graph.inputs))
    return int(name[1:]) if name.startswith("h") else 0


def rows_run(seen: Sequence[tuple[Graph, dict[str, Any]]]) -> list[int]:
    """Rows that each block ran for."""
    counts = [0] * K
    for graph, feeds in seen:
        counts[block_of(graph)] += len(feeds["mask"])
    return counts


def serve(cascade: tt.Cascade[Any, Any], door: str, xs: list[Any]) -> list[Any]:
    async def together() -> list[Any]:
        if door == "abatch":
            return list(await cascade.abatch(xs))
        if door == "acall":
            return list(await asyncio.gather(*[cascade.acall(x) for x in xs]))
        async with tt.Batcher(cascade, max_batch=16) as batcher:
            return list(await asyncio.gather(*[batcher(x) for x in xs]))

    ways: dict[str, Callable[[], list[Any]]] = {
        "call": lambda: [cascade(x) for x in xs],
        "call in time": lambda: [cascade(x, LONG) for x in xs],
        "batch": lambda: list(cascade.batch(xs)),
    }
    return ways[door]() if door in ways else asyncio.run(together())


DOORS = ("call", "call in time", "batch", "acall", "abatch", "batcher")


def test_logits_of_all_exits_are_those_of_the_network(exits: Any, network: Network) -> None:
    assert (len(exits), repr(exits)) == (K, "OnnxExits(4 blocks)")
    assert [stage.name for stage in exits[1:3]] == ["b", "c"]
    wanted = np.array([network.logits(one["ids"]) for one in TEXTS])
    for most in (1, 7, 32, 1000):
        for exit, found in enumerate(exits.logits(TEXTS, batch=most)):
            assert found.shape == (N, CLASSES)
            np.testing.assert_allclose(found, wanted[:, exit], rtol=1e-3, atol=1e-3)
    for exit, stage in enumerate(exits):
        alone = [stage.run(tt.Request(one)) for one in TEXTS[:20]]
        np.testing.assert_allclose(alone, wanted[:20, exit], rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("door", DOORS)
def test_every_door_decides_as_replay_and_runs_no_block_in_vain(door: str, exits: Any, policy: tt.Policy) -> None:
    replay = policy.replay(*said_by(exits))
    with watched() as seen:
        served = serve(tt.Cascade(policy, exits), door, TEXTS)
    assert [one.stage for one in served] == replay.answer.tolist()
    assert [one.cost for one in served] == replay.cost.tolist()
    assert [list(one.consulted) for one in served] == [np.flatnonzero(row).tolist() for row in replay.consulted]
    depth = np.array([max(one.consulted) for one in served])
    assert rows_run(seen) == [int((depth >= block).sum()) for block in range(K)]
    assert len(set(depth)) > 2


def test_a_batch_of_columns(exits: Any, policy: tt.Policy) -> None:
    same = [one for one in TEXTS if len(one["ids"]) == 3]
    columns = {"ids": np.array([one["ids"] for one in same]), "mask": np.ones((len(same), 3), np.float32)}
    cascade: tt.Cascade[Any, Any] = tt.Cascade(policy, exits)
    assert list(cascade.batch(columns).stage) == [cascade(one).stage for one in same]
    np.testing.assert_allclose(exits.logits(columns)[2], exits.logits(same)[2], rtol=1e-4, atol=1e-4)


def test_an_exit_runs_what_has_not_run_for_each_of_its_requests(exits: Any, network: Network) -> None:
    requests = [tt.Request(one) for one in TEXTS[:6]]
    exits[0].batch(requests[1:5])
    exits[1].batch(requests[2:5])
    exits[3].batch(requests[4:5])
    with watched() as seen:
        found = exits[2].batch(requests)
    # None before; one block; two; two; all four: that one begins again.
    assert rows_run(seen) == [3, 4, 6, 0]
    wanted = [network.logits(one["ids"])[2] for one in TEXTS[:6]]
    np.testing.assert_allclose(found, wanted, rtol=1e-3, atol=1e-3)


def test_blocks_run_on_the_longest_text_in_play(exits: Any, network: Network) -> None:
    long, short = {"ids": [1] * 9, "mask": [1] * 9}, {"ids": [2, 3], "mask": [1, 1]}
    requests = [tt.Request(long), tt.Request(short), tt.Request(short)]
    exits[0].batch(requests)
    other = tt.Request({"ids": [4] * 3, "mask": [1] * 3})
    exits[0].run(other)
    with watched() as seen:
        exits[1].batch(requests[1:])
        exits[2].batch([requests[1], other, requests[0]])
        found = exits[3].batch([requests[2], other])
    # Requests without their companions; then one that has run two blocks beside two that have run one.
    assert [(block_of(graph), feeds["mask"].shape) for graph, feeds in seen] == [
        (1, (2, 2)), (1, (2, 9)), (2, (3, 9)), (2, (1, 2)), (3, (2, 3))
    ]  # fmt: skip
    assert all(feeds["mask"].shape == feeds[f"h{block_of(graph)}"].shape[:2] for graph, feeds in seen)
    wanted = [network.logits(short["ids"])[3], network.logits([4] * 3)[3]]
    np.testing.assert_allclose(found, wanted, rtol=1e-3, atol=1e-3)


def alive() -> int:
    gc.collect()
    return sum(type(one) is Reached for one in gc.get_objects())


@pytest.mark.parametrize("door", DOORS)
def test_no_state_is_left_of_requests_that_have_ended(door: str, exits: Any, policy: tt.Policy) -> None:
    cascade: tt.Cascade[Any, Any] = tt.Cascade(policy, exits)
    served = serve(cascade, door, [*TEXTS, {"ids": [1], "mask": [1]}])
    assert len(served) == N + 1
    assert alive() == 0


def test_no_state_is_left_of_requests_that_were_cancelled(exits: Any, policy: tt.Policy) -> None:
    async def leave() -> None:
        async with tt.Batcher(tt.Cascade(policy, exits), max_batch=4) as batcher:
            tasks = [asyncio.ensure_future(batcher(x)) for x in TEXTS]
            await tasks[0]
            for task in tasks[1::2]:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    asyncio.run(leave())
    assert alive() == 0


def test_threads_do_not_mix(exits: Any, policy: tt.Policy) -> None:
    cascade: tt.Cascade[Any, Any] = tt.Cascade(policy, exits)
    wanted = policy.replay(*said_by(exits)).answer.tolist()
    halves = [slice(at, None, 4) for at in range(4)]
    with ThreadPoolExecutor(8) as pool:
        batches = [pool.submit(cascade.batch, TEXTS[part]) for part in halves]
        single = [pool.submit(serve, cascade, "call", TEXTS[part]) for part in halves]
    for part, batch, one in zip(halves, batches, single, strict=True):
        assert batch.result().stage.tolist() == wanted[part]
        assert [served.stage for served in one.result()] == wanted[part]


@contextmanager
def failing(block: int, times: int) -> Iterator[None]:
    """This block raises in its first runs."""
    left, run = [times], Graph.run

    def fails(self: Graph, names: Sequence[str], feeds: dict[str, Any]) -> Any:
        if block_of(self) == block and left[0]:
            left[0] -= 1
            raise RuntimeError("out of memory")
        return run(self, names, feeds)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Graph, "run", fails)
        yield


def chain_to_the_end(exits: Any) -> tt.Cascade[Any, Any]:
    """Asks every exit for every text: the last one alone is right."""
    signal, said = said_by(exits)
    wrong = np.ones((N, K))
    wrong[:, -1] = 0.0
    trace = tt.Trace(signal, wrong, [0.01] * K, said, kind="exits", stages=[stage.name for stage in exits])
    return tt.Cascade(tt.baselines.static(trace, tradeoff=0.9), exits)


@pytest.mark.parametrize("block", [0, 1, 3])
def test_what_comes_after_a_block_that_failed_runs_it_first(block: int, exits: Any, network: Network) -> None:
    requests = [tt.Request(one) for one in TEXTS[:5]]
    with failing(block, times=1):
        for exit in range(K):
            if exit == block:
                with pytest.raises(RuntimeError, match="out of memory"):
                    exits[exit].batch(requests)
                continue
            found = exits[exit].batch(requests)
            wanted = [network.logits(one["ids"])[exit] for one in TEXTS[:5]]
            np.testing.assert_allclose(found, wanted, rtol=1e-3, atol=1e-3)
    for exit in range(block, K):
        with failing(block, times=1), pytest.raises(RuntimeError, match="out of memory"):
            exits[exit].run(tt.Request(TEXTS[0]))


@pytest.mark.parametrize("door", DOORS)
def test_a_block_that_fails_for_good_leaves_the_answers_before_it(door: str, exits: Any) -> None:
    signal, said = said_by(exits)
    wrong = np.tile([0.9, 0.5, 0.2, 0.0], (N, 1))
    names = [stage.name for stage in exits]
    trace = tt.Trace(signal, wrong, [0.01] * K, said, kind="exits", stages=names)
    cascade: tt.Cascade[Any, Any] = tt.Cascade(tt.baselines.stage_thresholds(trace, tradeoff=0.9), exits)
    plain = [one.stage for one in serve(cascade, door, TEXTS)]
    with failing(1, times=1_000_000):
        served = serve(cascade, door, TEXTS)
    assert {one.stage for one in served} == {0}
    assert max(plain) > 0
    for one, before in zip(served, plain, strict=True):
        assert all("out of memory" in reason for reason in one.failures.values())
        assert bool(one.failures) == (before > 0)


def test_retries_go_on_from_the_block_before(network: Network) -> None:
    cascade = chain_to_the_end(tt.stages.OnnxExits(network.blocks(), pad=0, retries=2, backoff=0.0, names=list("abcd")))
    assert cascade.stages[0].retries == 2
    with failing(3, times=2), watched() as seen:
        served: Any = cascade(TEXTS[0])
    assert (served.stage, served.failures) == (3, {})
    np.testing.assert_allclose(served.output, network.logits(TEXTS[0]["ids"])[3], rtol=1e-3, atol=1e-3)
    assert rows_run(seen) == [1, 1, 1, 3]


def test_who_does_not_fit_fails_alone(exits: Any, policy: tt.Policy) -> None:
    cascade: tt.Cascade[Any, Any] = tt.Cascade(policy, exits)
    rows: list[Any] = [{"ids": ["a"], "mask": [1]} if at == 3 else one for at, one in enumerate(TEXTS[:8])]
    table = cascade.batch(rows)
    plain = cascade.batch(TEXTS[:8])
    assert [at for at in range(8) if table.stage[at] == -1] == [3]
    assert [table.stage[at] for at in range(8) if at != 3] == [plain.stage[at] for at in range(8) if at != 3]
    with pytest.raises(tt.NoAnswerError, match="input 'ids' must have dtype int64, got <U1"):
        cascade(rows[3])
    with pytest.raises(tt.ValidationError, match=r"`xs\[3\]`: input 'ids' must have dtype int64, got <U1"):
        exits.logits(rows)
    with pytest.raises(tt.ValidationError, match="`xs` must have at least 1 input, got 0"):
        exits.logits([])


def stuck() -> Any:
    """Two quick blocks around one that takes very long."""
    mul: list[Any] = [("Identity", ["x"], ["h1"], {}), ("Identity", ["x"], ["logits"], {})]
    first = model([tensor("x", ["rows", 2])], [tensor("logits", ["rows", 2]), tensor("h1", ["rows", 2])], mul, {})
    last = model(
        [tensor("h2", ["rows", 2])], [tensor("logits", ["rows", 2])], [("Identity", ["h2"], ["logits"], {})], {}
    )
    return tt.stages.OnnxExits([first, slow(takes="h1", passes="h2"), last], timeout=0.2, intra_op_threads=1)


@pytest.mark.parametrize("door", ["call", "batch", "acall", "abatch", "batcher"])
def test_a_block_that_is_late_is_ended_and_its_state_is_gone(door: str) -> None:
    signal = np.tile([0.5, 0.6, 0.7], (50, 1)) + np.random.default_rng(0).random((50, 3)) / 100
    trace = tt.Trace(signal, np.tile([0.9, 0.5, 0.0], (50, 1)), [0.01] * 3, kind="exits")
    cascade: tt.Cascade[Any, Any] = tt.Cascade(tt.baselines.stage_thresholds(trace, tradeoff=0.9), stuck())
    begun = time.process_time()
    for served in serve(cascade, door, list(np.zeros((3, 2), np.float32))):
        assert served.stage == 0
        assert set(served.failures) == {1, 2}
        assert all("time-out after 0.2 s" in reason for reason in served.failures.values())
    end = time.monotonic() + LONG
    while any(cascade.late.values()):
        assert time.monotonic() < end
        time.sleep(0.001)
    assert time.process_time() - begun < 8.0
    assert alive() == 0
    assert not [one for one in threading.enumerate() if not one.daemon and one.name.startswith("ttamer ")]


def given(names: dict[str, Any], dtype: str = "FLOAT") -> bytes:
    """A block that takes tensors of these shapes and gives logits and `h2`."""
    first = next(iter(names))
    inputs = [tensor(name, shape, dtype if name == first else "FLOAT") for name, shape in names.items()]
    outputs = [tensor(name, names[first], dtype) for name in ("logits", "h2")]
    nodes: list[Any] = [("Identity", [first], ["logits"], {}), ("Identity", [first], ["h2"], {})]
    return model(inputs, outputs, nodes, {})


def test_blocks_that_do_not_fit(network: Network) -> None:
    first = network.block(0)
    beginning = "input 'h1' of `blocks[1]` must be as output 'h1' of `blocks[0]`, float32 (rows, tokens, 4), got "
    misfits: list[tuple[Any, str]] = [
        (linear(np.eye(4)), "input 'x' of `blocks[1]` must be an output of `blocks[0]`, ['h1'], or an input of"),
        (given({"h1": ["rows", "tokens", 5]}), beginning + "float32 (rows, tokens, 5)"),
        (given({"h1": ["rows", 4]}), beginning + "float32 (rows, 4)"),
        (given({"h1": ["rows", "tokens", 4]}, "DOUBLE"), beginning + "float64 (rows, tokens, 4)"),
        (given({"mask": ["rows", "tokens"]}), "`blocks[1]` must take an output of `blocks[0]`, ['h1'], got the inputs"),
        (given({"h1": ["rows", "tokens", 4], "mask": ["rows", "tokens", 4]}),
         "input 'mask' of `blocks[1]` must be as input 'mask' of `blocks[0]`, float32 (rows, tokens), got "),
        (given({"h1": [3, "tokens", 4]}), "input 'h1' of `blocks[1]` must be a tensor with any number of rows"),
        (linear(np.eye(4), output="y"), "`blocks[1]` must have an output 'logits', got ['y']"),
        (b"no model", "`blocks[1]` must be a model that ONNX Runtime can open, got"),
        (3, "`blocks[1]` must be an ONNX file, a session or bytes, got int"),
    ]  # fmt: skip
    for block, message in misfits:
        with pytest.raises(tt.ValidationError) as raised:
            tt.stages.OnnxExits([first, block], signal=len, prediction=len)
        assert str(raised.value).startswith(message)
        assert "\n" not in str(raised.value)


def test_an_exit_that_is_called_by_itself_takes_a_request(exits: Any) -> None:
    message = "an exit must be given a Request, got dict: call `exit.run(tt.Request(x))`"
    for function, given in ((exits[1].run, TEXTS[0]), (exits[1].batch, [tt.Request(TEXTS[0]), TEXTS[1]])):
        with pytest.raises(tt.ValidationError) as raised:
            function(given)
        assert str(raised.value) == message
    assert exits[1].run(tt.Request(TEXTS[0])).shape == (CLASSES,)


def test_refusals_of_arguments(network: Network) -> None:
    blocks = network.blocks()
    refused: list[tuple[Any, dict[str, Any], str]] = [
        ([], {}, "`blocks` must be a sequence of at least 1 model, got []"),
        ("a.onnx", {}, "`blocks` must be a sequence of at least 1 model, got 'a.onnx'"),
        (blocks, {"names": ["a"]}, "`names` must have 4 entries, one a block, got ['a']"),
        (blocks, {"names": "abcd"}, "`names` must have 4 entries, one a block, got 'abcd'"),
        (blocks, {"pad": {"h1": 0}}, "`pad` must have names of inputs, ['ids', 'mask'], got 'h1'"),
        (blocks, {"logits": "y"}, "`blocks[0]` must have an output 'y', got ['logits', 'h1']"),
        (blocks, {"retries": -1}, "`retries` must be"),
    ]
    for given_blocks, more, message in refused:
        with pytest.raises(tt.ValidationError) as raised:
            tt.stages.OnnxExits(given_blocks, **more)
        assert str(raised.value).startswith(message)
    bare = tt.stages.OnnxExits(blocks)
    with pytest.raises(tt.ValidationError, match="input 'ids' must have rows of one shape in a batch, or be padded"):
        bare.logits(TEXTS)
