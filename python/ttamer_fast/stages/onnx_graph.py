"""An ONNX graph that ONNX Runtime runs: opened, described, and run so that it can be ended from outside."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from os import PathLike, fspath
from pathlib import Path
from threading import Lock
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from .._core import ValidationError
from .._utils.checks import check_integer, shown
from .._utils.extras import require
from .._utils.forks import renew_after_fork
from ..serving.failures import PermanentError
from ..serving.workers import when_abandoned
from .tensors import Row, Tensor

__all__ = ["Graph", "Model", "Providers", "open_graph"]

Model: TypeAlias = Any
"""A path, the bytes of a model, or an `onnxruntime.InferenceSession`."""

Providers: TypeAlias = Sequence[str | tuple[str, Mapping[str, Any]]]

Opened: TypeAlias = tuple[str | bytes, list[Any], int | None, Any]
"""What a session was opened from: path or bytes, providers, threads, options."""

DTYPES: dict[str, type] = {
    "tensor(float)": np.float32,
    "tensor(double)": np.float64,
    "tensor(float16)": np.float16,
    "tensor(int8)": np.int8,
    "tensor(int16)": np.int16,
    "tensor(int32)": np.int32,
    "tensor(int64)": np.int64,
    "tensor(uint8)": np.uint8,
    "tensor(uint16)": np.uint16,
    "tensor(uint32)": np.uint32,
    "tensor(uint64)": np.uint64,
    "tensor(bool)": np.bool_,
    "tensor(string)": np.object_,
}

_LEFT: list[Any] = []
"""In a forked child, sessions of its parent, garbage too: whoever frees one waits for threads that are not there."""


class Graph:
    """A session, what it takes and what it gives.

    Pickled, it is opened anew from what it was opened from. In a forked child too, before its first run there, where
    the session has threads, which are the parent's, or was running when the child was made.

    Attributes
    ----------
    inputs, outputs : dict of str to Tensor
        In the order of the graph.
    """

    __slots__ = (
        "__weakref__",
        "_has_threads",
        "_is_left",
        "_lock",
        "_opened",
        "_running",
        "_session",
        "_where",
        "inputs",
        "outputs",
    )

    def __init__(self, where: str, session: Any, opened: Opened | None) -> None:
        self._where = where
        self._session = session
        self._opened = opened
        self._running: set[Any] = set()
        self._has_threads = _has_threads(session)
        self._is_left = False
        self._lock = Lock()
        self.inputs: dict[str, Tensor] = {one.name: _tensor(one) for one in session.get_inputs()}
        self.outputs: dict[str, Tensor] = {one.name: _tensor(one) for one in session.get_outputs()}
        renew_after_fork(self)

    def run(self, names: Sequence[str], feeds: Row) -> list[NDArray[Any]]:
        """The outputs of these names; ended within one node of the graph when nobody waits for them any more.

        Raises
        ------
        PermanentError
            In a forked child, if the session is one that was given and cannot run there.
        Exception
            What the runtime raises.
        """
        if self._is_left:
            self._open_again()
        options = require("onnxruntime", "onnx").RunOptions()

        def end() -> None:
            options.terminate = True

        self._running.add(options)
        try:
            with when_abandoned(end):
                outputs: list[NDArray[Any]] = self._session.run(names, feeds, options)
        finally:
            self._running.discard(options)
        return outputs

    def renew(self) -> None:
        """In a forked child."""
        if self._has_threads and not self._is_left:
            _LEFT.append(self._session)
        self._is_left = self._is_left or self._has_threads or bool(self._running)
        self._running = set()
        self._lock = Lock()

    def _open_again(self) -> None:
        with self._lock:
            if not self._is_left:
                return
            if self._opened is None:
                wanted = "one thread and not be running when a process is forked, or be given as a path or bytes"
                raise PermanentError(f"{self._where} must have {wanted}: a forked child has no threads of its parent")
            self._session = _session(self._where, *self._opened)
            self._is_left = False

    def __deepcopy__(self, memo: Any) -> Graph:
        return self

    def __reduce__(self) -> tuple[Callable[..., Graph], tuple[Any, ...]]:
        if self._opened is None:
            raise TypeError(f"{self._where} is a session, which is not pickled: give a path or bytes")
        source, providers, threads, options = self._opened
        if options is not None:
            instead = "give `intra_op_threads`, or open the model in each process"
            raise TypeError(f"`session_options` are not pickled: {instead}")
        return open_graph, (self._where, source, providers, threads, None)


def open_graph(
    where: str, model: Model, providers: Providers | None, intra_op_threads: int | None, session_options: Any
) -> Graph:
    """A model as a graph; `where` is what the argument is called.

    Raises
    ------
    MissingExtraError
        If ONNX Runtime is not installed.
    ValidationError
        If there is no such file, if it is no model, or if a provider is not to be had; if options are given for a
        session, which has its own.
    """
    runtime = require("onnxruntime", "onnx")
    if isinstance(model, runtime.InferenceSession):
        options = {"providers": providers, "intra_op_threads": intra_op_threads, "session_options": session_options}
        for name, given in options.items():
            if given is not None:
                raise ValidationError(f"`{name}` must be left out where {where} is a session, which has its own")
        return Graph(where, model, None)
    if isinstance(model, str | PathLike):
        path = Path(fspath(model))
        if not path.is_file():
            raise ValidationError(f"{where} must be an ONNX file, a session or bytes, got no file: {str(path)!r}")
        source: str | bytes = str(path.absolute())
    elif isinstance(model, bytes | bytearray | memoryview):
        source = bytes(model)
    else:
        raise ValidationError(f"{where} must be an ONNX file, a session or bytes, got {type(model).__name__}")
    opened: Opened = source, _providers(runtime, providers), intra_op_threads, session_options
    return Graph(where, _session(where, *opened), opened)


def _session(where: str, source: str | bytes, providers: list[Any], threads: int | None, options: Any) -> Any:
    """A session of the runtime, or a ValidationError."""
    runtime = require("onnxruntime", "onnx")
    chosen = _options(runtime, threads, options)
    try:
        return runtime.InferenceSession(source, chosen, providers=providers)
    except Exception as error:  # of the runtime, which has a class of its own for every reason
        raise ValidationError(f"{where} must be a model that ONNX Runtime can open, got {_line(error)}") from error


def _has_threads(session: Any) -> bool:
    """Whether runs share their work with threads of the session."""
    options = session.get_session_options()
    is_sequential = options.execution_mode == require("onnxruntime", "onnx").ExecutionMode.ORT_SEQUENTIAL
    return options.intra_op_num_threads != 1 or not is_sequential


def _providers(runtime: Any, providers: Providers | None) -> list[Any]:
    """Those that are chosen, all of which are there."""
    if providers is None:
        return ["CPUExecutionProvider"]
    there = runtime.get_available_providers()
    if isinstance(providers, str) or not isinstance(providers, Sequence) or not providers:
        raise ValidationError(f"`providers` must be a sequence of at least one of {there}, got {shown(providers)}")
    for at, provider in enumerate(providers):
        is_pair = isinstance(provider, tuple) and len(provider) == 2 and isinstance(provider[1], Mapping)
        name = provider[0] if is_pair else provider
        if name not in there:
            raise ValidationError(f"`providers[{at}]` must be of {there}, with options or without, got {shown(name)}")
    return list(providers)


def _options(runtime: Any, intra_op_threads: int | None, session_options: Any) -> Any:
    if session_options is not None:
        if not isinstance(session_options, runtime.SessionOptions):
            given = type(session_options).__name__
            raise ValidationError(f"`session_options` must be an onnxruntime.SessionOptions or None, got {given}")
        if intra_op_threads is not None:
            raise ValidationError("`intra_op_threads` must be left out where `session_options` are given")
        return session_options
    options = runtime.SessionOptions()
    if intra_op_threads is not None:
        options.intra_op_num_threads = check_integer("intra_op_threads", intra_op_threads, 1)
    return options


def _tensor(described: Any) -> Tensor:
    """As the runtime describes it: an axis of any length has a name, or None."""
    dtype = DTYPES.get(described.type)
    axes = [None if axis == "" else axis for axis in described.shape]
    return Tensor(described.name, None if dtype is None else np.dtype(dtype), tuple(axes), described.type)


def _line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]
