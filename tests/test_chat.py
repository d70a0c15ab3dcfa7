"""A language model behind an endpoint as a stage: what is sent, what is read, who may wait, what is closed.

The endpoint is a stand-in with canned answers; `test_llama_server` asks a real one.
"""

from __future__ import annotations

import asyncio
import copy
import logging
import math
import pickle
import time
from collections.abc import Iterator
from contextlib import aclosing
from typing import Any

import pytest

import ttamer_fast as tt
from small_cascades import STOP, line
from standin_server import StandIn, after, answer, drips, events, http, plain_answer, says, waits

KEY = "sk-a-secret-of-somebody"
SOON = 20.0
"""Seconds for what takes a moment on an idle machine."""


@pytest.fixture(scope="module")
def server() -> Iterator[StandIn]:
    with StandIn(
        right=[says(http(answer()))],
        plain=[says(http(plain_answer()))],
        free=[says(http(answer(logprobs=None)))],
        stuck=[waits()],
        half=[waits(http(answer())[:-20])],
        barred=[says(http({"error": "slow down"}, "503 Service Unavailable", Retry_After="30"))],
        dated=[says(http({}, "429 Too Many Requests", Retry_After=after(90.0)))],
        moody=[says(b"", closes=True), says(http({}, "500 Internal Server Error")), says(http(answer()))],
        slow=[drips],
        echo=[says(http({"error": f"wrong key: {KEY}"}, "401 Unauthorized"))],
        stream=[says(events("go", "od"), closes=True)],
        broken=[says(events("go", tail=b'data: {"choices": [{"delta"'), closes=True)],
        stands=[waits(events("go", tail=b""))],
        misshapen=[says(events(tail=b'data: {"error": "overloaded"}\n\n'), closes=True)],
    ) as running:
        yield running


def chat(server: StandIn, model: str, **options: Any) -> tt.stages.Chat:
    given: dict[str, Any] = {"messages": "About {x}: good or bad?", "timeout": SOON} | options
    return tt.stages.Chat(server.url, model, **given)


def ask(stage: tt.stages.Chat, x: Any = "a film") -> tt.stages.Completion:
    return asyncio.run(stage.run(x))


def cascade(first: tt.stages.Chat) -> tt.Cascade[Any, Any]:
    """One whose second stage answers where the first one fails."""
    fallback: tt.Stage[Any, Any] = tt.Stage(lambda x: "fallback", signal=lambda output: STOP)
    return tt.Cascade(line(), [first, fallback, fallback])


def test_what_is_sent_and_what_is_read(server: StandIn) -> None:
    stage = chat(
        server,
        "right",
        api_key=KEY,
        max_tokens=3,
        temperature=0,
        top_logprobs=2,
        price=(2.0, 8.0),
        parameters={"seed": 1},
    )
    said = ask(stage)
    path, headers, body = server.requests[-1]
    assert path == "/v1/chat/completions"
    assert headers["authorization"] == f"bearer {KEY}"
    message = {"role": "user", "content": "About a film: good or bad?"}
    expected = {"model": "right", "messages": [message], "logprobs": True, "top_logprobs": 2}
    assert body == expected | {"seed": 1, "max_tokens": 3, "temperature": 0.0} == stage.request("a film")
    assert said == tt.stages.Completion(
        "good", ("good",), (-0.5,), ({"good": -0.5, "bad": -1.5},), 10, 2, 36.0, "stop", "right-1"
    )
    assert stage.prediction is not None
    assert (stage.signal(said), stage.prediction(said)) == (-0.5, "good")
    assert said.log_odds("good", ["bad", "worse"]) == 1.0
    assert said.log_odds("good", "worse") == 1.0  # at most as likely as the least likely token listed
    assert math.isnan(said.log_odds("fine", "worse"))
    assert math.isnan(said.log_odds("good", "bad", at=1))


def test_base_models_go_on_with_a_prompt(server: StandIn) -> None:
    stage = chat(server, "plain", messages=None, prompt=lambda x: f"{x}, is it")
    said = ask(stage)
    path, headers, body = server.requests[-1]
    assert (path, body) == ("/v1/completions", {"model": "plain", "prompt": "a film, is it", "logprobs": 1})
    assert "authorization" not in headers
    assert (said.text, said.tokens, said.logprobs) == ("good", ("go", "od"), (-0.25, -0.75))
    assert said.top_logprobs == ({"go": -0.25}, {})
    assert (said.input_tokens, said.cost, said.finish_reason, said.model) == (None, None, "length", "plain")
    assert stage.signal(said) == -0.5


def test_messages_may_be_a_list_and_need_no_log_probabilities(server: StandIn) -> None:
    written = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "{x}"}]
    said = ask(chat(server, "free", messages=lambda x: written, logprobs=False, signal=lambda said: 0.5))
    assert server.requests[-1][2] == {"model": "free", "messages": written}
    assert (said.text, said.tokens, said.logprobs) == ("good", (), ())
    for wrong in ([], [1], 3, None):
        with pytest.raises(tt.ValidationError, match="`messages` must return text or a list of objects"):
            ask(chat(server, "right", messages=lambda x, wrong=wrong: wrong))
    with pytest.raises(tt.ValidationError, match="`prompt` must return text, got list"):
        ask(chat(server, "right", messages=None, prompt=lambda x: written))


def test_a_cascade_is_answered(server: StandIn) -> None:
    served = asyncio.run(cascade(chat(server, "right", signal=lambda said: STOP)).acall("a film", deadline=SOON))
    assert served.output is not None
    assert (served.stage, served.output.text, served.prediction[0]) == (0, "good", "good")


def test_a_time_out_hangs_up(server: StandIn) -> None:
    for model in ("stuck", "half", "slow"):
        served = asyncio.run(cascade(chat(server, model, timeout=0.3)).acall("a film"))
        assert (served.stage, served.outcome) == (1, "stopped")
        assert served.failures == {0: "time-out after 0.3 s"}
    assert server.left.acquire(timeout=SOON)
    assert server.left.acquire(timeout=SOON)


def test_a_deadline_hangs_up(server: StandIn) -> None:
    with pytest.raises(tt.NoAnswerError, match=r"cut off by the deadline after 0.3 s"):
        asyncio.run(cascade(chat(server, "stuck")).acall("a film", deadline=0.3))
    assert server.left.acquire(timeout=SOON)


def test_a_caller_that_is_cancelled_hangs_up(server: StandIn) -> None:
    async def leave() -> None:
        task = asyncio.create_task(cascade(chat(server, "stuck")).acall("a film"))
        await asyncio.sleep(0.2)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        # While the loop goes on and the client is open.
        assert await asyncio.to_thread(server.left.acquire, timeout=SOON)

    asyncio.run(leave())


def test_retries_are_those_of_the_stage(server: StandIn) -> None:
    stage = chat(server, "moody", signal=lambda said: STOP, retries=2, backoff=0.001)
    served = asyncio.run(cascade(stage).acall("a film"))
    assert (served.stage, served.failures) == (0, {})


@pytest.mark.parametrize("deadline", [None, SOON])
def test_a_short_retry_after_is_waited_for(server: StandIn, deadline: float | None) -> None:
    server.behaviours["limited"] = [says(http({}, "429 Too Many Requests", Retry_After="0.3")), says(http(answer()))]
    stage = chat(server, "limited", signal=lambda said: STOP, retries=1, backoff=0.0)
    begun = time.monotonic()
    served = asyncio.run(cascade(stage).acall("a film", deadline=deadline))
    assert (served.stage, served.failures) == (0, {})
    assert time.monotonic() - begun >= 0.3


@pytest.mark.parametrize(("model", "status"), [("barred", 503), ("dated", 429)])
def test_a_long_retry_after_fails_at_once_and_nothing_is_sent_until_then(
    server: StandIn, model: str, status: int
) -> None:
    stage = chat(server, model, retries=2, backoff=0.001)
    before, begun = len(server.requests), time.monotonic()

    async def twice() -> list[Any]:
        with pytest.raises(tt.stages.EndpointError) as first:
            await stage.run("a film")
        return [first.value, await cascade(stage).acall("a film")]

    error, served = asyncio.run(twice())
    assert time.monotonic() - begun < SOON
    assert len(server.requests) == before + 1
    assert error.status == status
    assert 25.0 < error.retry_after <= 90.0
    assert served.stage == 1
    assert "not asked: no request for another" in served.failures[0]


@pytest.mark.parametrize(("timeout", "deadline"), [(0.5, None), (SOON, 0.5)])
def test_a_wait_beyond_what_is_left_is_not_begun(server: StandIn, timeout: float, deadline: float | None) -> None:
    server.behaviours["limited"] = [says(http({}, "429 Too Many Requests", Retry_After="0.9"))]
    stage = chat(server, "limited", timeout=timeout, retries=1, backoff=0.0)
    served = asyncio.run(cascade(stage).acall("a film", deadline=deadline))
    assert served.outcome == "stopped"  # before the time-out, and before the deadline
    assert served.failures == {0: "RefusedError: status 429 Too Many Requests, no request for 0.9 s: {}"}


@pytest.mark.parametrize("door", ["acall", "abatch", "batcher"])
def test_what_is_left_is_known_behind_every_door(server: StandIn, door: str) -> None:
    server.behaviours["far"] = [says(http({}, "429 Too Many Requests", Retry_After="90"))]
    flow = cascade(chat(server, "far", longest_wait=600.0, retries=3, backoff=0.0, timeout=600.0))

    async def serve() -> Any:
        if door == "acall":
            return await flow.acall("a film", deadline=SOON)
        if door == "abatch":
            return (await flow.abatch(["a film"], deadline=SOON))[0]
        async with tt.Batcher(flow) as batcher:
            return await batcher("a film", deadline=SOON)

    begun, before = time.monotonic(), len(server.requests)
    served = asyncio.run(serve())
    assert (served.stage, served.outcome) == (1, "stopped")
    assert served.failures[0].startswith("RefusedError: status 429 Too Many Requests, no request for 90 s")
    assert (len(server.requests) - before, time.monotonic() - begun < SOON) == (1, True)


def test_an_endpoint_that_says_nothing_fails_outside_a_cascade_too(server: StandIn) -> None:
    with pytest.raises(tt.stages.EndpointError, match=r"nothing came for 0\.2 s") as error:
        ask(chat(server, "stuck", timeout=0.2))
    assert not isinstance(error.value, tt.PermanentError)
    with pytest.raises(tt.stages.EndpointError, match=r"nothing came for 0\.2 s"):
        ask(chat(server, "half", timeout=0.2))


@pytest.mark.parametrize("status", [400, 401, 403, 404, 408, 409, 422, 425, 429, 500, 503, 302])
def test_who_is_refused_is_not_tried_again(server: StandIn, status: int) -> None:
    server.behaviours["status"] = [says(http({}, f"{status} Of Some Kind"))]
    is_final = status in (400, 401, 403, 404, 422)
    before = len(server.requests)
    served = asyncio.run(cascade(chat(server, "status", retries=2, backoff=0.0)).acall("a film"))
    assert served.failures[0].startswith(f"{'RefusedError' if is_final else 'EndpointError'}: status {status}")
    assert len(server.requests) - before == (1 if is_final else 3)
    with pytest.raises(tt.stages.EndpointError) as error:
        ask(chat(server, "status"))
    assert isinstance(error.value, tt.PermanentError) is is_final
    again = pickle.loads(pickle.dumps(error.value))
    assert (type(again), str(again), again.status) == (type(error.value), str(error.value), status)


def test_connections_are_shared_limited_and_closed(server: StandIn) -> None:
    async def many() -> set[str]:
        server.most_connections = server.connections
        before = server.connections
        async with chat(server, "right", connections=2) as stage:
            answers = await asyncio.gather(*(stage.run(i) for i in range(20)))
            assert server.most_connections - before <= 2
        await gone()
        await stage.run("again")  # opens another one, which the end of the loop closes
        return {said.text for said in answers}

    async def gone() -> None:
        async with asyncio.timeout(SOON):
            while server.connections:
                await asyncio.sleep(0.01)

    assert asyncio.run(many()) == {"good"}
    asyncio.run(gone())


def test_one_stage_serves_several_loops(server: StandIn) -> None:
    stage = chat(server, "right")
    first, second = asyncio.new_event_loop(), asyncio.new_event_loop()
    for _ in range(2):
        for loop in (first, second):
            assert loop.run_until_complete(stage.run("a film")).text == "good"
    for loop in (first, second):
        loop.run_until_complete(stage.aclose())
        loop.close()
    assert ask(stage).text == "good"
    assert len(stage.run.endpoint._opened) == 1  # of the last loop: clients of closed loops are let go


def test_a_batcher_asks_for_many_at_a_time(server: StandIn) -> None:
    async def serve() -> list[Any]:
        flaky = tt.Cascade(line(), [chat(server, "broken"), chat(server, "right", signal=lambda said: STOP), last])
        async with tt.Batcher(flaky) as batcher:
            return await asyncio.gather(*(batcher(x, deadline=SOON) for x in range(30)))

    last = chat(server, "right")
    answers = asyncio.run(serve())
    assert [(one.stage, list(one.failures)) for one in answers] == [(1, [0])] * 30


def test_a_stream_comes_in_pieces_and_ends_with_the_whole(server: StandIn) -> None:
    async def listen() -> list[str]:
        return [piece async for piece in stage.stream("a film", whole.append)]

    whole: list[tt.stages.Completion] = []
    stage = chat(server, "stream", price=(1.0, 10.0))
    assert asyncio.run(listen()) == ["go", "od"]
    (said,) = whole
    assert (said.text, said.tokens, said.logprobs, said.cost, said.finish_reason) == (
        "good",
        ("go", "od"),
        (-0.5, -0.5),
        23.0,
        "stop",
    )
    body = server.requests[-1][2]
    assert (body["stream"], body["stream_options"]) == (True, {"include_usage": True})


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        ("broken", "the stream broke off: : hello data: {"),
        ("stands", "the stream stood still for 0.3 s"),
        ("misshapen", "`choices` must be a list of at least one, got null: {.error.: .overloaded.}"),
        ("right", "the stream broke off: an empty answer"),
        ("barred", "status 503 Service Unavailable, no request for 30 s: {.error.: .slow down.}"),
    ],
)
def test_a_stream_that_is_none(server: StandIn, model: str, reason: str) -> None:
    async def listen() -> None:
        async with aclosing(chat(server, model, timeout=0.3).stream("a film", whole.append)) as pieces:
            async for piece in pieces:
                heard.append(piece)

    heard: list[str] = []
    whole: list[tt.stages.Completion] = []
    with pytest.raises(tt.stages.EndpointError, match=reason):
        asyncio.run(listen())
    assert heard == (["go"] if model in ("broken", "stands") else [])
    assert whole == []


def test_a_listener_that_leaves_hangs_up(server: StandIn) -> None:
    async def listen() -> None:
        async with aclosing(chat(server, "stands").stream("a film")) as pieces:
            assert await anext(pieces) == "go"
        assert await asyncio.to_thread(server.left.acquire, timeout=SOON)

    while server.left.acquire(blocking=False):
        pass
    asyncio.run(listen())


def test_the_key_is_never_told(server: StandIn, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    stage = chat(server, "echo", api_key=f" {KEY}\n")
    served = asyncio.run(cascade(stage).acall("a film"))
    assert served.failures[0] == 'RefusedError: status 401 Unauthorized: {"error": "wrong key: [key]"}'
    told = [repr(stage), repr(stage.run), repr(tt.Cascade(line(), [stage] * 3)), caplog.text]
    assert not any(KEY in text for text in told)
    assert copy.deepcopy(stage).request("x") == stage.request("x")
    with pytest.raises(TypeError, match="`api_key` is not pickled: leave it to the environment variable"):
        pickle.dumps(stage)
    with pytest.raises(tt.ValidationError) as wrong:
        chat(server, "right", api_key=f"{KEY} {KEY}")
    assert str(wrong.value) == "`api_key` must be of visible ASCII characters"


def test_the_key_of_the_environment_is_for_https_alone(server: StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    ask(chat(server, "right"))
    assert "authorization" not in server.requests[-1][1]
    secure = tt.stages.Chat("https://127.0.0.1:9/v1", "right", messages="{x}")
    assert secure.run.endpoint._key == KEY
    with pytest.raises(tt.stages.EndpointError, match="cannot be reached: ConnectError"):
        ask(secure)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"base_url": "ftp://host/v1"}, "`base_url` must be an http or https address, got 'ftp://host/v1'"),
        (
            {"base_url": "http://host:99999/v1"},
            "`base_url` must be an http or https address, got 'http://host:99999/v1'",
        ),
        ({"base_url": 3}, "`base_url` must be an http or https address, got 3"),
        ({"base_url": "http://me:it@host"}, "`base_url` must have no user and no password: `api_key` is sent"),
        ({"base_url": "http://host?key=1"}, "`base_url` must have no query and no fragment, got 'http://host?key=1'"),
        ({"api_key": 3}, "`api_key` must be a string or None, got int"),
        ({"model": ""}, "`model` must be the name of a model, got ''"),
        ({"messages": None}, "one of `messages` and `prompt` must be given, and not both"),
        ({"prompt": "{x}"}, "one of `messages` and `prompt` must be given, and not both"),
        ({"messages": "hello"}, "`messages` must have {x} where the input goes, got 'hello'"),
        ({"messages": 3}, "`messages` must be a template or a function, got int"),
        ({"logprobs": False}, "`signal` must be given where `logprobs` is False"),
        ({"logprobs": 1}, "`logprobs` must be True or False, got 1"),
        ({"top_logprobs": 0}, "`top_logprobs` must be an integer of at least 1, got 0"),
        ({"max_tokens": 0}, "`max_tokens` must be an integer of at least 1, got 0"),
        ({"temperature": -1.0}, "`temperature` must be finite and at least 0, got -1.0"),
        ({"price": (1.0, -1.0)}, "`price[1]` must be finite and at least 0, got -1.0"),
        ({"price": 1.0}, "`price` must be two numbers, of a token read and of one written, got 1.0"),
        (
            {"parameters": {"stream": True}},
            "`parameters` must not have 'stream': it has an argument of its own, or none",
        ),
        ({"parameters": {"seed": math.nan}}, "`parameters` must be what JSON can hold: "),
        ({"parameters": 3}, "`parameters` must be a mapping, got int"),
        ({"connections": 0}, "`connections` must be an integer of at least 1, got 0"),
        ({"longest_wait": -1.0}, "`longest_wait` must be finite and at least 0, got -1.0"),
        ({"timeout": 0.0}, "`timeout` must be above 0 and finite, got 0.0"),
        ({"retries": -1}, "`retries` must be an integer of at least 0, got -1"),
    ],
)
def test_wrong_arguments_are_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(tt.ValidationError) as error:
        tt.stages.Chat(**({"base_url": "http://host/v1", "model": "small", "messages": "{x}"} | arguments))
    assert str(error.value).startswith(message)
