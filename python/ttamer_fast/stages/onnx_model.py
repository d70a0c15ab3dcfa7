"""One ONNX model as one stage."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._core import ValidationError
from .._utils.checks import shown
from ..serving.breaker import Breaker
from ..serving.stage import Stage
from .logits import readers
from .onnx_graph import Graph, Model, Providers, open_graph
from .stacks import Padding, check_padding, fitting, lengths_of, scattered, stacked
from .tensors import as_columns, as_row

__all__ = ["OnnxModel"]


class OnnxModel(Stage[Any, NDArray[Any]]):
    """An ONNX model that ONNX Runtime runs: a :class:`Stage`, for one input and for batches.

    Parameters
    ----------
    model : path, bytes or onnxruntime.InferenceSession
        Every input and output that is used has rows on its first axis: of any number, or 1 of a model that takes one
        row at a time.
    output : str, optional
        The output that is read; by default the only one, or the one that is called "logits".
    pad : number or mapping of str to number, optional
        What stands at the end of shorter rows in a batch, for all inputs or by their names: 0 for the ids and the mask
        of a tokenizer. Axes with one name in the graph become equally long. Without it the rows of a batch must have
        one shape.
    signal, prediction : callable, optional
        As in :class:`Stage`. By default the output is taken for logits, (c,) of a row and (m, c) of m rows: its largest
        probability, and its class.
    providers : sequence, optional
        Of ONNX Runtime, names or pairs of a name and options; the CPU by default. All must be there.
    intra_op_threads : int, optional
        Threads of one run, at least 1; by default the runtime's choice, one a core.
    session_options : onnxruntime.SessionOptions, optional
        Instead of `intra_op_threads`. A session that is given has options of its own.
    name, timeout, retries, backoff, breaker, threads
        As in :class:`Stage`.

    Raises
    ------
    MissingExtraError
        If ONNX Runtime is not installed: the extra `onnx`.
    ValidationError
        If the model cannot be opened or has no rows, an argument is wrong, or `signal` is missing where the output is
        no logits.

    Notes
    -----
    *An input* is a dict with a value for every input of the graph, as a tokenizer gives it, or where the graph has one
    input, its value; of a batch a list of those, an array, or a dict of arrays. Values have no axis of rows, the arrays
    of a batch have it. Arrays must have the graph's dtype or one that goes into it without loss; numbers in lists are
    taken as the graph has them. What does not fit fails its row, in a batch its row alone.

    *Time-outs* end the run: when a request leaves its call behind, the runtime is told to stop, and does so after the
    node of the graph that it is at. A call from the caller's own thread (`threads` 0, or no limit to keep) has nobody
    who could leave it.

    *Threads.* A session may be shared by any number of stages and threads.

    *Processes.* Pickled, a model is opened anew, from its path or its bytes; a session, and `session_options`, are not
    pickled. A copy shares the session. In a forked child a model is opened anew too, unless it has one thread and was
    not running then; a session that was given has to be such a one.

    Examples
    --------
    >>> import numpy as np, onnx, ttamer_fast as tt
    >>> from onnx import TensorProto, helper
    >>> tensor = helper.make_tensor_value_info
    >>> graph = helper.make_graph(
    ...     [helper.make_node("MatMul", ["x", "w"], ["logits"])], "linear",
    ...     [tensor("x", TensorProto.FLOAT, ["rows", 2])], [tensor("logits", TensorProto.FLOAT, ["rows", 3])],
    ...     [onnx.numpy_helper.from_array(np.array([[2, 0, 0], [0, 1, 0]], np.float32), "w")],
    ... )
    >>> opset = helper.make_opsetid("", 18)
    >>> model = helper.make_model(graph, opset_imports=[opset], ir_version=9).SerializeToString()
    >>> stage = tt.stages.OnnxModel(model, name="linear", intra_op_threads=1)
    >>> stage.run([1.0, 0.0]).tolist()
    [2.0, 0.0, 0.0]
    >>> logits = stage.batch(np.eye(2, dtype=np.float32))
    >>> stage.signal(logits).round(3).tolist(), stage.prediction(logits).tolist()
    ([0.787, 0.576], [0, 1])
    >>> stage.run([1.0, 0.0, 0.0])
    Traceback (most recent call last):
    ttamer_fast.ValidationError: input 'x' must have a row of shape (2), got (3,)
    """

    __slots__ = ()

    def __init__(
        self,
        model: Model,
        *,
        output: str | None = None,
        pad: float | Padding | None = None,
        signal: Callable[[Any], Any] | None = None,
        prediction: Callable[[Any], Any] | None = None,
        providers: Providers | None = None,
        intra_op_threads: int | None = None,
        session_options: Any = None,
        name: str | None = None,
        timeout: float | None = None,
        retries: int = 0,
        backoff: float = 0.05,
        breaker: Breaker | None = None,
        threads: int = 8,
    ) -> None:
        graph = open_graph("`model`", model, providers, intra_op_threads, session_options)
        runner = _Runner(graph, output, pad)
        sure, said = readers("`model`", graph.outputs[runner.output], signal, prediction)
        super().__init__(
            runner.run,
            batch=runner.batch if runner.takes_batches else None,
            signal=sure,
            prediction=said,
            name=name,
            timeout=timeout,
            retries=retries,
            backoff=backoff,
            breaker=breaker,
            threads=threads,
        )


class _Runner:
    """A graph, one row at a time or several."""

    __slots__ = ("_graph", "_padding", "output", "takes_batches")

    def __init__(self, graph: Graph, output: str | None, pad: float | Padding | None) -> None:
        self._graph = graph
        self.output = _output_of(graph, output)
        used = [("input", tensor) for tensor in graph.inputs.values()] + [("output", graph.outputs[self.output])]
        for what, tensor in used:
            # Of an output whose shape the graph does not say the runtime gives none.
            rows = tensor.shape[0] if tensor.shape else None if what == "output" else 0
            if tensor.dtype is None or (isinstance(rows, int) and rows != 1):
                wanted = "a tensor with rows on its first axis, any number or 1"
                raise ValidationError(f"{what} {tensor.name!r} of `model` must be {wanted}, got {tensor}")
        self.takes_batches = all(tensor.shape[0] != 1 for tensor in graph.inputs.values())
        self._padding = check_padding(pad, graph.inputs)

    def run(self, x: Any) -> NDArray[Any]:
        """The output for one input."""
        row = as_row(self._graph.inputs, x)
        (outputs,) = self._graph.run([self.output], {name: value[np.newaxis] for name, value in row.items()})
        return outputs[0]  # type: ignore[no-any-return]

    def batch(self, xs: Any) -> NDArray[Any] | list[NDArray[Any] | None]:
        """The outputs for m inputs; None for those that do not fit the graph, unless none does."""
        inputs = self._graph.inputs
        given = as_columns(inputs, xs)
        if isinstance(given, dict):
            (outputs,) = self._graph.run([self.output], given)
            return outputs
        if not given:
            return []
        rows, places = fitting(inputs, given)
        lengths, feeds = lengths_of(inputs, rows), {}
        for name, tensor in inputs.items():
            feeds[name] = stacked(tensor, [row[name] for row in rows], lengths, self._padding)
        (outputs,) = self._graph.run([self.output], feeds)
        return scattered(outputs, places, len(given))


def _output_of(graph: Graph, output: str | None) -> str:
    """The name of the output that is read."""
    names = list(graph.outputs)
    if output is not None:
        if output not in names:
            raise ValidationError(f"`output` must be one of {names}, got {shown(output)}")
        return output
    if len(names) == 1:
        return names[0]
    if "logits" not in names:
        raise ValidationError(f"`output` must be given, one of {names}, as none of them is called 'logits'")
    return "logits"
