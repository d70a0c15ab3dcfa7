"""Whatever an endpoint does but answer fails the stage with one clear line: no request is lost, none hangs."""

from __future__ import annotations

import asyncio
import json
import socket
from typing import Any

import pytest

import ttamer_fast as tt
from small_cascades import STOP, line
from standin_server import Behaviour, StandIn, after, answer, events, floods, http, plain_answer, says
from ttamer_fast.stages.endpoint import retry_after

LONG = 'a "quoted"\n\x1b[31mline ' + "x" * 1000


def with_logprobs(given: Any) -> Behaviour:
    return says(http(answer(logprobs=given)))


def without(name: str) -> dict[str, Any]:
    return {key: value for key, value in answer().items() if key != name}


FAULTS: dict[str, tuple[Behaviour, str]] = {
    "nothing": (says(b"", closes=True), "the answer broke off: RemoteProtocolError"),
    "no_http": (says(b"\x00\xff garbage\r\n\r\n", closes=True), "the answer broke off: RemoteProtocolError"),
    "half_head": (says(b"HTTP/1.1 200 OK\r\nContent-Le", closes=True), "the answer broke off: RemoteProtocolError"),
    "half_body": (says(http(answer())[:-9], closes=True), "the answer broke off: RemoteProtocolError"),
    "longer": (says(http(b"{}", length=99), closes=True), "the answer broke off: RemoteProtocolError"),
    "garbage": (
        says(http(b"\x80<html>" + LONG.encode())),
        'the answer is no JSON: \N{REPLACEMENT CHARACTER}<html>a "quoted" [31mline x',
    ),
    "half_json": (says(http(b'{"choices": [')), 'the answer is no JSON: {"choices": ['),
    "empty": (says(http(b"")), "the answer is no JSON: an empty answer"),
    "deep": (says(http(b"[" * 200_000)), "the answer is no JSON: [[["),
    "list": (says(http([1])), "the answer is no JSON object: [1]"),
    "error_in_200": (
        says(http({"error": {"message": "overloaded"}})),
        "`choices` must be a list of at least one, got null: {",
    ),
    "no_choice": (says(http({"choices": []})), "`choices` must be a list of at least one, got a list of 0"),
    "choice": (says(http({"choices": ["good"]})), "`choices[0]` must be an object, got text"),
    "no_message": (says(http(answer(message=None))), "`choices[0].message` must be an object, got null"),
    "tool_call": (says(http(answer(message={"content": None}))), "`choices[0].message.content` must be text, got null"),
    "content": (says(http(answer(message={"content": 3}))), "`choices[0].message.content` must be text, got 3"),
    "reason": (says(http(answer(finish_reason=True))), "`choices[0].finish_reason` must be text or null, got true"),
    "no_logprobs": (
        with_logprobs(None),
        "`choices[0].logprobs` must hold the log-probabilities that were asked for, got null",
    ),
    "logprobs": (with_logprobs([1]), "`choices[0].logprobs` must be an object, got a list of 1"),
    "no_content": (with_logprobs({}), "`choices[0].logprobs.content` must be a list, got null"),
    "entry": (with_logprobs({"content": [3]}), "`choices[0].logprobs.content[0]` must be an object, got 3"),
    "token": (
        with_logprobs({"content": [{"logprob": -1}]}),
        "`choices[0].logprobs.content[0].token` must be text, got null",
    ),
    "number": (
        with_logprobs({"content": [{"token": "a", "logprob": "-1"}]}),
        "`choices[0].logprobs.content[0].logprob` must be a number below infinity, got text",
    ),
    "nan": (
        with_logprobs({"content": [{"token": "a", "logprob": float("nan")}]}),
        "`choices[0].logprobs.content[0].logprob` must be a number below infinity, got nan",
    ),
    "enormous": (
        says(http(json.dumps(answer()).replace("-0.5", "-" + "9" * 400).encode())),
        "`choices[0].logprobs.content[0].top_logprobs[0].logprob` must be a number that a float can hold",
    ),
    "top": (
        with_logprobs({"content": [{"token": "a", "logprob": -1, "top_logprobs": [{"token": "a"}]}]}),
        "`choices[0].logprobs.content[0].top_logprobs[0].logprob` must be a number below infinity, got null",
    ),
    "lengths": (
        with_logprobs({"tokens": ["a"], "token_logprobs": []}),
        "`choices[0].logprobs` must hold lists of one length, got 1, 0 and 1",
    ),
    "no_usage": (says(http(without("usage"))), "`usage` must count the tokens, which have a price, got null"),
    "usage": (says(http(answer() | {"usage": 3})), "`usage` must be an object, got 3"),
    "tokens": (
        says(http(answer() | {"usage": {"prompt_tokens": -1}})),
        "`usage.prompt_tokens` must be an integer of at least 0, got -1",
    ),
    "plain": (says(http(plain_answer())), "`choices[0].message` must be an object, got null"),
    "stream": (says(events("good"), closes=True), "the answer is no JSON: : hello data: {"),
    "encoded": (says(http(b"x", Content_Encoding="gzip")), "the answer is encoded as gzip, which was not asked for"),
    "huge": (floods, "an answer of more than 16777216 bytes"),
    "wrong_key": (
        says(http({"error": LONG}, "401 Unauthorized")),
        'status 401 Unauthorized: {"error": "a \\"quoted\\"',
    ),
    "error": (says(http(b"", "500 Internal Server Error")), "status 500 Internal Server Error: an empty answer"),
    "half_error": (says(http(b"oh", "502 Bad Gateway", length=99), closes=True), "status 502 Bad Gateway: oh"),
    "moved": (says(http(b"", "302 Found", Location="/")), "status 302 Found: an empty answer"),
    "own_status": (says(http(b"what", "799 Odd")), "status 799: what"),
    "limited": (
        says(http(b"", "429 Too Many Requests", Retry_After="30")),
        "status 429 Too Many Requests, no request for 30 s",
    ),
    "dated": (
        says(http(b"", "429 Too Many Requests", Retry_After=after(600))),
        "status 429 Too Many Requests, no request for ",
    ),
    "badly_dated": (
        says(http(b"", "429 Too Many Requests", Retry_After="soon")),
        "status 429 Too Many Requests: an empty",
    ),
}


REFUSED = ("wrong_key", "limited", "dated")
"""After these no other attempt is made."""


@pytest.fixture(scope="module")
def server() -> Any:
    with StandIn(**{name: [behaviour] for name, (behaviour, _) in FAULTS.items()}) as running:
        yield running


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_fails_the_stage_and_the_request_is_answered(server: StandIn, name: str) -> None:
    fallback: tt.Stage[Any, Any] = tt.Stage(lambda x: "fallback", signal=lambda output: STOP)
    chat = tt.stages.Chat(server.url, name, messages="{x}", price=(1.0, 1.0), timeout=60.0, retries=1, backoff=0.0)
    before = len(server.requests)
    served = asyncio.run(tt.Cascade(line(), [chat, fallback, fallback]).acall("a film"))
    assert (served.output, served.consulted, served.outcome) == ("fallback", (0, 1), "stopped")
    reason = served.failures[0]
    assert reason.startswith(f"{'RefusedError' if name in REFUSED else 'EndpointError'}: {FAULTS[name][1]}")
    assert len(server.requests) - before == (1 if name in REFUSED else 2)
    assert reason.isprintable()
    assert len(reason) <= 300


def test_many_faults_at_once_lose_no_request(server: StandIn) -> None:
    """Of a batch, each row by itself; of the circuit, once it is open, all."""

    async def serve() -> tt.ServedBatch[Any]:
        return await tt.Cascade(line(), [chat, fallback, fallback]).abatch(list(range(40)))

    fallback: tt.Stage[Any, Any] = tt.Stage(lambda x: "fallback", signal=lambda output: STOP)
    breaker = tt.Breaker(failures=1000)
    chat = tt.stages.Chat(server.url, "nothing", messages="{x}", retries=1, backoff=0.0, breaker=breaker)
    table = asyncio.run(serve())
    assert list(table.outputs) == ["fallback"] * 40


def test_an_address_where_nobody_is() -> None:
    with socket.socket() as taken:  # bound and not listening: nobody else can be there
        taken.bind(("127.0.0.1", 0))
        chat = tt.stages.Chat(f"http://127.0.0.1:{taken.getsockname()[1]}/v1", "small", messages="{x}")
        with pytest.raises(tt.stages.EndpointError, match="cannot be reached: ConnectError: ") as error:
            asyncio.run(chat.run("a film"))
    assert (error.value.status, error.value.retry_after) == (None, None)


def test_when_to_ask_again() -> None:
    now = "Fri, 27 Nov 2026 10:00:00 GMT"
    assert retry_after("1.5", None) == 1.5
    assert retry_after("-3", None) == 0.0
    assert retry_after("Fri, 27 Nov 2026 10:01:30 GMT", now) == 90.0
    assert retry_after("Fri, 27 Nov 2026 09:00:00 GMT", now) == 0.0
    assert retry_after("Fri, 27 Nov 2026 10:00:01", now) == 1.0
    soon = retry_after(after(100.0), "no date")
    assert soon is not None
    assert 50.0 < soon <= 100.0
    for nothing in (None, "", "soon", "nan", "inf", "Fri, 99 Nov 2026 10:00:00 GMT"):
        assert retry_after(nothing, now) is None
