"""The blocks of a network that run one after the other, and how far each request has got in them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from numpy.typing import NDArray

from .._core import ValidationError
from ..serving.request import Request
from .onnx_graph import Graph
from .stacks import Lengths, Padding, check_padding, lengths_of, scattered, stacked
from .tensors import Row, Tensor, as_row, takes

__all__ = ["Chain"]


class Reached(NamedTuple):
    """How far a request has got. Nobody writes to it or to what it holds."""

    depth: int
    """Blocks that have run."""
    inputs: Row
    """What the request came with, as the first block takes it."""
    hidden: Row
    """What the last of the blocks gave, for all the rows that it ran for."""
    at: int
    """Which of those rows is that of the request."""


class Chain:
    """k blocks, each giving the logits of its exit and, but for the last, what the next one takes.

    Parameters
    ----------
    graphs : sequence of k Graph
        The blocks.
    logits : str
        What all of them call the logits.
    padding : number or mapping, optional
        Of the inputs of the first block.

    Raises
    ------
    ValidationError
        If a block has no rows or no logits, or does not fit the one before: names block and tensor.
    """

    __slots__ = ("_first", "_graphs", "_hidden", "_logits", "_padding")

    def __init__(self, graphs: Sequence[Graph], logits: str, padding: float | Padding | None) -> None:
        self._graphs = tuple(graphs)
        self._logits = logits
        for block, graph in enumerate(graphs):
            _check_block(block, graph, logits)
        self._first = graphs[0].inputs
        self._hidden: list[tuple[str, ...]] = [_taken(block, graphs, logits) for block in range(1, len(graphs))]
        self._hidden.append(())
        self._padding = check_padding(padding, self._first)
        if padding is not None:
            self._padding |= {name: 0.0 for names in self._hidden for name in names}

    def check(self, request: Request[Any]) -> None:
        """That its input fits the first block.

        Raises
        ------
        ValidationError
            If it does not: names the tensor.
        """
        as_row(self._first, request.x)

    def forward(self, requests: Sequence[Request[Any]], exit: int) -> NDArray[Any] | list[NDArray[Any] | None]:
        """The logits of an exit for m requests: of each the blocks run that have not run for it.

        None for inputs that do not fit the first block, unless none does. Where a block raises, what the ones before
        gave is kept.

        Raises
        ------
        ValidationError
            If no input fits.
        Exception
            What the runtime raises.
        """
        reached: list[Reached] = []
        places: list[int] = []
        refused: ValidationError | None = None
        for place, request in enumerate(requests):
            try:
                reached.append(self._start(request, exit))
                places.append(place)
            except ValidationError as error:
                refused = refused or error
        if refused is not None and not reached:
            raise refused
        for block in range(min([one.depth for one in reached]), exit + 1):
            run = [row for row, one in enumerate(reached) if one.depth == block]
            logits, hidden = self._run(block, [reached[row] for row in run])
            for at, row in enumerate(run):
                reached[row] = Reached(block + 1, reached[row].inputs, hidden, at)
                requests[places[row]].kept[self] = reached[row]
        return scattered(logits, places, len(requests))

    def _start(self, request: Request[Any], exit: int) -> Reached:
        """Where to go on for an exit: at the first block, if the request is beyond the exit."""
        reached: Reached | None = request.kept.get(self)
        if reached is None:
            return Reached(0, as_row(self._first, request.x), {}, 0)
        return reached if reached.depth <= exit else Reached(0, reached.inputs, {}, 0)

    def _run(self, block: int, reached: Sequence[Reached]) -> tuple[NDArray[Any], Row]:
        """A block for some requests that stand before it: logits, and what the next block takes of it."""
        names = self._hidden[block]
        logits, *hidden = self._graphs[block].run([self._logits, *names], self._feeds(block, reached))
        return logits, dict(zip(names, hidden, strict=True))

    def _feeds(self, block: int, reached: Sequence[Reached]) -> Row:
        """What a block takes: axes that are named as one of the inputs' are as long as in the longest of these inputs,
        whatever the requests have run beside before."""
        lengths = lengths_of(self._first, [one.inputs for one in reached])
        hidden = reached[0].hidden
        rows = [one.at for one in reached] if all(one.hidden is hidden for one in reached) else None
        feeds: Row = {}
        for name, tensor in self._graphs[block].inputs.items():
            if not block or name not in hidden:
                feeds[name] = stacked(tensor, [one.inputs[name] for one in reached], lengths, self._padding)
                continue
            feed = None if rows is None else _chosen(tensor, hidden[name], rows, lengths)
            if feed is None:
                own = [one.hidden[name][one.at] for one in reached]
                among = lengths_of({name: tensor}, [{name: row} for row in own]) | lengths
                feed = stacked(tensor, own, among, self._padding)
            feeds[name] = feed
        return feeds


def _chosen(tensor: Tensor, hidden: NDArray[Any], rows: Sequence[int], lengths: Lengths) -> NDArray[Any] | None:
    """Some rows of what a block gave, cut to these lengths; None if they would have to be padded."""
    named = zip(tensor.shape[1:], hidden.shape[1:], strict=True)
    shape = tuple([lengths.get(axis, size) if isinstance(axis, str) else size for axis, size in named])
    if any(wanted > size for wanted, size in zip(shape, hidden.shape[1:], strict=True)):
        return None
    chosen = slice(None) if list(rows) == list(range(len(hidden))) else list(rows)
    inside: tuple[Any, ...] = (chosen, *map(slice, shape))
    feed: NDArray[Any] = hidden[inside]
    return feed


def _check_block(block: int, graph: Graph, logits: str) -> None:
    """That a block has logits, and rows on every first axis."""
    if logits not in graph.outputs:
        raise ValidationError(f"`blocks[{block}]` must have an output {logits!r}, got {list(graph.outputs)}")
    used = [("input", tensor) for tensor in graph.inputs.values()]
    for what, tensor in [*used, *[("output", tensor) for tensor in graph.outputs.values()]]:
        if tensor.dtype is None or not tensor.shape or isinstance(tensor.shape[0], int):
            wanted = "a tensor with any number of rows on its first axis"
            raise ValidationError(f"{what} {tensor.name!r} of `blocks[{block}]` must be {wanted}, got {tensor}")


def _taken(block: int, graphs: Sequence[Graph], logits: str) -> tuple[str, ...]:
    """The outputs of the block before that a block takes; its other inputs are those of the first block."""
    before: Mapping[str, Tensor] = {name: one for name, one in graphs[block - 1].outputs.items() if name != logits}
    first = graphs[0].inputs
    for name, tensor in graphs[block].inputs.items():
        if name not in before and name not in first:
            wanted = f"an output of `blocks[{block - 1}]`, {list(before)}, or an input of `blocks[0]`, {list(first)}"
            raise ValidationError(f"input {name!r} of `blocks[{block}]` must be {wanted}")
        given = before.get(name) or first[name]
        source = f"output {name!r} of `blocks[{block - 1}]`" if name in before else f"input {name!r} of `blocks[0]`"
        if not takes(tensor, given):
            raise ValidationError(f"input {name!r} of `blocks[{block}]` must be as {source}, {given}, got {tensor}")
    taken = tuple(name for name in graphs[block].inputs if name in before)
    if not taken:
        wanted = f"take an output of `blocks[{block - 1}]`, {list(before)}"
        raise ValidationError(f"`blocks[{block}]` must {wanted}, got the inputs {list(graphs[block].inputs)}")
    return taken
