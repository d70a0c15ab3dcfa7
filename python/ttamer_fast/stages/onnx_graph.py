"""An ONNX graph that ONNX Runtime runs: opened, described, and run so that it can be ended from outside."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from os import PathLike, fspath
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from .._core import ValidationError
from .._utils.checks import check_integer, shown
from .._utils.extras import require
from ..serving.workers import when_abandoned
from .tensors import Row, Tensor

__all__ = ["Graph", "Model", "Providers", "open_graph"]

Model: TypeAlias = Any
"""A path, the bytes of a model, or an `onnxruntime.InferenceSession`."""

Providers: TypeAlias = Sequence[str | tuple[str, Mapping[str, Any]]]

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


class Graph:
    """A session, what it takes and what it gives. Pickled, it is opened anew from what `opened` says.

    Attributes
    ----------
    inputs, outputs : dict of str to Tensor
        In the order of the graph.
    """

    __slots__ = ("_opened", "_runtime", "_session", "inputs", "outputs")

    def __init__(self, runtime: Any, session: Any, opened: tuple[Any, ...] | str) -> None:
        self._runtime = runtime
        self._session = session
        self._opened = opened
        """Arguments of :func:`open_graph`; or why there are none that can be pickled."""
        self.inputs: dict[str, Tensor] = {one.name: _tensor(one) for one in session.get_inputs()}
        self.outputs: dict[str, Tensor] = {one.name: _tensor(one) for one in session.get_outputs()}

    def run(self, names: Sequence[str], feeds: Row) -> list[NDArray[Any]]:
        """The outputs of these names; ended within one node of the graph when nobody waits for them any more."""
        options = self._runtime.RunOptions()

        def end() -> None:
            options.terminate = True

        with when_abandoned(end):
            outputs: list[NDArray[Any]] = self._session.run(names, feeds, options)
        return outputs

    def __deepcopy__(self, memo: Any) -> Graph:
        return self

    def __reduce__(self) -> tuple[Callable[..., Graph], tuple[Any, ...]]:
        if isinstance(self._opened, str):
            raise TypeError(self._opened)
        return open_graph, self._opened


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
        return Graph(runtime, model, f"{where} is a session, which is not pickled: give a path or bytes")
    if isinstance(model, str | PathLike):
        path = Path(fspath(model))
        if not path.is_file():
            raise ValidationError(f"{where} must be an ONNX file, a session or bytes, got no file: {str(path)!r}")
        source: str | bytes = str(path.absolute())
    elif isinstance(model, bytes | bytearray | memoryview):
        source = bytes(model)
    else:
        raise ValidationError(f"{where} must be an ONNX file, a session or bytes, got {type(model).__name__}")
    chosen = ["CPUExecutionProvider"] if providers is None else list(providers)
    there = runtime.get_available_providers()
    for provider in chosen:
        name = provider if isinstance(provider, str) else provider[0]
        if name not in there:
            raise ValidationError(f"`providers` must be of {there}, got {shown(name)}")
    options = _options(runtime, intra_op_threads, session_options)
    try:
        session = runtime.InferenceSession(source, options, providers=chosen)
    except Exception as error:  # of the runtime, which has a class of its own for every reason
        raise ValidationError(f"{where} must be a model that ONNX Runtime can open, got {_line(error)}") from error
    opened = where, source, chosen, intra_op_threads, None
    unpicklable = "`session_options` are not pickled: give `intra_op_threads`, or open the model in each process"
    return Graph(runtime, session, opened if session_options is None else unpicklable)


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
