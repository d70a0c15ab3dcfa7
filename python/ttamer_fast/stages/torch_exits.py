"""A network of PyTorch, cut into blocks with a head each, as the stages of a policy."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .._core import ValidationError
from .._utils.checks import shown
from .._utils.extras import require
from ..serving.breaker import Breaker
from ..serving.inputs import count_rows
from ..serving.request import Request
from ..serving.stage import Stage
from .carried import Group, keep, standing
from .exits import Exits, check_exit_names, check_requests, requests_by_batch
from .torch_checks import check_modules, dtype_of, home_of
from .torch_forks import WORK
from .torch_signals import SIGNALS, Signal, read
from .torch_values import (
    Row,
    Values,
    as_row,
    call,
    merged,
    on_device,
    rows_of,
    rows_shape_of,
    shape_of,
    stacked,
    values_of,
)

if TYPE_CHECKING:
    import torch

__all__ = ["TorchExits"]

ANSWER = np.dtype([("signal", np.float64), ("prediction", np.int64)])
"""What an exit gives for a request."""


class TorchExits(Exits[Any]):
    """The k exits of a network of PyTorch: a sequence of :class:`Stage`, for a policy of the kind "exits".

    Block j takes what block j - 1 has returned, head j reads an answer from what block j has returned. An exit runs the
    blocks that its requests have not gone through yet, then its head. What blocks return stays on the device, and so do
    logits: signals and predictions alone come to the host, in one copy a call.

    Parameters
    ----------
    blocks : sequence of k torch.nn.Module
        In eval mode. Each returns a tensor, or a tuple or dict of tensors, with one row a request; the next block and
        the head are called with it, a tuple by position, a dict by name.
    heads : sequence of k torch.nn.Module
        In eval mode. Each returns logits (n, c).
    signal : {"max_probability", "margin", "negative_entropy", "energy"} or callable
        How sure a head is, as in `ttamer_fast.signals`; or a function from logits (n, c) to a tensor (n,), on the
        device.
    device : str or torch.device, optional
        Where all parameters and buffers are to be, a CPU or a CUDA device. Default: where the first one is.
    names : sequence of k str, optional
        Of the stages, as the policy has them.
    collate : callable, optional
        ``collate(xs)`` makes of a list of n inputs what the first block takes: a tensor, or a tuple or dict of tensors.
        By default inputs are tensors, arrays or numbers of one shape, without an axis of rows, or tuples or dicts of
        these. Floats are converted to the dtype of the parameters.
    timeout, retries, backoff, breaker, threads
        As in :class:`Stage`, for every exit.

    Raises
    ------
    MissingExtraError
        If PyTorch is not installed: the extra `torch`.
    ValidationError
        If an argument is wrong; if a module is in training mode, or has parameters or buffers on another device, or
        parameters of another floating dtype, than the rest: names the module and the tensor.

    Notes
    -----
    *Answers.* The output of a stage is an entry of a numpy array with the fields `signal`, float64, and `prediction`,
    int64, the class with the largest logit. A row of logits with a NaN or plus infinity says nothing: its signal is
    NaN, its prediction -2**63, "no prediction".

    *Batches.* A batch runs on the device with the rows that are left of it; requests of different batches, as a
    :class:`Batcher` brings them together, are put into one where their states have the same shapes. Each request goes
    through each block once. A state is shared by its batch, and is freed when the last of its requests has gone on or
    ended.

    *Device.* Work is put on the stream that is current in the calling thread. The host waits once a call, for an event
    after the copy of the answers. Copies to the device come from pinned memory and are not waited for. All runs in
    inference mode.

    *Failures.* Inputs of different shapes go through the network apart, and what a module raises, or returns amiss,
    fails the requests that were put together. They may be tried again, or go on to a later exit from where they stand.

    *Threads.* Modules must not be changed while they serve. Any number of threads may call the stages; work on the CPU
    uses the threads that `torch.set_num_threads` allows. What has been put on a device cannot be taken back: a call
    that a time-out leaves behind goes on to its end.

    *Processes.* It is pickled with its modules, onto the same device; functions that are given have to be importable. A
    child that is forked after it has worked on a CPU has one thread for that: threads of the parent are not there, and
    PyTorch would wait for them.

    A call costs the host O(n) beside the device, and about ten kernels beside those of blocks and head.

    Examples
    --------
    >>> import numpy as np, torch, ttamer_fast as tt
    >>> _ = torch.manual_seed(0)
    >>> blocks = [torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.Tanh()).eval() for _ in range(3)]
    >>> exits = tt.stages.TorchExits(blocks, [torch.nn.Linear(4, 2).eval() for _ in range(3)])
    >>> inputs = np.random.default_rng(0).normal(size=(500, 4)).astype(np.float32)
    >>> signal, prediction = exits.answers(inputs)
    >>> signal.shape, prediction.dtype
    ((500, 3), dtype('int64'))
    >>> loss = prediction != (inputs.sum(axis=1, keepdims=True) > 0)
    >>> trace = tt.Trace(signal, loss, cost=[1.0, 1.0, 1.0], prediction=prediction, kind="exits")
    >>> cascade = tt.Cascade(tt.fit(trace, tradeoff=0.9), exits)
    >>> served = cascade(inputs[0])
    >>> served.output["prediction"] == prediction[0, served.stage]
    np.True_
    >>> cascade.batch(inputs[:64]).stage.shape
    (64,)
    """

    __slots__ = ("_blocks", "_collate", "_device", "_dtype", "_heads", "_signal")

    def __init__(
        self,
        blocks: Sequence[torch.nn.Module],
        heads: Sequence[torch.nn.Module],
        *,
        signal: Signal = "max_probability",
        device: str | torch.device | None = None,
        names: Sequence[str] | None = None,
        collate: Callable[[list[Any]], Any] | None = None,
        timeout: float | None = None,
        retries: int = 0,
        backoff: float = 0.05,
        breaker: Breaker | None = None,
        threads: int = 8,
    ) -> None:
        torch = require("torch", "torch")
        self._blocks = check_modules(torch, "blocks", blocks)
        self._heads = check_modules(torch, "heads", heads)
        if len(self._heads) != len(self._blocks):
            raise ValidationError(f"`heads` must have {len(self._blocks)} entries, one a block, got {len(self._heads)}")
        modules = {"blocks": self._blocks, "heads": self._heads}
        self._device = home_of(torch, modules, device)
        self._dtype = dtype_of(modules)
        if not callable(signal) and signal not in SIGNALS:
            raise ValidationError(f"`signal` must be one of {list(SIGNALS)} or callable, got {shown(signal)}")
        self._signal = signal
        if collate is not None and not callable(collate):
            raise ValidationError(f"`collate` must be callable or None, got {type(collate).__name__}")
        self._collate = collate
        every = check_exit_names(names, len(self._blocks))
        super().__init__(
            Stage(
                partial(self._one, exit),
                batch=partial(self._batch, exit),
                signal=partial(_field, "signal"),
                prediction=partial(_field, "prediction"),
                name=name,
                timeout=timeout,
                retries=retries,
                backoff=backoff,
                breaker=breaker,
                threads=threads,
                carries=True,
            )
            for exit, name in enumerate(every)
        )

    @property
    def device(self) -> torch.device:
        """Where the network is."""
        return self._device

    def __repr__(self) -> str:
        return f"TorchExits({len(self)} exits, device={str(self._device)!r}, signal={self._signal!r})"

    def answers(self, xs: Any, *, batch: int = 256) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """What all exits say of n inputs: the signals and predictions of a calibration trace.

        Parameters
        ----------
        xs : list, array, tensor, or dict of arrays
            n inputs, as :meth:`Cascade.batch` takes them.
        batch : int
            Most rows that go through the network at once, at least 1.

        Returns
        -------
        (n, k) float64, (n, k) int64
            Signals and predictions.

        Raises
        ------
        ValidationError
            If `xs` is none of these, or `batch` no such number.
        Exception
            What a module raises, or ValueError if it does not return what it should.
        """
        n = count_rows(xs)
        found = np.empty((n, len(self)), ANSWER)
        for rows, requests in requests_by_batch(xs, n, batch):
            for exit in range(len(self)):
                answers, failed = self._answer(exit, requests)
                for error in failed.values():
                    raise error
                found[rows, exit] = answers
        return found["signal"], found["prediction"]

    def _one(self, exit: int, request: Request[Any]) -> Any:
        return self._batch(exit, [request])[0]

    def _batch(self, exit: int, requests: Sequence[Request[Any]]) -> NDArray[Any] | list[Any]:
        """The answers of an exit; None for requests that failed, unless all did."""
        check_requests(requests)
        answers, failed = self._answer(exit, requests)
        if not failed:
            return answers
        if len(failed) == len(requests):
            raise next(iter(failed.values()))
        return [None if at in failed else answer for at, answer in enumerate(answers)]

    def _answer(self, exit: int, requests: Sequence[Request[Any]]) -> tuple[NDArray[Any], dict[int, Exception]]:
        """What an exit says of some requests, who stand there afterwards; and by position, why it failed for some."""
        answers, failed = np.empty(len(requests), ANSWER), dict[int, Exception]()
        with self._at_work() as torch:
            parts = self._brought(torch, exit, requests, failed)
            read_off: list[Any] = []

            def head(part: Group) -> Any:
                read_off.append(self._read(torch, exit, part.state, len(part.positions)))
                return part.state

            parts = _step(head, parts, failed)
            if parts:
                told = self._to_host(torch, torch.cat(read_off, dim=1))
            else:
                self._wait(torch)
        begun = 0
        for part in parts:
            ended = begun + len(part.positions)
            answers[part.positions] = told[begun:ended]
            keep([requests[at] for at in part.positions], self, exit, part.state)
            begun = ended
        return answers, failed

    def _brought(
        self, torch: Any, exit: int, requests: Sequence[Request[Any]], failed: dict[int, Exception]
    ) -> list[Group]:
        """Requests after the block of an exit, together where their states have one shape."""
        to_come = standing(requests, self, exit)
        parts: list[Group] = []
        for at in range(to_come[0].exit + 1, exit + 1):
            while to_come and to_come[0].exit == at - 1:
                group = to_come.pop(0)
                if group.exit < 0:
                    parts += self._begun(torch, [(place, requests[place].x) for place in group.positions], failed)
                else:
                    group.state = rows_of(torch, group.state, group.rows, self._device)
                    parts.append(group)
            parts = _step(partial(self._through, torch, at), _together(torch, parts), failed)
        return parts

    def _begun(self, torch: Any, inputs: list[tuple[int, Any]], failed: dict[int, Exception]) -> list[Group]:
        """Inputs with their positions, together where they have one shape."""
        if self._collate is not None:
            places, xs = [place for place, _ in inputs], [x for _, x in inputs]
            part = Group(-1, None, positions=places)
            collate = self._collate
            parts = _step(lambda _: values_of(torch, "`collate`", collate(xs), len(xs)), [part], failed)
        else:
            alike: dict[Any, list[tuple[int, Row]]] = {}
            for place, x in inputs:
                try:
                    row = as_row(torch, x)
                except Exception as error:
                    failed[place] = error
                    continue
                alike.setdefault(shape_of(row), []).append((place, row))
            parts = [
                Group(-1, stacked(torch, [row for _, row in rows]), positions=[place for place, _ in rows])
                for rows in alike.values()
            ]
        return _step(lambda part: on_device(torch, part.state, self._device, self._dtype), parts, failed)

    def _through(self, torch: Any, exit: int, part: Group) -> Values:
        return values_of(torch, f"block {exit}", call(self._blocks[exit], part.state), len(part.positions))

    def _read(self, torch: Any, exit: int, values: Values, count: int) -> torch.Tensor:
        logits = call(self._heads[exit], values)
        given = tuple(logits.shape) if isinstance(logits, torch.Tensor) else type(logits).__name__
        if not isinstance(logits, torch.Tensor) or logits.ndim != 2 or len(logits) != count or not logits.shape[1]:
            raise ValueError(f"head {exit} must return logits of shape ({count}, classes), got {given}")
        if not logits.is_floating_point():
            raise ValueError(f"head {exit} must return logits of a floating dtype, got {logits.dtype}")
        return read(torch, logits, self._signal)

    def _to_host(self, torch: Any, told: torch.Tensor) -> NDArray[Any]:
        """The one wait for the device: (2, n) bits as n answers."""
        if self._device.type == "cuda":
            pinned = torch.empty(told.shape, dtype=told.dtype, pin_memory=True)
            pinned.copy_(told, non_blocking=True)
            copied = torch.cuda.Event()
            copied.record(torch.cuda.current_stream(self._device))
            copied.synchronize()
            told = pinned
        bits = told.numpy()
        answers = np.empty(bits.shape[1], ANSWER)
        answers["signal"] = bits[0].view(np.float64)
        answers["prediction"] = bits[1]
        return answers

    def _wait(self, torch: Any) -> None:
        """Until nothing that failed is under way any more and reads states, which may be freed."""
        if self._device.type == "cuda":
            torch.cuda.current_stream(self._device).synchronize()

    @contextmanager
    def _at_work(self) -> Iterator[Any]:
        """In inference mode, on the device; an interrupt leaves nothing under way."""
        torch = require("torch", "torch")
        WORK.is_begun = True
        with torch.inference_mode():
            if self._device.type != "cuda":
                yield torch
                return
            with torch.cuda.device(self._device):
                try:
                    yield torch
                except BaseException:
                    self._wait(torch)
                    raise


def _step(step: Callable[[Group], Any], parts: list[Group], failed: dict[int, Exception]) -> list[Group]:
    """The parts for which a step went well, in the state that it gave; the others have failed."""
    good: list[Group] = []
    for part in parts:
        try:
            part.state = step(part)
        except Exception as error:
            failed.update(dict.fromkeys(part.positions, error))
            continue
        good.append(part)
    return good


def _together(torch: Any, parts: list[Group]) -> list[Group]:
    """Parts whose states have one shape put into one."""
    if len(parts) < 2:
        return parts
    alike: dict[Any, list[Group]] = {}
    for part in parts:
        alike.setdefault(rows_shape_of(part.state), []).append(part)
    return [
        Group(
            group[0].exit,
            merged(torch, [part.state for part in group]),
            positions=[position for part in group for position in part.positions],
        )
        for group in alike.values()
    ]


def _field(name: str, answers: Any) -> Any:
    """A field of one answer, or of a batch of them."""
    return [answer[name] for answer in answers] if isinstance(answers, list) else answers[name]
