"""Spans of OpenTelemetry for the requests of a cascade, and for the language models among its stages."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import fields
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

from .._core import ValidationError, build_info
from .._utils.checks import check_flag, check_text
from .._utils.extras import require
from ..serving.stage import Stage
from ..traces.record import Record

if TYPE_CHECKING:
    from opentelemetry.trace import Span, Tracer

__all__ = ["SpanObserver", "chat_spans", "observer"]

X = TypeVar("X")
Y = TypeVar("Y")

SPAN = "ttamer.request"
"""What the span of a request is called."""


def observer(tracer: Tracer | None = None, *, reasons: bool = False) -> SpanObserver:
    """An observer that makes a span of every request: ``Cascade(..., observers=[observer(tracer)])``.

    Parameters
    ----------
    tracer : opentelemetry.trace.Tracer, optional
        That makes spans; by default one of the provider that is set for the process.
    reasons : bool
        Whether failures are told with their text. It may have parts of inputs in it, so that only the class of the
        error is told otherwise.

    Returns
    -------
    SpanObserver
        For any number of cascades.

    Raises
    ------
    ValidationError
        If an argument is of the wrong type.
    MissingExtraError
        If opentelemetry-api is not installed: ``pip install "ttamer_fast[tracing]"``.

    Notes
    -----
    The span ``ttamer.request`` is the current one while its request runs, so that spans of HTTP clients and databases
    in stages become its children. Of requests of a batch it is made when the batch is decided, and has no duration.

    Attributes: ``ttamer.request_id``, ``ttamer.digest``, ``ttamer.outcome``, ``ttamer.stage`` (the one that answered),
    ``ttamer.consulted`` (names, in the order run), ``ttamer.recalled``, ``ttamer.cost``, ``ttamer.expected_loss``
    (where it is finite), ``ttamer.explored``, and ``ttamer.barred`` where stages were. A failure of a stage is an event
    ``ttamer.failure`` with ``ttamer.stage`` and ``ttamer.error``. A request that nobody answered has the outcome "none"
    and the status Error. Inputs, outputs and predictions are never told.

    Only the API of OpenTelemetry is used: without an SDK, a span is nothing and costs little; with one, sample there.

    Examples
    --------
    >>> import numpy as np, ttamer_fast as tt
    >>> from opentelemetry.sdk.trace import TracerProvider
    >>> from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    >>> from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
    >>> provider, exporter = TracerProvider(), InMemorySpanExporter()
    >>> provider.add_span_processor(SimpleSpanProcessor(exporter))
    >>> signal = np.random.default_rng(0).random((1000, 2))
    >>> policy = tt.fit(tt.Trace(signal, 1.0 - signal, cost=[1.0, 2.0], stages=["small", "large"]), tradeoff=0.9)
    >>> spans = tt.integrations.opentelemetry.observer(provider.get_tracer("example"))
    >>> cascade = tt.Cascade(policy, [lambda x: x, lambda x: x], signal=lambda y: y, observers=[spans])
    >>> served = cascade(0.99)
    >>> (span,) = exporter.get_finished_spans()
    >>> span.name, span.attributes["ttamer.outcome"], span.attributes["ttamer.consulted"]
    ('ttamer.request', 'stopped', ('small',))
    """
    return SpanObserver(_tracer_of(tracer), check_flag("reasons", reasons))


class SpanObserver:
    """Makes a span of every request; :func:`observer` makes it."""

    __slots__ = ("_context", "_error", "_reasons", "_trace", "_tracer")

    def __init__(self, tracer: Tracer, reasons: bool) -> None:
        self._tracer = tracer
        self._reasons = reasons
        self._context = require("opentelemetry.context", "tracing")
        self._trace = trace = require("opentelemetry.trace", "tracing")
        self._error: Any = trace.StatusCode.ERROR

    def begin(self) -> Callable[[Record | None], None]:
        """A request begins: its span is the current one until what this returns is called with its record, or with
        None where it has none."""
        span = self._tracer.start_span(SPAN)
        token = self._context.attach(self._trace.set_span_in_context(span))

        def end(record: Record | None) -> None:
            self._context.detach(token)
            self._end(span, record)

        return end

    def __call__(self, record: Record) -> None:
        """A request that was not begun by itself is decided."""
        self._end(self._tracer.start_span(SPAN), record)

    def _end(self, span: Span, record: Record | None) -> None:
        if record is None:
            span.set_attribute("ttamer.outcome", "none")
            span.set_status(self._error)
        elif span.is_recording():
            self._tell(span, record)
        span.end()

    def _tell(self, span: Span, record: Record) -> None:
        names, answer, outcome = record.stages, record.answer, record.outcome
        is_lost = answer is None and outcome != "abstained"
        said: dict[str, Any] = {
            "ttamer.request_id": record.request_id,
            "ttamer.digest": record.digest,
            "ttamer.outcome": "none" if is_lost else outcome,
            "ttamer.consulted": [names[stage] for stage in record.consulted],
            "ttamer.recalled": record.recalled,
            "ttamer.cost": record.cost,
            "ttamer.explored": record.explored,
        }
        if answer is not None:
            said["ttamer.stage"] = names[answer]
        if math.isfinite(record.expected_loss):
            said["ttamer.expected_loss"] = record.expected_loss
        if barred := record.barred:
            said["ttamer.barred"] = [names[stage] for stage in barred]
        span.set_attributes(said)
        for stage, reason in record.failures.items():
            kind = reason if self._reasons else reason.partition(":")[0]
            span.add_event("ttamer.failure", {"ttamer.stage": names[stage], "ttamer.error": kind})
        if is_lost:
            span.set_status(self._error)


def chat_spans(stage: Stage[X, Y], tracer: Tracer | None = None, *, provider: str = "openai") -> Stage[X, Y]:
    """The same stage, with a span for every call of its language model.

    Parameters
    ----------
    stage : Stage
        A :class:`ttamer_fast.stages.Chat`.
    tracer : opentelemetry.trace.Tracer, optional
        That makes spans; by default one of the provider that is set for the process.
    provider : str
        Who serves the model, as the conventions call it: ``gen_ai.provider.name``.

    Returns
    -------
    Stage
        With the same limits, circuit and name; `stage` stays as it is.

    Raises
    ------
    ValidationError
        If the stage asks no language model, or an argument is of the wrong type.
    MissingExtraError
        If opentelemetry-api is not installed: ``pip install "ttamer_fast[tracing]"``.

    Notes
    -----
    A span of kind CLIENT, ``chat MODEL``, one for each attempt, below the span of its request. Attributes as in the
    conventions of OpenTelemetry for generative AI, which are still in development: ``gen_ai.operation.name``,
    ``gen_ai.provider.name``, ``gen_ai.request.model``, ``gen_ai.response.model``,
    ``gen_ai.response.finish_reasons``, ``gen_ai.usage.input_tokens``, ``gen_ai.usage.output_tokens``,
    ``server.address``, ``server.port``, and ``error.type`` where the call failed. Neither prompts nor answers are told.

    Examples
    --------
    >>> import ttamer_fast as tt
    >>> chat = tt.stages.Chat("http://127.0.0.1:8080/v1", "small", messages="{x}", name="llm", retries=1)
    >>> seen = tt.integrations.opentelemetry.chat_spans(chat)
    >>> seen.name, seen.retries
    ('llm', 1)
    """
    run: Any = stage.run if isinstance(stage, Stage) else None
    if not all(hasattr(run, name) for name in ("endpoint", "model", "operation")):
        raise ValidationError(f"`stage` must be a Chat, got {type(stage).__name__}")
    spanned = SpannedCall(run, _tracer_of(tracer), check_text("provider", provider))
    kept = {one.name: getattr(stage, one.name) for one in fields(Stage) if one.name != "run"}
    made: Stage[X, Y] = Stage(spanned, **kept)
    return made


class SpannedCall:
    """Calls a language model within a span: ``await call(x)`` is the `run` of a stage.

    Parameters
    ----------
    ask : Asker
        What calls it.
    tracer : opentelemetry.trace.Tracer
        That makes spans.
    provider : str
        Who serves the model.
    """

    def __init__(self, ask: Any, tracer: Tracer, provider: str) -> None:
        self._ask = ask
        self._tracer = tracer
        trace = require("opentelemetry.trace", "tracing")
        self._name = f"{ask.operation} {ask.model}"
        self._error: Any = trace.StatusCode.ERROR
        self._how: dict[str, Any] = {
            "kind": trace.SpanKind.CLIENT,
            "attributes": {
                "gen_ai.operation.name": ask.operation,
                "gen_ai.provider.name": provider,
                "gen_ai.request.model": ask.model,
                **_server_of(ask.endpoint.base_url),
            },
            # An event of an exception would have its text, and so perhaps the prompt.
            "record_exception": False,
            "set_status_on_exception": False,
        }

    async def __call__(self, x: Any) -> Any:
        """The answer for one input; raises what the call raises."""
        with self._tracer.start_as_current_span(self._name, **self._how) as span:
            try:
                said = await self._ask(x)
            except BaseException as error:
                span.set_attribute("error.type", type(error).__qualname__)
                span.set_status(self._error)
                raise
            told: dict[str, Any] = {"gen_ai.response.model": said.model}
            if said.finish_reason is not None:
                told["gen_ai.response.finish_reasons"] = [said.finish_reason]
            if said.input_tokens is not None:
                told["gen_ai.usage.input_tokens"] = said.input_tokens
                told["gen_ai.usage.output_tokens"] = said.output_tokens
            span.set_attributes(told)
            return said


def _server_of(base_url: str) -> dict[str, Any]:
    parts = urlsplit(base_url)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    return {"server.address": parts.hostname or "", "server.port": port}


def _tracer_of(tracer: Any) -> Tracer:
    trace = require("opentelemetry.trace", "tracing")
    if tracer is None:
        found: Tracer = trace.get_tracer("ttamer_fast", build_info["version"])
        return found
    if not hasattr(tracer, "start_as_current_span"):
        raise ValidationError(f"`tracer` must be a Tracer or None, got {type(tracer).__name__}")
    given: Tracer = tracer
    return given
