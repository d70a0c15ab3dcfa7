"""A span a request, and of calls of language models within it; never what was asked."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from opentelemetry import trace as api
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

import standin_server
import ttamer_fast as tt
from small_cascades import GO_ON, STOP, line, says, stages
from standin_server import StandIn

opentelemetry = tt.integrations.opentelemetry

SECRET = "a secret"


class Traced:
    """A tracer whose spans are kept."""

    def __init__(self) -> None:
        provider = TracerProvider()
        self._exporter = InMemorySpanExporter()
        provider.add_span_processor(SimpleSpanProcessor(self._exporter))
        self.tracer = provider.get_tracer("tests")

    def spans(self, name: str = "ttamer.request") -> list[ReadableSpan]:
        return [span for span in self._exporter.get_finished_spans() if span.name == name]


@pytest.fixture
def traced() -> Traced:
    return Traced()


def attributes(span: ReadableSpan) -> dict[str, Any]:
    return dict(span.attributes or {})


def saying(*said: int, to: Callable[[Any], Any] = lambda x: None) -> list[tt.Stage[Any, Any]]:
    """Coroutine functions that say so, and fail where they say nothing."""

    def run(at: int, one: int) -> Callable[[Any], Any]:
        async def runs(x: Any) -> Any:
            to(x)
            if one < 0:
                raise ConnectionError(f"no luck with {x}")
            return at, x, one

        return runs

    return stages([run(at, one) for at, one in enumerate(said)])


def test_a_span_says_how_a_request_was_decided(traced: Traced) -> None:
    cascade = tt.Cascade(line(), saying(-1, GO_ON, STOP), observers=[opentelemetry.observer(traced.tracer)])
    served = asyncio.run(cascade.acall(SECRET))
    (span,) = traced.spans()
    assert attributes(span) == {
        "ttamer.request_id": served.request_id,
        "ttamer.digest": line().digest,
        "ttamer.outcome": "stopped",
        "ttamer.stage": "stage 2",
        "ttamer.consulted": ("stage 0", "stage 1", "stage 2"),
        "ttamer.recalled": False,
        "ttamer.cost": served.cost,
        "ttamer.expected_loss": served.expected_loss,
        "ttamer.explored": False,
    }
    (event,) = span.events
    assert event.name == "ttamer.failure"
    assert dict(event.attributes or {}) == {"ttamer.stage": "stage 0", "ttamer.error": "ConnectionError"}
    assert span.status.is_unset
    assert span.kind is api.SpanKind.INTERNAL
    assert SECRET not in span.to_json()


def test_reasons_are_told_where_that_is_asked_for(traced: Traced) -> None:
    observer = opentelemetry.observer(traced.tracer, reasons=True)
    asyncio.run(tt.Cascade(line(), saying(-1, STOP, STOP), observers=[observer]).acall(SECRET))
    (event,) = traced.spans()[0].events
    assert (event.attributes or {})["ttamer.error"] == f"ConnectionError: no luck with {SECRET}"


@pytest.mark.parametrize("door", ["call", "acall", "batcher"])
def test_the_span_is_the_current_one_while_its_request_runs(traced: Traced, door: str) -> None:
    def inner(x: Any) -> None:
        with traced.tracer.start_as_current_span("inner", attributes={"x": x}):
            pass

    observer = opentelemetry.observer(traced.tracer)

    def saying_plainly(x: Any) -> Any:
        inner(x)
        return 0, x, STOP

    plain: list[tt.Stage[Any, Any]] = [tt.Stage(saying_plainly, signal=says) for _ in range(3)]
    made = plain if door == "call" else saying(STOP, STOP, STOP, to=inner)
    cascade = tt.Cascade(line(), made, observers=[observer])

    async def serve() -> list[tt.Served[Any]]:
        if door == "acall":
            return list(await asyncio.gather(*[cascade.acall(x) for x in range(5)]))
        async with tt.Batcher(cascade) as batcher:
            return list(await asyncio.gather(*[batcher(x) for x in range(5)]))

    served = [cascade(x) for x in range(5)] if door == "call" else asyncio.run(serve())
    outer = {attributes(span)["ttamer.request_id"]: span for span in traced.spans()}
    assert set(outer) == {one.request_id for one in served}
    parents = {attributes(span)["x"]: span.parent for span in traced.spans("inner")}
    assert len(parents) == 5
    for x, one in enumerate(served):
        parent = parents[x]
        assert parent is not None
        assert parent.span_id == outer[one.request_id].context.span_id
    assert api.get_current_span() is api.INVALID_SPAN


def test_requests_of_a_batch_have_spans_too(traced: Traced) -> None:
    cascade = tt.Cascade(line(), saying(GO_ON, STOP, STOP), observers=[opentelemetry.observer(traced.tracer)])
    table = asyncio.run(cascade.abatch([1, 2, 3]))
    assert [attributes(span)["ttamer.request_id"] for span in traced.spans()] == [one.request_id for one in table]


def test_what_nobody_answers_is_an_error_and_an_abstention_is_none(traced: Traced) -> None:
    observer = opentelemetry.observer(traced.tracer)
    with pytest.raises(tt.NoAnswerError):
        asyncio.run(tt.Cascade(line(), saying(-1, -1, -1), observers=[observer]).acall(SECRET))
    asyncio.run(tt.Cascade(line(0.5), saying(GO_ON, GO_ON, GO_ON), observers=[observer]).acall(1))
    lost, abstained = traced.spans()
    assert (attributes(lost)["ttamer.outcome"], lost.status.status_code) == ("none", api.StatusCode.ERROR)
    assert len(lost.events) == 3
    assert (attributes(abstained)["ttamer.outcome"], abstained.status.is_unset) == ("abstained", True)
    assert "ttamer.stage" not in attributes(abstained)


def test_a_request_that_is_cancelled_ends_its_span(traced: Traced) -> None:
    async def forever(x: Any) -> Any:
        await asyncio.sleep(1000.0)

    cascade = tt.Cascade(line(), stages([forever] * 3), observers=[opentelemetry.observer(traced.tracer)])

    async def cancelled() -> None:
        task = asyncio.create_task(cascade.acall(1))
        await asyncio.sleep(0.0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(cancelled())
    (span,) = traced.spans()
    assert (attributes(span), span.status.status_code) == ({"ttamer.outcome": "none"}, api.StatusCode.ERROR)


def test_without_a_provider_nothing_is_made() -> None:
    cascade = tt.Cascade(line(), saying(STOP, STOP, STOP), observers=[opentelemetry.observer()])
    assert asyncio.run(cascade.acall(1)).output == (0, 1, STOP)


def test_spans_of_a_language_model(traced: Traced) -> None:
    with StandIn(small=[standin_server.says(standin_server.http(standin_server.answer()))]) as server:
        chat = tt.stages.Chat(
            server.url,
            "small",
            messages="{x}",
            signal=lambda said: float(STOP),
            name="stage 0",
            api_key="",
            timeout=5.0,
        )
        seen = opentelemetry.chat_spans(chat, traced.tracer, provider="here")
        assert {name: getattr(seen, name) for name in ("name", "retries", "timeout", "signal", "prediction")} == {
            name: getattr(chat, name) for name in ("name", "retries", "timeout", "signal", "prediction")
        }
        cascade = tt.Cascade(
            line(), [seen, *saying(STOP, STOP, STOP)[1:]], observers=[opentelemetry.observer(traced.tracer)]
        )
        asyncio.run(cascade.acall(SECRET))
        (span,) = traced.spans("chat small")
        (outer,) = traced.spans()
        assert span.kind is api.SpanKind.CLIENT
        assert span.parent is not None
        assert span.parent.span_id == outer.context.span_id
        said = attributes(span)
        assert (said["server.address"], said["gen_ai.provider.name"]) == ("127.0.0.1", "here")
        assert (said["gen_ai.operation.name"], said["gen_ai.request.model"]) == ("chat", "small")
        assert (said["gen_ai.response.model"], said["gen_ai.response.finish_reasons"]) == ("right-1", ("stop",))
        assert (said["gen_ai.usage.input_tokens"], said["gen_ai.usage.output_tokens"]) == (10, 2)
        assert SECRET not in span.to_json()


def test_a_call_that_fails_says_which_error(traced: Traced) -> None:
    chat = tt.stages.Chat("http://127.0.0.1:9/v1", "small", prompt="{x}", api_key="", timeout=5.0)
    seen = opentelemetry.chat_spans(chat, traced.tracer)
    with pytest.raises(tt.stages.EndpointError):
        asyncio.run(seen.run(SECRET))  # type: ignore[arg-type]
    (span,) = traced.spans("text_completion small")
    assert (attributes(span)["error.type"], span.status.status_code) == ("EndpointError", api.StatusCode.ERROR)
    assert (span.events, SECRET in span.to_json()) == ((), False)


def test_bad_arguments() -> None:
    number: Any = 3
    with pytest.raises(tt.ValidationError, match="`tracer` must be a Tracer or None, got int"):
        opentelemetry.observer(number)
    with pytest.raises(tt.ValidationError, match="`reasons` must be True or False, got 1"):
        opentelemetry.observer(reasons=1)  # type: ignore[arg-type]
    others: list[Any] = [tt.Stage(abs, signal=float), 3]
    for other in others:
        with pytest.raises(tt.ValidationError, match="`stage` must be a Chat, got "):
            opentelemetry.chat_spans(other)
