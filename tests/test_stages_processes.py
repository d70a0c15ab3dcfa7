"""Adapters in other processes: pickled for one that is started, copied, and used in one that was forked."""

from __future__ import annotations

import asyncio
import copy
import os
import pickle
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import ttamer_fast as tt
from children import PATIENCE, in_another_process, told_by_child
from small_cascades import STOP, line
from standin_server import StandIn, answer, http, says

XS = np.random.default_rng(0).normal(size=(8, 2)).astype(np.float32)
WEIGHT = np.array([[2.0, 0.0, -1.0], [0.0, 1.0, 1.0]])


def forked(test: Callable[..., None]) -> Callable[..., None]:
    """A test that forks a process with threads."""
    marked: Callable[..., None] = pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")(test)
    return pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")(marked)  # type: ignore[no-any-return]


def served(cascade: tt.Cascade[Any, Any]) -> list[Any]:
    """Outputs for a batch and one by one."""
    return [*cascade.batch(list(XS)).outputs, *[cascade(x).output for x in XS]]


def asked(cascade: tt.Cascade[Any, Any]) -> str:
    output = asyncio.run(cascade.acall("a film")).output
    return output.text if isinstance(output, tt.stages.Completion) else str(output)


@pytest.mark.extra("onnx")
@pytest.mark.parametrize("source", ["path", "bytes"])
def test_onnx_stages_are_opened_anew(source: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from onnx_graphs import Network, linear

    (tmp_path / "linear.onnx").write_bytes(linear(WEIGHT))
    monkeypatch.chdir(tmp_path)
    model: Any = Path("linear.onnx") if source == "path" else linear(WEIGHT)
    stage = tt.stages.OnnxModel(model, intra_op_threads=1, name="stage 0", timeout=PATIENCE, breaker=tt.Breaker())
    other = tt.stages.OnnxModel(linear(WEIGHT), signal=tt.signals.margin)
    cascade: tt.Cascade[Any, Any] = tt.Cascade(line(), [stage, other, other])
    monkeypatch.chdir("/")
    np.testing.assert_array_equal(in_another_process(served, cascade), served(cascade))
    again = pickle.loads(pickle.dumps(stage))
    assert (type(again), again.name, again.timeout, again.breaker) == (type(stage), "stage 0", PATIENCE, tt.Breaker())
    network = Network(3)
    exits = pickle.loads(pickle.dumps(tt.stages.OnnxExits(network.blocks(), pad=0, intra_op_threads=1)))
    request = tt.Request({"ids": [1, 2, 3], "mask": [1, 1, 1]})
    found = [one.run(request) for one in exits]
    assert len(request.kept) == 1  # of one chain, which the three still share
    np.testing.assert_allclose(found, network.logits([1, 2, 3]), rtol=1e-3, atol=1e-3)
    if source == "path":
        (tmp_path / "linear.onnx").unlink()
        with pytest.raises(tt.ValidationError, match="`model` must be an ONNX file, a session or bytes, got no file"):
            pickle.loads(pickle.dumps(stage))


@pytest.mark.extra("onnx")
def test_onnx_sessions_and_options_are_not_pickled_and_copies_share_them() -> None:
    import onnxruntime

    from onnx_graphs import linear

    options = onnxruntime.SessionOptions()
    session = onnxruntime.InferenceSession(linear(WEIGHT), options, providers=["CPUExecutionProvider"])
    for stage, message in (
        (tt.stages.OnnxModel(session), "`model` is a session, which is not pickled: give a path or bytes"),
        (
            tt.stages.OnnxExits([session])[0],
            "`blocks[0]` is a session, which is not pickled: give a path or bytes",
        ),
        (
            tt.stages.OnnxModel(linear(WEIGHT), session_options=options),
            "`session_options` are not pickled: give `intra_op_threads`, or open the model in each process",
        ),
    ):
        with pytest.raises(TypeError) as error:
            pickle.dumps(stage)
        assert str(error.value) == message
        for copied in (copy.copy(stage), copy.deepcopy(stage)):
            x = tt.Request(XS[0]) if stage.carries else XS[0]
            np.testing.assert_array_equal(copied.run(x), stage.run(x))
    kept: Any = copy.deepcopy(tt.stages.OnnxModel(session)).run
    assert kept.__self__._graph._session is session


@pytest.fixture
def server() -> Any:
    with StandIn(right=[says(http(answer()))]) as running:
        yield running


def test_a_chat_is_pickled_without_key_and_connections(server: StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    read: dict[str, Any] = {"signal": sure, "messages": "About {x}"}
    chat = tt.stages.Chat(server.url, "right", max_tokens=3, price=(1.0, 2.0), name="llm", timeout=PATIENCE, **read)
    cascade: tt.Cascade[Any, Any] = tt.Cascade(line(), [chat] * 3)
    assert asked(cascade) == in_another_process(asked, cascade) == "good"
    assert server.requests[-1] == server.requests[-2]
    told = pickle.dumps(tt.stages.Chat("https://127.0.0.1:9/v1", "right", **read))
    assert b"sk-secret" not in told
    monkeypatch.setenv("OPENAI_API_KEY", "sk-other")
    assert pickle.loads(told).run.endpoint._key == "sk-other"
    nameless = pickle.dumps(tt.stages.Chat("https://127.0.0.1:9/v1", "right", api_key="", **read))
    assert pickle.loads(nameless).run.endpoint._key == ""
    with pytest.raises(TypeError) as error:
        pickle.dumps(tt.stages.Chat(server.url, "right", api_key="sk-secret", **read))
    instead = "leave it to the environment variable OPENAI_API_KEY, or make the stage in each process"
    assert str(error.value) == f"`api_key` is not pickled: {instead}"


def sure(said: tt.stages.Completion) -> float:
    return STOP


@forked
@pytest.mark.extra("onnx")
@pytest.mark.parametrize("threads", [None, 1, 2])
def test_onnx_stages_in_a_fork(threads: int | None) -> None:
    from onnx_graphs import linear

    stage: Any = tt.stages.OnnxModel(linear(WEIGHT), intra_op_threads=threads, timeout=PATIENCE)
    cascade: tt.Cascade[Any, Any] = tt.Cascade(line(), [stage] * 3)
    expected, graph = served(cascade), stage.run.__self__._graph
    session = graph._session

    def child() -> Any:
        found = served(cascade)
        return [found, graph._session is session, told_by_child(lambda: served(cascade))]

    for _ in range(3):
        found, is_same, below = told_by_child(child)
        np.testing.assert_array_equal(found, expected)
        np.testing.assert_array_equal(below, expected)
        assert is_same is (threads == 1)
    assert graph._session is session


@forked
@pytest.mark.extra("onnx")
def test_onnx_sessions_with_threads_are_refused_in_a_fork() -> None:
    import onnxruntime

    from onnx_graphs import linear

    def refused() -> str:
        with pytest.raises(tt.PermanentError) as error:
            stage.run(XS[0])
        return str(error.value)

    for threads in (1, 2):
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        session = onnxruntime.InferenceSession(linear(WEIGHT), options, providers=["CPUExecutionProvider"])
        stage = tt.stages.OnnxModel(session)
        expected = stage.run(XS[0])
        if threads == 1:
            np.testing.assert_array_equal(told_by_child(partial(stage.run, XS[0])), expected)
            continue
        wanted = "one thread and not be running when a process is forked, or be given as a path or bytes"
        assert told_by_child(refused) == f"`model` must have {wanted}: a forked child has no threads of its parent"
        again = tt.stages.OnnxModel(linear(WEIGHT), session_options=options)
        np.testing.assert_array_equal(told_by_child(partial(again.run, XS[0])), expected)


@forked
@pytest.mark.extra("onnx")
def test_a_fork_while_a_model_runs() -> None:
    from onnx_graphs import slow

    stage: Any = tt.stages.OnnxModel(slow(30_000), intra_op_threads=1)
    runs = [threading.Thread(target=stage.batch, args=(XS,)) for _ in range(2)]
    for run in runs:
        run.start()
    while len(stage.run.__self__._graph._running) < 2:
        assert any(run.is_alive() for run in runs)
    np.testing.assert_array_equal(told_by_child(lambda: stage.batch(XS)), XS)
    for run in runs:
        run.join()


@forked
def test_a_chat_in_a_fork(server: StandIn) -> None:
    chat = tt.stages.Chat(server.url, "right", messages="{x}", signal=sure, timeout=PATIENCE)
    cascade: tt.Cascade[Any, Any] = tt.Cascade(line(), [chat] * 3)
    assert asked(cascade) == told_by_child(lambda: asked(cascade)) == asked(cascade) == "good"


@forked
@pytest.mark.extra("torch")
@pytest.mark.parametrize("timeout", [None, PATIENCE])
def test_exits_of_pytorch_in_a_fork(timeout: float | None) -> None:
    torch = pytest.importorskip("torch", reason='needs torch: pip install "ttamer_fast[torch]"')
    blocks = [torch.nn.Linear(512, 512).eval() for _ in range(3)]
    heads = [torch.nn.Linear(512, 2).eval() for _ in range(3)]
    exits = tt.stages.TorchExits(blocks, heads, timeout=timeout)
    xs = np.random.default_rng(0).normal(size=(256, 512)).astype(np.float32)
    cascade: tt.Cascade[Any, Any] = tt.Cascade(line(), exits)
    expected: list[Any] = list(cascade.batch(xs).outputs)
    found, threads = told_by_child(lambda: (list(cascade.batch(xs).outputs), torch.get_num_threads()))
    assert threads == 1
    for one, other in zip(found, expected, strict=True):
        assert one["prediction"] == other["prediction"]
        assert one["signal"] == pytest.approx(other["signal"], abs=1e-5)
