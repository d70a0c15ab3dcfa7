"""A network cut into ONNX blocks, with an exit after each, as the stages of a policy."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._core import ValidationError
from .._utils.checks import shown
from ..serving.breaker import Breaker
from ..serving.inputs import count_rows
from ..serving.request import Request
from ..serving.stage import Stage
from .exits import Exits, check_exit_names, check_requests, requests_by_batch
from .logits import readers
from .onnx_chain import Chain
from .onnx_graph import Model, Providers, open_graph
from .stacks import Padding

__all__ = ["OnnxExits"]


class OnnxExits(Exits[NDArray[Any]]):
    """A network cut into k ONNX blocks that run one after the other: k stages, each the exit after a block.

    Every block gives the logits of its exit and what the next block takes. A block runs only for the requests that are
    still in play; the block of an exit that is jumped over runs on the way to a later one.

    Parameters
    ----------
    blocks : sequence of k paths, bytes or onnxruntime.InferenceSession
        In their order, at least 1. An input of a block is an output of the block before or, if that has none of this
        name, an input of the first block. All tensors have rows on their first axis, of any number.
    logits : str
        The output of every block that is its exit's.
    pad : number or mapping of str to number, optional
        What stands at the end of shorter rows in a batch, for all inputs of the first block or by their names; hidden
        states are padded with 0. Without it the inputs of a batch must have one shape.
    signal, prediction : callable, optional
        As in :class:`Stage`, for all exits; of (c,) logits of one request and (m, c) of m. By default the largest
        probability, and the class.
    names : sequence of k str, optional
        Of the stages.
    providers, intra_op_threads, session_options
        As in :class:`OnnxModel`, for every block.
    timeout, retries, backoff, breaker, threads
        As in :class:`Stage`, for every exit.

    Raises
    ------
    MissingExtraError
        If ONNX Runtime is not installed: the extra `onnx`.
    ValidationError
        If a block cannot be opened or does not fit the one before, which names block and tensor; if an argument is
        wrong, or `signal` is missing where an exit gives no logits.

    Notes
    -----
    *Inputs* are those of :class:`OnnxModel`. One that does not fit fails its own request alone.

    *Hidden states* belong to the request (:class:`Request`): they are gone when it is answered, given up or left. A
    request in play holds what the block gave for all the rows that it ran beside. Axes that are named as one of the
    inputs' are as long as in the longest input in play: when long texts leave at an early exit, the blocks after it run
    on what is left.

    *Failures.* What a block raises fails its rows, and a time-out ends the run of the block. An exit after one that
    failed runs all that has not run, the failed block first.

    *Calibration.* Logits of blocks differ from those of the network in one graph in the last digits: calibrate on
    :meth:`logits`, which runs what will serve.

    *Threads and processes.* Any number of cascades, threads and event loops may share it. It is pickled as
    :class:`OnnxModel` is. O(1) beside the blocks for each request and block, and a copy of the hidden states where rows
    have left or come together.

    Examples
    --------
    >>> import numpy as np, onnx, ttamer_fast as tt
    >>> from onnx import TensorProto, helper
    >>> def block(takes, gives, weight):
    ...     tensors = {name: helper.make_tensor_value_info(name, TensorProto.FLOAT, ["rows", 2])
    ...                for name in (takes, gives, "logits")}
    ...     nodes = [helper.make_node("Mul", [takes, "w"], [gives]), helper.make_node("Identity", [gives], ["logits"])]
    ...     graph = helper.make_graph(nodes, gives, [tensors[takes]], [tensors[gives], tensors["logits"]],
    ...                               [onnx.numpy_helper.from_array(np.array(weight, np.float32), "w")])
    ...     opsets = [helper.make_opsetid("", 18)]
    ...     return helper.make_model(graph, opset_imports=opsets, ir_version=9).SerializeToString()
    >>> exits = tt.stages.OnnxExits([block("x", "h0", 1), block("h0", "h1", 3)], names=["early", "late"])
    >>> xs = np.random.default_rng(0).normal(size=(500, 2)).astype(np.float32)
    >>> logits = exits.logits(xs)
    >>> signal = np.stack([stage.signal(one) for stage, one in zip(exits, logits)], axis=1)
    >>> wrong = np.stack([signal[:, 0] < 0.7, np.zeros(500)], axis=1)
    >>> trace = tt.Trace(signal, wrong, cost=[1.0, 1.0], kind="exits", stages=[stage.name for stage in exits])
    >>> cascade = tt.Cascade(tt.fit(trace, tradeoff=0.8), exits)
    >>> cascade([3.0, 0.0]).stage_name, cascade([0.1, 0.0]).stage_name
    ('early', 'late')
    >>> cascade.batch(xs[:4]).outputs[0].dtype
    dtype('float32')
    """

    def __init__(
        self,
        blocks: Sequence[Model],
        *,
        logits: str = "logits",
        pad: float | Padding | None = None,
        signal: Callable[[Any], Any] | None = None,
        prediction: Callable[[Any], Any] | None = None,
        names: Sequence[str] | None = None,
        providers: Providers | None = None,
        intra_op_threads: int | None = None,
        session_options: Any = None,
        timeout: float | None = None,
        retries: int = 0,
        backoff: float = 0.05,
        breaker: Breaker | None = None,
        threads: int = 8,
    ) -> None:
        if isinstance(blocks, str | bytes | bytearray) or not isinstance(blocks, Sequence) or not len(blocks):
            raise ValidationError(f"`blocks` must be a sequence of at least 1 model, got {shown(blocks)}")
        every = check_exit_names(names, len(blocks))
        graphs = [
            open_graph(f"`blocks[{at}]`", block, providers, intra_op_threads, session_options)
            for at, block in enumerate(blocks)
        ]
        self._chain = Chain(graphs, logits, pad)
        stages: list[Stage[Any, NDArray[Any]]] = []
        for at, graph in enumerate(graphs):
            sure, said = readers(f"`blocks[{at}]`", graph.outputs[logits], signal, prediction)
            exit = _Exit(self._chain, at)
            stage = Stage(
                exit.run,
                batch=exit.batch,
                signal=sure,
                prediction=said,
                name=every[at],
                timeout=timeout,
                retries=retries,
                backoff=backoff,
                breaker=breaker,
                threads=threads,
                carries=True,
            )
            stages.append(stage)
        super().__init__(stages)

    def logits(self, xs: Any, *, batch: int = 32) -> list[NDArray[Any]]:
        """The logits of all exits for n inputs, by the blocks that serve: what a policy is calibrated on.

        Parameters
        ----------
        xs : list, array, or dict of arrays
            n inputs, at least 1, as in :meth:`Cascade.batch`.
        batch : int
            Most rows of a run, at least 1.

        Returns
        -------
        list of k (n, c) arrays
            Of every exit.

        Raises
        ------
        ValidationError
            If `xs` is none of these, or an input does not fit: names its number.
        Exception
            What the runtime raises.
        """
        n = count_rows(xs)
        if not n:
            raise ValidationError("`xs` must have at least 1 input, got 0")
        parts: list[list[NDArray[Any]]] = [[] for _ in self]
        for rows, requests in requests_by_batch(xs, n, batch):
            for row, request in zip(rows.tolist(), requests, strict=True):
                try:
                    self._chain.check(request)
                except ValidationError as error:
                    raise ValidationError(f"`xs[{row}]`: {error}") from error
            for exit, part in enumerate(parts):
                part.append(np.asarray(self._chain.forward(requests, exit)))
        return [np.concatenate(part) for part in parts]

    def __repr__(self) -> str:
        return f"OnnxExits({len(self)} blocks)"


class _Exit:
    """An exit of a chain, for one request and for several."""

    __slots__ = ("_at", "_chain")

    def __init__(self, chain: Chain, at: int) -> None:
        self._chain = chain
        self._at = at

    def run(self, request: Request[Any]) -> NDArray[Any]:
        """Logits (c,)."""
        check_requests([request])
        return self._chain.forward([request], self._at)[0]  # type: ignore[return-value]  # one that does not fit raises

    def batch(self, requests: Sequence[Request[Any]]) -> NDArray[Any] | list[NDArray[Any] | None]:
        """Logits (m, c), or m of (c,), None for an input that does not fit."""
        check_requests(requests)
        return self._chain.forward(requests, self._at)
