"""ONNX models as stages: inputs and what does not fit, batches, time-outs that end a run."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import ttamer_fast as tt
from onnx_graphs import Network, linear, model, slow, tensor, texts
from small_cascades import line
from ttamer_fast.stages import tensors as module

LONG = 60.0
WEIGHT = np.array([[2.0, 0.0, -1.0], [0.0, 1.0, 1.0]])
XS = np.random.default_rng(0).normal(size=(12, 2)).astype(np.float32)

pytestmark = pytest.mark.extra("onnx")


def made(model: Any, **given: Any) -> Any:
    return tt.stages.OnnxModel(model, **given)


@pytest.fixture(scope="module")
def network() -> Network:
    return Network(k=1)


def test_one_input_and_batches_of_every_form() -> None:
    stage: Any = made(linear(WEIGHT), name="linear", intra_op_threads=1)
    assert isinstance(made(linear(WEIGHT)), tt.Stage)
    assert stage.name == "linear"
    wanted = XS @ WEIGHT
    for x, logits in zip(XS, wanted, strict=True):
        for given in (x, {"x": x}, x.tolist(), tuple(x.tolist())):
            np.testing.assert_allclose(stage.run(given), logits, rtol=1e-5, atol=1e-6)
    assert stage.batch is not None
    batches: list[Any] = [XS, {"x": XS}, list(XS), XS.tolist(), {"x": XS.tolist()}, [{"x": x} for x in XS]]
    for batch in batches:
        outputs = stage.batch(batch)
        np.testing.assert_allclose(outputs, wanted, rtol=1e-5, atol=1e-6)
        probability = np.exp(wanted) / np.exp(wanted).sum(axis=1, keepdims=True)
        np.testing.assert_allclose(stage.signal(outputs), probability.max(axis=1), rtol=1e-5)
        assert stage.prediction is not None
        assert stage.prediction(outputs).tolist() == wanted.argmax(axis=1).tolist()


def test_rows_without_information_have_no_class() -> None:
    stage = made(linear(np.eye(2)), intra_op_threads=1)
    nan, inf = np.nan, np.inf
    rows = np.array([[0.0, 1.0], [nan, 1.0], [1.0, nan], [inf, 0.0], [-inf, -inf], [1.0, 1.0]], np.float32)
    wanted = [1, *[-(2**63)] * 4, 0]
    assert stage.prediction(rows).tolist() == wanted
    assert np.isnan(stage.signal(rows)).tolist() == [said < 0 for said in wanted]
    (exit,) = tt.stages.OnnxExits([linear(np.eye(2))], intra_op_threads=1)
    assert exit.prediction is not None
    assert [exit.prediction(row) for row in rows] == wanted
    cascade: tt.Cascade[Any, Any] = tt.Cascade(line(), [stage, exit, stage])
    assert cascade(rows[1]).prediction == cascade.batch(rows)[1].prediction == (-(2**63),) * 3


def test_a_path_bytes_and_a_session_are_the_same(tmp_path: Path) -> None:
    import onnxruntime

    path = tmp_path / "linear.onnx"
    path.write_bytes(linear(WEIGHT))
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    stages = [
        made(path),
        made(str(path), providers=[("CPUExecutionProvider", {})]),
        made(path.read_bytes(), session_options=options),
        made(session),
    ]
    outputs = {stage.run(XS[0]).tobytes() for stage in stages}
    assert len(outputs) == 1


def test_rows_of_different_lengths_are_padded(network: Network) -> None:
    rows = texts(30)
    stage = made(network.block(0), pad=0)
    assert stage.batch is not None
    wanted = np.array([network.logits(row["ids"])[0] for row in rows])
    np.testing.assert_allclose([stage.run(row) for row in rows], wanted, rtol=1e-4, atol=1e-4)
    columns = {name: [row[name] for row in rows] for name in ("ids", "mask")}
    for batch in (rows, columns):
        np.testing.assert_allclose(stage.batch(batch), wanted, rtol=1e-4, atol=1e-4)
    bare = made(network.block(0))
    assert bare.batch is not None
    with pytest.raises(tt.ValidationError, match=r"input 'ids' must have rows of one shape in a batch, or be padded"):
        bare.batch(rows)
    named = made(network.block(0), pad={"ids": 3, "mask": 0.0})
    assert named.batch is not None
    np.testing.assert_allclose(named.batch(rows), wanted, rtol=1e-4, atol=1e-4)


TEXT = {"ids": [1, 2], "mask": [1, 1]}

BAD: dict[str, tuple[Any, str]] = {
    "missing": ({"ids": [1]}, "an input must have ['ids', 'mask'], got ['ids']: 'mask' is missing"),
    "unknown": (
        TEXT | {"kinds": [0, 0]},
        "an input must have ['ids', 'mask'], got ['ids', 'mask', 'kinds']: 'kinds' is none of them",
    ),
    "no dict": ([1, 2], "an input must be a dict with ['ids', 'mask'], got list"),
    "rank": (TEXT | {"ids": [[1, 2]]}, "input 'ids' must have a row of shape (tokens), got (1, 2)"),
    "length": (TEXT | {"mask": [1]}, "input 'mask' must have 2 entries on axis 'tokens', as input 'ids' has, got 1"),
    "floats for integers": (TEXT | {"ids": [1.0, 2.0]}, "input 'ids' must have dtype int64, got float64"),
    "an array of floats": (TEXT | {"ids": np.ones(2, np.float32)}, "input 'ids' must have dtype int64, got float32"),
    "wider floats": (TEXT | {"mask": np.ones(2)}, "input 'mask' must have dtype float32, got float64"),
    "text": (TEXT | {"ids": ["a", "b"]}, "input 'ids' must have dtype int64, got <U1"),
    "ragged": (TEXT | {"ids": [[1], [1, 2]]}, "input 'ids' must be int64 (rows, tokens), got setting an array element"),
    "too large": (TEXT | {"ids": [2**70, 1]}, "input 'ids' must have dtype int64, got object"),
    "nothing": (TEXT | {"ids": None}, "input 'ids' must have dtype int64, got object"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_does_not_fit_the_graph(name: str, network: Network) -> None:
    stage = made(network.block(0), pad=0)
    bad, message = BAD[name]
    with pytest.raises(tt.ValidationError) as raised:
        stage.run(bad)
    assert str(raised.value).startswith(message)
    assert "\n" not in str(raised.value)
    assert stage.batch is not None
    outputs = stage.batch([TEXT, bad, TEXT])
    assert isinstance(outputs, list)
    assert outputs[1] is None
    np.testing.assert_allclose(outputs[0], stage.run(TEXT), rtol=1e-5)
    with pytest.raises(tt.ValidationError) as again:
        stage.batch([bad, bad])
    assert str(again.value) == str(raised.value)


def test_nothing_at_all(network: Network) -> None:
    stage = made(network.block(0), pad=0)
    assert stage.batch([]) == []
    assert stage.batch({"ids": np.zeros((0, 2), np.int64), "mask": np.zeros((0, 2), np.float32)}).shape == (0, 3)
    without: dict[str, list[int]] = {"ids": [], "mask": []}
    np.testing.assert_array_equal(stage.run(without), network.logits([])[0])
    np.testing.assert_allclose(stage.batch([without, TEXT]), [stage.run(without), stage.run(TEXT)], rtol=1e-5)


def test_arrays_that_do_not_fit_the_graph() -> None:
    stage = made(linear(WEIGHT))
    assert stage.batch is not None
    refused = {
        "input 'x' must have dtype float32, got float64": XS.astype(np.float64),
        "input 'x' must have shape (rows, 2), got (12)": XS[:, 0],
        "input 'x' must have shape (rows, 2), got (2, 3)": np.zeros((2, 3), np.float32),
    }
    for message, bad in refused.items():
        with pytest.raises(tt.ValidationError) as raised:
            stage.batch(bad)
        assert str(raised.value) == message
    np.testing.assert_allclose(stage.batch(XS.astype(np.float16)), XS.astype(np.float16) @ WEIGHT, atol=1e-4)
    two = made(Network(k=1).block(0))
    assert two.batch is not None
    columns = {"ids": np.ones((3, 2), np.int64), "mask": np.ones((2, 2), np.float32)}
    with pytest.raises(tt.ValidationError, match=r"inputs must have one length, got \{'ids': 3, 'mask': 2\}"):
        two.batch(columns)
    with pytest.raises(
        tt.ValidationError, match="input 'mask' must have 2 entries on axis 'tokens', as input 'ids' has"
    ):
        two.batch(columns | {"mask": np.ones((3, 4), np.float32)})


def test_refusals_of_models(tmp_path: Path) -> None:
    import onnxruntime

    whole, options = linear(WEIGHT), onnxruntime.SessionOptions()
    session = onnxruntime.InferenceSession(whole, options, providers=["CPUExecutionProvider"])
    two = model(
        [tensor("x", ["rows", 2])],
        [tensor("a", ["rows", 2]), tensor("b", ["rows", 2])],
        [("Identity", ["x"], ["a"], {}), ("Neg", ["x"], ["b"], {})],
        {},
    )
    wide = model([tensor("x", ["rows", 2, 2])], [tensor("y", ["rows", 2, 2])], [("Neg", ["x"], ["y"], {})], {})
    rowless = model([tensor("x", [])], [tensor("y", [])], [("Neg", ["x"], ["y"], {})], {})
    rows = "must be a tensor with rows on its first axis, any number or 1, got"
    logits = "as output 'y' of `model` is no logits, floats (rows, classes), got float32 (rows, 2, 2)"
    refused: list[tuple[str, Any, dict[str, Any]]] = [
        ("`model` must be an ONNX file, a session or bytes, got no file", tmp_path / "no.onnx", {}),
        ("`model` must be an ONNX file, a session or bytes, got int", 3, {}),
        ("`model` must be a model that ONNX Runtime can open, got ", b"no model", {}),
        ("`providers[0]` must be of ['", whole, {"providers": ["NoExecutionProvider"]}),
        ("`providers[1]` must be of ['", whole, {"providers": ["CPUExecutionProvider", 3]}),
        ("`providers` must be a sequence of at least one of ['", whole, {"providers": "CPUExecutionProvider"}),
        ("`providers` must be a sequence of at least one of ['", whole, {"providers": []}),
        ("`pad` of input 'ids' must be of int64, got 0.5", Network(1).block(0), {"pad": 0.5}),
        ("`pad` of input 'ids' must be of int64, got nan", Network(1).block(0), {"pad": {"ids": np.nan}}),
        ("`pad` of input 'ids' must be of int64, got 1e+30", Network(1).block(0), {"pad": {"ids": 1e30}}),
        ("`intra_op_threads` must be an integer of at least 1, got 0", whole, {"intra_op_threads": 0}),
        ("`intra_op_threads` must be left out where `model` is a session", session, {"intra_op_threads": 1}),
        ("`intra_op_threads` must be left out where", whole, {"intra_op_threads": 1, "session_options": options}),
        ("`session_options` must be an onnxruntime.SessionOptions or None, got int", whole, {"session_options": 3}),
        ("`output` must be one of ['logits'], got 'y'", whole, {"output": "y"}),
        ("`output` must be given, one of ['a', 'b'], as none of them is called 'logits'", two, {}),
        (f"`signal` must be given, {logits}", wide, {}),
        (f"`prediction` must be given, {logits}", wide, {"signal": len}),
        (f"input 'x' of `model` {rows} float32 ()", rowless, {}),
        (f"input 'x' of `model` {rows} float32 (4, 2)", linear(WEIGHT, rows=4), {}),
        ("`pad` must have names of inputs, ['x'], got 'y'", whole, {"pad": {"y": 0}}),
        ("`pad` of input 'x' must be a number, got 'a'", whole, {"pad": {"x": "a"}}),
        ("`timeout` must be", whole, {"timeout": -1}),
    ]
    for message, given, more in refused:
        with pytest.raises(tt.ValidationError) as raised:
            made(given, **more)
        assert str(raised.value).startswith(message)
        assert "\n" not in str(raised.value)
    assert made(two, output="b").run(XS[0]).tolist() == (-XS[0]).tolist()
    assert module.takes(module.Tensor("x", None, (), "map"), module.Tensor("x", None, (), "map")) is False


def test_a_model_of_one_row_is_run_row_by_row(trace: tt.Trace) -> None:
    stage = made(linear(WEIGHT, rows=1))
    assert stage.batch is None
    policy = tt.baselines.static(trace, tradeoff=0.5)
    cascade = tt.Cascade(policy, [stage] * trace.k)
    np.testing.assert_allclose(np.stack(cascade.batch(XS).outputs), XS @ WEIGHT, rtol=1e-5, atol=1e-6)  # type: ignore[arg-type]


def two_models() -> tuple[tt.Policy, dict[str, tt.Stage[Any, Any]], tt.Replay]:
    """A cascade of two models, calibrated on what they say, and what it decides on these inputs."""
    xs = np.random.default_rng(1).normal(size=(400, 2)).astype(np.float32)
    stages: dict[str, tt.Stage[Any, Any]] = {
        "small": made(linear(WEIGHT), intra_op_threads=1),
        "large": made(linear(3.0 * WEIGHT), intra_op_threads=1, timeout=LONG),
    }
    outputs = [stage.batch(xs) for stage in stages.values() if stage.batch is not None]
    signal = np.stack([stage.signal(one) for stage, one in zip(stages.values(), outputs, strict=True)], axis=1)
    said = np.stack([one.argmax(axis=1) for one in outputs], axis=1)
    loss = np.stack([signal[:, 0] < 0.7, np.zeros(400)], axis=1)
    policy = tt.fit(tt.Trace(signal, loss, [1.0, 4.0], said, stages=list(stages), kind="models"), tradeoff=0.9)
    return policy, stages, policy.replay(signal, said)


@pytest.mark.parametrize("door", ["call", "batch", "acall", "abatch", "batcher"])
def test_a_cascade_of_models_decides_as_replay_does(door: str) -> None:
    policy, stages, replay = two_models()
    xs = np.random.default_rng(1).normal(size=(400, 2)).astype(np.float32)
    cascade: tt.Cascade[Any, Any] = tt.Cascade(policy, stages)
    assert isinstance(cascade.stages[1], tt.stages.OnnxModel)
    assert cascade.stages[1].name == "large"

    async def together() -> list[Any]:
        if door == "abatch":
            return list(await cascade.abatch(xs))
        if door == "acall":
            return [await cascade.acall(x) for x in xs]
        async with tt.Batcher(cascade) as batcher:
            return list(await asyncio.gather(*[batcher(x) for x in xs]))

    ways: dict[str, Callable[[], list[Any]]] = {
        "call": lambda: [cascade(x) for x in xs],
        "batch": lambda: list(cascade.batch(xs)),
    }
    served = ways[door]() if door in ways else asyncio.run(together())
    assert [one.stage for one in served] == replay.answer.tolist()
    assert [one.cost for one in served] == replay.cost.tolist()
    assert 0 < sum(replay.answer) < 400


def test_who_does_not_fit_is_alone_in_a_batcher(network: Network, trace: tt.Trace) -> None:
    stage = made(network.block(0), pad=0)
    cascade: tt.Cascade[Any, Any] = tt.Cascade(tt.baselines.static(trace, tradeoff=0.5), [stage] * trace.k)
    rows = [BAD["rank"][0] if at == 3 else row for at, row in enumerate(texts(8))]

    async def offer() -> list[Any]:
        async with tt.Batcher(cascade, max_batch=8) as batcher:
            return list(await asyncio.gather(*[batcher(row) for row in rows], return_exceptions=True))

    found = asyncio.run(offer())
    assert [isinstance(one, tt.NoAnswerError) for one in found] == [at == 3 for at in range(8)]


@pytest.mark.parametrize("door", ["call", "batch", "acall", "batcher", "cancelled"])
def test_a_run_that_nobody_waits_for_ends(door: str, trace: tt.Trace) -> None:
    signals = {"signal": lambda y: y[..., 0], "prediction": lambda y: y[..., 0]}
    stage = made(slow(), timeout=None if door == "cancelled" else 0.2, intra_op_threads=1, **signals)
    policy = tt.baselines.static(trace, tradeoff=0.5)
    cascade: tt.Cascade[Any, Any] = tt.Cascade(policy, [stage] * trace.k)
    xs = np.ones((3, 2), np.float32)

    async def together() -> Any:
        if door == "acall":
            return await cascade.acall(xs[0])
        if door == "cancelled":
            async with asyncio.timeout(0.2):
                await cascade.acall(xs[0])
        async with tt.Batcher(cascade) as batcher:
            return await batcher(xs[0])

    begun = time.process_time()
    if door == "batch":
        table = cascade.batch(xs)
        assert all("time-out after 0.2 s" in reason for reason in table.failures[0].values())
    elif door == "cancelled":
        with pytest.raises(TimeoutError):
            asyncio.run(together())
    else:
        with pytest.raises(tt.NoAnswerError, match=r"time-out after 0\.2 s"):
            cascade(xs[0]) if door == "call" else asyncio.run(together())
    end = time.monotonic() + LONG
    while any(cascade.late.values()):
        assert time.monotonic() < end
        time.sleep(0.001)
    # To the end it would take many seconds of this process.
    assert time.process_time() - begun < 5.0
