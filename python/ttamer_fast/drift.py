"""Whether requests in production still look like those of the calibration trace: an anytime-valid alarm."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from . import arrays
from ._core import Policy, PolicyFormatError, Replay, ValidationError
from .arrays import Bools, Floats, Ints
from .atomic import replacing
from .trace import Trace

__all__ = ["Drift", "DriftMonitor", "DriftReport"]

WATCHED = ("signal", "agreement", "answer", "consulted")
"""What is watched of a stage."""

CELLS = 8
BLOCK = 32
"""Requests after which bets are placed anew."""
CHUNK = 128 * BLOCK
"""Requests of a batch that are prepared at once."""
FEWEST = 2 * CELLS
"""Reference values below which a stage's quantity is not watched."""
FORMAT = "ttamer_fast drift monitor 1"

Words: TypeAlias = NDArray[np.uint64]


def _tilts() -> Floats:
    """(F, CELLS) fixed bets: how much likelier than before each cell is thought to be."""
    x = (np.arange(CELLS) + 0.5) / CELLS * 2.0 - 1.0
    shapes = [sign * slope * x for slope in (0.4, 0.9) for sign in (1.0, -1.0)]
    shapes += [sign * 0.8 * (2.0 * np.abs(x) - 1.0) for sign in (1.0, -1.0)]
    ends = [np.where(np.arange(CELLS) == end, by, 1.0) for end in (0, CELLS - 1) for by in (0.4, 2.5)]
    return np.concatenate([1.0 + np.array(shapes), ends])


TILTS = _tilts()
KEPT = np.array([1.0, 0.97, 0.75])
"""Share that the histogram bets remember from one block to the next."""
PRIOR = 8.0
"""Observations that the reference counts for in a histogram bet."""
BETS = 1 + len(TILTS) + len(KEPT)
"""Strategies of a component: cash first, then the fixed bets, then the histograms."""
START = np.array([0.5] + [0.5 / (BETS - 1)] * (BETS - 1))


@dataclass(frozen=True)
class Drift:
    """One watched quantity of one stage."""

    stage: str
    watched: str
    evidence: float
    """Largest e-value so far over the one that alarms: 1 and more is an alarm."""
    reference_rows: int
    rows: int
    reference_mean: float
    """Of the signal where it is finite; else the share of requests that agree, are answered, or reach the stage."""
    mean: float


@dataclass(frozen=True)
class DriftReport:
    """What a monitor has seen; `components` in descending order of the evidence."""

    alpha: float
    requests: int
    alarm: bool
    alarmed_at: int | None
    stage: str | None
    watched: str | None
    stages: tuple[str, ...]
    components: tuple[Drift, ...]

    def to_dict(self) -> dict[str, Any]:
        """The same as plain Python values."""
        fields = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return fields | {"stages": list(self.stages), "components": [vars(one).copy() for one in self.components]}

    def __str__(self) -> str:
        head = f"{self.requests} requests, false-alarm rate {self.alpha:g}: "
        head += f"drift of the {self.watched} of {self.stage!r}" if self.alarm else "no drift"
        lines = [head + (f", alarm after {self.alarmed_at} requests" if self.alarm else "")]
        width = max([len("stage"), *(len(one.stage) for one in self.components)])
        lines.append(f"{'stage':<{width}}  {'watched':<9}  evidence  reference       now")
        for one in self.components:
            lines.append(
                f"{one.stage:<{width}}  {one.watched:<9}  {one.evidence:>8.3g}  {one.reference_mean:>9.4g}"
                f"  {one.mean:>8.4g}"
            )
        return "\n".join(lines)


class DriftMonitor:
    """Compares the requests that a policy serves with those of a reference trace, one by one or in batches.

    Watched of every stage: its **signal**, whether it **agrees** with the stage run with the next lower number, and
    whether it gives the **answer**, each among the requests that reach it; and whether it is **consulted** at all.
    Losses are not needed. Make one by :meth:`fit`.

    Notes
    -----
    *Guarantee.* If the requests served are exchangeable with those of the reference trace, the probability that the
    alarm is **ever** raised is at most `alpha`, however long the stream is, whenever one looks, and for every size of
    the reference: sampling error of the reference is part of the test.

    *How.* The reference values of a watched quantity, ties broken at random, are cut at fixed ranks into 8 cells. The
    masses of these cells are then Dirichlet with known integer parameters, so that under exchangeability the cells of
    the stream are a Pólya urn: an exact, known law in which the unknown distribution is integrated out. Against it
    bets a mixture of fixed tilts and of histograms with long and short memory, with a share moved back and forth
    (rate 1/t) so that a late drift is found too. Its capital is a test martingale: Ville's inequality bounds the
    probability that it ever exceeds c by 1/c. Alarm: the capital of any of the m watched quantities reaches m / alpha
    (a union bound: averaging them would need one filtration for all, which urns of dependent quantities do not have).

    *The reference must not be the rows the policy was fitted on* for this to be exact: thresholds tuned to those rows
    select them a little differently. Use a held-out part.

    *Cost.* O(k) memory whatever the length of the stream. A batch takes a few microseconds a request, a single
    :meth:`update` some tens; both give the same alarm. Not synchronised: one monitor for each thread or process.

    *Sources.* Ville 1939; Vovk et al. 2021 (arXiv 2102.10439) for conformal test martingales and jumping bets; Lindon
    and Malek 2022 (arXiv 2011.03567) for Dirichlet-multinomial test martingales.

    Examples
    --------
    >>> import numpy as np, ttamer_fast as tt
    >>> rng = np.random.default_rng(0)
    >>> signal = rng.random((4000, 3))
    >>> trace = tt.Trace(signal, rng.random((4000, 3)) > signal, cost=[1.0, 2.0, 4.0])
    >>> train, held_out = trace.split()
    >>> policy = tt.fit(train, tradeoff=0.9)
    >>> monitor = tt.DriftMonitor.fit(policy, held_out, alpha=0.01)
    >>> same = rng.random((2000, 3))
    >>> monitor.update_replay(policy.replay(same), same)
    False
    >>> monitor.update_replay(policy.replay(same**2), same**2)
    True
    >>> monitor.report().stage
    'stage 0'
    """

    __slots__ = (
        "_alarm",
        "_alarmed_at",
        "_alpha",
        "_block",
        "_digest",
        "_edge",
        "_gap",
        "_hist",
        "_jumps",
        "_key",
        "_limit",
        "_log_bet",
        "_log_capital",
        "_mean",
        "_peak",
        "_place",
        "_requests",
        "_seed",
        "_stages",
        "_sums",
        "_tie",
        "_urn",
        "_what",
    )

    _alarm: int
    _alarmed_at: int
    _alpha: float
    _block: Floats
    _digest: str
    _edge: Floats
    _gap: Ints
    _hist: Floats
    _jumps: Floats
    _key: Words
    _limit: float
    _log_bet: Floats
    _log_capital: Floats
    _mean: Floats
    _peak: Floats
    _place: list[list[int]]
    _requests: int
    _seed: int
    _stages: tuple[str, ...]
    _sums: Floats
    _tie: Words
    _urn: Floats
    _what: Ints

    def __init__(self) -> None:
        raise TypeError("a DriftMonitor is made by DriftMonitor.fit, from_bytes or load")

    @classmethod
    def fit(cls, policy: Policy, trace: Trace, *, alpha: float = 0.01, seed: int = 0) -> DriftMonitor:
        """A monitor of `policy` with the requests of `trace` as the reference.

        Parameters
        ----------
        policy : Policy
            The policy that serves.
        trace : Trace
            Calibration requests that the policy was not fitted on; losses are ignored. Agreement is watched if it has
            predictions.
        alpha : float
            In (0, 1): the probability of ever raising a false alarm.
        seed : int
            Of the random order of equal values.

        Raises
        ------
        ValidationError
            If the stages do not match, an argument is out of range, or the trace has fewer than 16 rows.

        Notes
        -----
        O(n k log n).
        """
        if not isinstance(trace, Trace):
            raise ValidationError(f"`trace` must be a Trace, got {type(trace).__name__}")
        if len(policy.stages) != trace.k:
            raise ValidationError(f"`trace` must have the {len(policy.stages)} stages of the policy, got {trace.k}")
        if trace.n < FEWEST:
            raise ValidationError(f"`trace` must have at least {FEWEST} rows, got {trace.n}")
        if isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed < 2**63:
            raise ValidationError(f"`seed` must be an integer in [0, 2**63), got {seed!r}")
        level = _rate(alpha)
        replay = policy.replay(trace.signal, trace.prediction)
        entry = policy.start().next
        every = [(v, what) for v in range(trace.k) for what in range(len(WATCHED))]
        what = np.array([[v, q] for v, q in every if not (v == entry and WATCHED[q] == "consulted")])
        value, there = _values(what, trace.signal, replay.consulted, replay.answer, trace.prediction)
        kept = there.sum(axis=0) >= FEWEST
        what, value, there = what[kept], value[:, kept], there[:, kept]
        # Ties in the reference are broken by words that no request of the stream will get.
        tie = _words(_keys(seed ^ _REFERENCE, what), 0, trace.n)
        rows = there.sum(axis=0)
        rank = np.floor(np.arange(CELLS + 1) * (rows[:, None] + 1) / CELLS).astype(np.int64)
        self = object.__new__(cls)
        self._edge, self._tie = np.empty((len(what), CELLS - 1)), np.empty((len(what), CELLS - 1), np.uint64)
        for p in range(len(what)):
            x, u = value[there[:, p], p], tie[there[:, p], p]
            order = np.lexsort((u, x))[rank[p, 1:-1] - 1]
            self._edge[p], self._tie[p] = x[order], u[order]
        self._gap = np.diff(rank, axis=1)
        total = _sums(value, there)
        self._mean = total[1] / np.maximum(total[2], 1.0)
        self._what, self._stages, self._digest = what, policy.stages, policy.digest
        self._alpha, self._seed = level, seed
        self._derive()
        self.reset()
        return self

    def reset(self) -> None:
        """Forget the stream and lower the alarm; the reference stays. Each reset is a new chance of a false alarm."""
        m = len(self._what)
        self._requests, self._alarm, self._alarmed_at = 0, -1, 0
        self._urn = self._gap.astype(np.float64)
        self._block = np.zeros((m, CELLS))
        self._hist = np.zeros((len(KEPT), m, CELLS))
        self._jumps = np.zeros(m)
        self._sums = np.zeros((3, m))
        self._peak = np.zeros(m)
        self._log_capital = np.tile(np.log(START), (m, 1))
        self._log_bet = self._bets()

    def update(
        self,
        signal: Mapping[int, float | None],
        answer: int | None,
        prediction: Mapping[int, Hashable] | None = None,
    ) -> bool:
        """Take in one finished request.

        Parameters
        ----------
        signal : mapping of stage number to signal
            Of every stage that was run; NaN or None for an unknown one.
        answer : int or None
            `run.answer`.
        prediction : mapping of stage number to answer, optional
            As given to `run.observe`; agreement is compared where both stages are in it.

        Returns
        -------
        bool
            Whether there has been an alarm.

        Raises
        ------
        ValidationError
            If a stage number is out of range or the answer is of no stage that was run.

        Examples
        --------
        >>> import numpy as np, ttamer_fast as tt
        >>> rng = np.random.default_rng(0)
        >>> signal = rng.random((500, 2))
        >>> policy = tt.fit(tt.Trace(signal, rng.random((500, 2)) > signal, cost=[1.0, 2.0]), tradeoff=0.9)
        >>> signal = rng.random((500, 2))
        >>> monitor = tt.DriftMonitor.fit(policy, tt.Trace(signal, signal < 0.5, cost=[1.0, 2.0]))
        >>> run, seen = policy.start(), {}
        >>> while run.next is not None:
        ...     seen[run.next] = confidence = 0.7
        ...     _ = run.observe(confidence)
        >>> monitor.update(seen, run.answer)
        False
        """
        k, place = len(self._stages), self._place
        if answer is not None and answer not in signal:
            raise ValidationError(f"`answer` must be a stage that was run, got {answer}")
        # Of every watched quantity that this request has: its component and its value.
        found: list[int] = []
        values: list[float] = []
        before: Hashable = None
        for stage in sorted(signal):
            if not 0 <= stage < k:
                raise ValidationError(f"`signal` stage must be from 0 to {k - 1}, got {stage}")
            value = signal[stage]
            found.append(place[0][stage])
            values.append(-math.inf if value is None or value != value else float(value))
            label = None if prediction is None else prediction.get(stage)
            if label is not None:
                if before is not None:
                    found.append(place[1][stage])
                    values.append(float(label == before))
                before = label
            found.append(place[2][stage])
            values.append(float(stage == answer))
        for stage in range(k):
            found.append(place[3][stage])
            values.append(float(stage in signal))
        at = np.array(found)
        kept = at >= 0
        self._observe_one(at[kept], np.array(values)[kept])
        return self.alarm

    def update_batch(
        self, signal: ArrayLike, consulted: ArrayLike, answer: ArrayLike, prediction: ArrayLike | None = None
    ) -> bool:
        """Take in n finished requests, in order.

        Parameters
        ----------
        signal : (n, k) array_like of float
            Entries of stages that were not run are ignored.
        consulted : (n, k) array_like of bool
            Which stages were run.
        answer : (n,) array_like of int
            Whose answer was returned, -1 for none.
        prediction : (n, k) array_like of int, optional
            Answers; entries of stages that were not run are ignored.

        Returns
        -------
        bool
            Whether there has been an alarm.

        Raises
        ------
        ValidationError
            If a shape does not fit or an answer is of no stage that was run.

        Notes
        -----
        O(n k), a few microseconds a request.
        """
        k = len(self._stages)
        rows = arrays.float_array("signal", signal)
        if rows.ndim != 2 or rows.shape[1] != k:
            raise ValidationError(f"`signal` must have shape (n, {k}), got {rows.shape}")
        run = np.asarray(consulted)
        if run.shape != rows.shape or run.dtype.kind != "b":
            raise ValidationError(f"`consulted` must be bool of shape {rows.shape}, got {run.dtype} of {run.shape}")
        answers = arrays.int_array("answer", answer)
        if answers.shape != rows.shape[:1]:
            raise ValidationError(f"`answer` must have shape {rows.shape[:1]}, got {answers.shape}")
        wrong = (answers < -1) | (answers >= k)
        wrong |= ~wrong & (answers >= 0) & ~run[np.arange(len(run)), np.clip(answers, 0, k - 1)]
        if wrong.any():
            where, given = arrays.first_bad(answers, wrong)
            raise ValidationError(f"`answer`{where} must be a stage that was run, or -1, got {given}")
        label = None if prediction is None else arrays.int_array("prediction", prediction)
        if label is not None and label.shape != rows.shape:
            raise ValidationError(f"`prediction` must have shape {rows.shape}, got {label.shape}")
        return self._take(rows, run, answers, label)

    def update_replay(self, replay: Replay, signal: ArrayLike, prediction: ArrayLike | None = None) -> bool:
        """Take in requests that were replayed: :meth:`update_batch` with what the replay says."""
        return self.update_batch(signal, replay.consulted, replay.answer, prediction)

    def _take(self, signal: Floats, run: Bools, answer: Ints, label: Ints | None) -> bool:
        for start in range(0, len(signal), CHUNK):
            part = slice(start, start + CHUNK)
            labels = None if label is None else label[part]
            value, there = _values(self._what, signal[part], run[part], answer[part], labels)
            tie = _words(self._key, self._requests, len(value))
            x, u = value[:, :, None], tie[:, :, None]
            cell = ((self._edge < x) | ((self._edge == x) & (self._tie < u))).sum(axis=2)
            self._sums += _sums(value, there)
            at = 0
            while at < len(value):
                block = slice(at, at + BLOCK - self._requests % BLOCK)
                self._observe(cell[block], there[block])
                at = block.stop
        return self.alarm

    def _observe(self, cell: Ints, there: Bools) -> None:
        """Cells (b, m) of requests of one block."""
        b, m = cell.shape
        hit = (cell[:, :, None] == np.arange(CELLS)) & there[:, :, None]
        # The urn before each observation.
        after = np.cumsum(np.concatenate([self._urn[None], hit]), axis=0)
        column = np.arange(m)
        drawn = after[:-1][np.arange(b)[:, None], column, cell]
        null = np.log(drawn / after[:-1].sum(axis=2))
        gain = self._log_bet[column, :, cell] - null[:, :, None]
        gain[:, :, 0] = 0.0
        gain[~there] = 0.0
        path = np.cumsum(np.concatenate([self._log_capital[None], gain]), axis=0)
        self._urn, self._log_capital = after[-1], path[-1]
        self._block += hit.sum(axis=0)
        # The capital is at most BETS times the largest share: most blocks need no closer look.
        if self._alarm < 0 and float(path[1:].max()) >= self._limit - math.log(BETS):
            wealth = _total(path[1:])
            crossed = (wealth >= self._limit).any(axis=1)
            if crossed.any():
                first = int(crossed.argmax())
                self._raise(wealth[first], self._requests + first + 1)
        self._requests += b
        if self._requests % BLOCK == 0:
            self._settle()

    def _observe_one(self, at: Ints, value: Floats) -> None:
        """Values (p,) of the components `at` of one request; the same arithmetic as in a block."""
        x, u = value[:, None], _words(self._key[at], self._requests, 1).T
        edge = self._edge[at]
        cell = ((edge < x) | ((edge == x) & (self._tie[at] < u))).sum(axis=1)
        null = np.log(self._urn[at, cell] / self._urn[at].sum(axis=1))
        gain = self._log_bet[at, :, cell] - null[:, None]
        gain[:, 0] = 0.0
        capital = self._log_capital[at] + gain
        self._log_capital[at] = capital
        self._urn[at, cell] += 1.0
        self._block[at, cell] += 1.0
        finite = np.isfinite(value)
        self._sums[0, at] += 1.0
        with np.errstate(over="ignore"):
            self._sums[1, at] += np.where(finite, value, 0.0)
        self._sums[2, at] += finite
        if self._alarm < 0 and float(capital.max()) >= self._limit - math.log(BETS):
            wealth = _total(self._log_capital)
            if float(wealth.max()) >= self._limit:
                self._raise(wealth, self._requests + 1)
        self._requests += 1
        if self._requests % BLOCK == 0:
            self._settle()

    def _raise(self, wealth: Floats, at: int) -> None:
        """The alarm, with the capitals (m,) that raised it."""
        self._alarm, self._alarmed_at = int(wealth.argmax()), at
        np.maximum(self._peak, wealth, out=self._peak)

    def _derive(self) -> None:
        """What follows from the reference."""
        self._key = _keys(self._seed, self._what)
        self._limit = math.log(len(self._what) / self._alpha)
        place = np.full((len(WATCHED), len(self._stages)), -1)
        place[self._what[:, 1], self._what[:, 0]] = np.arange(len(self._what))
        self._place = place.tolist()

    def _settle(self) -> None:
        """Between blocks: histograms learn, capital is moved, bets are placed."""
        np.maximum(self._peak, _total(self._log_capital), out=self._peak)
        seen = self._block.sum(axis=1) > 0.0
        self._hist = np.where(seen[:, None], KEPT[:, None, None] * self._hist + self._block, self._hist)
        self._block[:] = 0.0
        moved = np.where(seen, 1.0 / (self._jumps + 2.0), 0.0)[:, None]
        self._jumps += seen
        top = self._log_capital.max(axis=1, keepdims=True)
        capital = np.exp(self._log_capital - top)
        capital = (1.0 - moved) * capital + moved * capital.sum(axis=1, keepdims=True) * START
        # Strategies that have lost everything stay finite.
        self._log_capital = top + np.log(np.maximum(capital, 1e-300))
        self._log_bet = self._bets()

    def _bets(self) -> Floats:
        """(m, BETS, CELLS) log probabilities of a cell as of the start of the block; those of cash are not used."""
        urn = self._urn - self._block
        urn /= urn.sum(axis=1, keepdims=True)
        fixed = TILTS * urn[:, None, :]
        fixed /= fixed.sum(axis=2, keepdims=True)
        learned = self._hist + PRIOR * urn
        learned /= learned.sum(axis=2, keepdims=True)
        bets: Floats = np.log(np.concatenate([urn[:, None, :], fixed, learned.transpose(1, 0, 2)], axis=1))
        return bets

    @property
    def alarm(self) -> bool:
        """Whether there has been an alarm; it stays until :meth:`reset`."""
        return self._alarm >= 0

    @property
    def alarmed_at(self) -> int | None:
        """How many requests had been taken in when the alarm was raised, or None."""
        return self._alarmed_at if self.alarm else None

    @property
    def requests(self) -> int:
        """How many requests have been taken in."""
        return self._requests

    @property
    def alpha(self) -> float:
        """The false-alarm rate."""
        return self._alpha

    @property
    def policy_digest(self) -> str:
        """`Policy.digest` of the policy that is watched."""
        return self._digest

    @property
    def stages(self) -> tuple[str, ...]:
        """Names of the k stages."""
        return self._stages

    def report(self) -> DriftReport:
        """What has been seen; `stage` and `watched` say what raised the alarm, `stages` all that would have."""
        evidence = np.exp(np.minimum(self._peak - self._limit, 700.0))
        mean = self._sums[1] / np.maximum(self._sums[2], 1.0)
        components = [
            Drift(
                stage=self._stages[v],
                watched=WATCHED[q],
                evidence=float(evidence[p]),
                reference_rows=int(self._gap[p].sum()) - 1,
                rows=int(self._sums[0, p]),
                reference_mean=float(self._mean[p]),
                mean=float(mean[p]) if self._sums[2, p] else math.nan,
            )
            for p, (v, q) in enumerate(self._what.tolist())
        ]
        components.sort(key=lambda one: -one.evidence)
        drifted = {one.stage for one in components if one.evidence >= 1.0}
        what = self._what[self._alarm].tolist() if self.alarm else None
        return DriftReport(
            alpha=self._alpha,
            requests=self._requests,
            alarm=self.alarm,
            alarmed_at=self.alarmed_at,
            stage=None if what is None else self._stages[what[0]],
            watched=None if what is None else WATCHED[what[1]],
            stages=tuple(name for name in self._stages if name in drifted),
            components=tuple(components),
        )

    def to_bytes(self) -> bytes:
        """Everything, as JSON with a checksum: a monitor read back goes on exactly where this one is."""
        body = json.dumps(self._state(), separators=(",", ":"))
        check = hashlib.sha256(body.encode()).hexdigest()
        return f'{{"format":"{FORMAT}","sha256":"{check}","monitor":{body}}}'.encode()

    @classmethod
    def from_bytes(cls, data: bytes) -> DriftMonitor:
        """The monitor written by :meth:`to_bytes`.

        Raises
        ------
        PolicyFormatError
            If the bytes are not those of a monitor, or damaged.
        """
        try:
            whole = json.loads(data)
            known = isinstance(whole, dict) and whole.get("format") == FORMAT
        except (ValueError, RecursionError):
            known = False
        if not known:
            raise PolicyFormatError("this is no drift monitor, or one of another version")
        body = json.dumps(whole.get("monitor"), separators=(",", ":"))
        if hashlib.sha256(body.encode()).hexdigest() != whole.get("sha256"):
            raise PolicyFormatError("the drift monitor is damaged: its checksum does not match")
        return cls._from_state(whole["monitor"])

    def save(self, path: str | PathLike[str]) -> None:
        """Write :meth:`to_bytes` to a file, atomically.

        Raises
        ------
        ValidationError
            If the file cannot be written.
        """
        try:
            with replacing(Path(path)) as temporary:
                temporary.write_bytes(self.to_bytes())
        except OSError as error:
            raise ValidationError(f"cannot write {path}: {error.strerror}") from error

    @classmethod
    def load(cls, path: str | PathLike[str]) -> DriftMonitor:
        """The monitor in a file.

        Raises
        ------
        PolicyFormatError
            If the file cannot be read or holds no monitor.
        """
        try:
            data = Path(path).read_bytes()
        except OSError as error:
            raise PolicyFormatError(f"cannot read {path}: {error.strerror}") from error
        try:
            return cls.from_bytes(data)
        except PolicyFormatError as error:
            raise PolicyFormatError(f"{path}: {error}") from error

    def _state(self) -> dict[str, Any]:
        state: dict[str, Any] = {name: getattr(self, f"_{name}") for name in _PLAIN}
        for name in _FLOATS:
            state[name] = [repr(x) for x in getattr(self, f"_{name}").ravel().tolist()]
        for name in _WHOLE:
            state[name] = getattr(self, f"_{name}").ravel().tolist()
        return state | {"stages": list(self._stages)}

    @classmethod
    def _from_state(cls, state: dict[str, Any]) -> DriftMonitor:
        self = object.__new__(cls)
        for name in _PLAIN:
            setattr(self, f"_{name}", state[name])
        self._stages = tuple(state["stages"])
        m = len(state["what"]) // 2
        shapes = _FLOATS | _WHOLE
        for name, shape in shapes.items():
            kind = np.float64 if name in _FLOATS else np.uint64 if name == "tie" else np.int64
            flat = [float(x) for x in state[name]] if name in _FLOATS else state[name]
            size = tuple(m if one == "m" else int(one) for one in shape)
            setattr(self, f"_{name}", np.array(flat, kind).reshape(size))
        self._derive()
        self._log_bet = self._bets()
        return self

    def __reduce__(self) -> tuple[Any, tuple[bytes]]:
        return DriftMonitor.from_bytes, (self.to_bytes(),)

    def __repr__(self) -> str:
        state = f"alarm at {self._alarmed_at}" if self.alarm else "no alarm"
        return f"DriftMonitor(stages={self._stages}, alpha={self._alpha}, requests={self._requests}, {state})"


_PLAIN = ("requests", "alarm", "alarmed_at", "digest", "alpha", "seed")
_FLOATS: dict[str, tuple[str | int, ...]] = {
    "edge": ("m", CELLS - 1),
    "mean": ("m",),
    "urn": ("m", CELLS),
    "block": ("m", CELLS),
    "hist": (len(KEPT), "m", CELLS),
    "jumps": ("m",),
    "sums": (3, "m"),
    "peak": ("m",),
    "log_capital": ("m", BETS),
}
_WHOLE: dict[str, tuple[str | int, ...]] = {"what": ("m", 2), "tie": ("m", CELLS - 1), "gap": ("m", CELLS)}

_MASK = 2**64 - 1
_REFERENCE = 0x5EED0FA11
_STEP = 0x9E3779B97F4A7C15


def _keys(seed: int, what: Ints) -> Words:
    """(m,) one word for each component."""
    return _mix(np.array([((seed + 1) * _STEP + 4 * v + q) & _MASK for v, q in what.tolist()], np.uint64))


def _words(key: Words, start: int, n: int) -> Words:
    """(n, m) uniform words for requests start, start + 1, ...: a function of the seed, the component, the request."""
    number = np.arange(start, start + n, dtype=np.uint64) * np.uint64(_STEP)
    return _mix(number[:, None] ^ key)


def _mix(word: Words) -> Words:
    """SplitMix64's finaliser."""
    word = (word ^ (word >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    word = (word ^ (word >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return word ^ (word >> np.uint64(31))


def _total(log_capital: Floats) -> Floats:
    """Logarithm of the capital summed over the strategies, the last axis."""
    top = log_capital.max(axis=-1, keepdims=True)
    total: Floats = top[..., 0] + np.log(np.exp(log_capital - top).sum(axis=-1))
    return total


def _values(
    what: Ints,
    signal: Floats,
    run: Bools,
    answer: Ints | NDArray[np.int32],
    label: Ints | None,
) -> tuple[Floats, Bools]:
    """(n, m) values of the watched quantities, and where there are any."""
    n, k = run.shape
    value, there = np.zeros((4, n, k)), np.zeros((4, n, k), bool)
    value[0] = np.where(np.isnan(signal), -np.inf, signal)
    there[0] = there[2] = run
    if label is not None:
        last, any_before = np.zeros(n, np.int64), np.zeros(n, bool)
        for v in range(k):
            has = run[:, v]
            there[1, :, v] = has & any_before
            value[1, :, v] = label[:, v] == last
            last = np.where(has, label[:, v], last)
            any_before |= has
    value[2] = answer[:, None] == np.arange(k)
    value[3], there[3] = run, True
    stage, watched = what.T
    return value[watched, :, stage].T, there[watched, :, stage].T


def _sums(value: Floats, there: Bools) -> Floats:
    """(3, m) number of values, sum of the finite ones, and their number."""
    finite = there & np.isfinite(value)
    with np.errstate(over="ignore"):
        total = np.where(finite, value, 0.0).sum(axis=0)
    return np.stack([there.sum(axis=0), total, finite.sum(axis=0)])


def _rate(alpha: float) -> float:
    try:
        level = float(alpha)
    except (TypeError, ValueError):
        raise ValidationError(f"`alpha` must be a number, got {alpha!r}") from None
    if not 0.0 < level < 1.0:
        raise ValidationError(f"`alpha` must be above 0 and below 1, got {alpha}")
    return level
