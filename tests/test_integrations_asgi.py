"""A cascade behind HTTP: answers, and what is said where there is none."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

import ttamer_fast as tt
import virtual_loop
from http_application import TOKEN, asking, bearer, talking_to
from small_cascades import GO_ON, STOP, line, says, stages

asgi = tt.integrations.asgi


def answering(*said: int) -> list[tt.Stage[Any, Any]]:
    """Stages that say so, for every input."""

    def run(at: int, one: int) -> Callable[[Any], Any]:
        async def runs(x: Any) -> Any:
            return at, x, one

        return runs

    return stages([run(at, one) for at, one in enumerate(said)])


async def failing(x: Any) -> Any:
    raise RuntimeError(f"no luck with {x}")


async def going_on(x: Any) -> Any:
    return 0, x, GO_ON


def cascade(*runs: Callable[[Any], Any], **options: Any) -> tt.Cascade[Any, Any]:
    return tt.Cascade(line(), stages(runs) if runs else answering(GO_ON, STOP, STOP), **options)


def application(served: tt.Cascade[Any, Any] | None = None, **options: Any) -> Any:
    """JSON in, JSON out."""
    given = {"decode": json.loads, "encode": lambda served: {"output": served.output}, **options}
    return asgi.app(cascade() if served is None else served, **given)


def ask(made: Any, content: Any = b"7", headers: dict[str, str] | None = None, method: str = "POST") -> Any:
    """The answer to one request."""

    async def asked() -> Any:
        async with asking(made) as client:
            return await client.request(method, "/predict", content=content, headers=headers)

    return virtual_loop.run(asked())


def test_an_answer_says_how_it_came_about() -> None:
    answer = ask(application())
    assert (answer.status_code, answer.json()) == (200, {"output": [1, 7, STOP]})
    told = {name: value for name, value in answer.headers.items() if name.startswith("x-ttamer")}
    assert len(told.pop("x-ttamer-request-id")) > 8
    assert told == {"x-ttamer-stage": "stage 1", "x-ttamer-outcome": "stopped", "x-ttamer-recalled": "false"}


def test_an_abstained_request_has_no_stage_and_an_earlier_answer_is_recalled() -> None:
    abstaining = tt.Cascade(line(0.5), answering(GO_ON, GO_ON, GO_ON))
    answer = ask(application(abstaining))
    assert answer.json() == {"output": None}
    assert (answer.headers["x-ttamer-outcome"], "x-ttamer-stage" in answer.headers) == ("abstained", False)
    failed = ask(application(cascade(going_on, failing, failing)))
    assert (failed.headers["x-ttamer-outcome"], failed.headers["x-ttamer-stage"]) == ("failed", "stage 0")


def test_bytes_have_the_type_that_was_asked_for() -> None:
    encode = lambda served: repr(served.output).encode()  # noqa: E731
    answer = ask(application(encode=encode, media_type="text/x-python"))
    assert (answer.content, answer.headers["content-type"][:13]) == (b"(1, 7, 1)", "text/x-python")
    assert ask(application(encode=encode)).headers["content-type"] == "application/octet-stream"


def test_names_of_stages_are_told_in_any_script() -> None:
    trace = tt.Trace([[0.1], [0.9]] * 30, [[0.3], [0.2]] * 30, [1.0], stages=["größte %\n"])
    one = tt.Cascade(tt.fit(trace, tradeoff=0.9), [tt.Stage(lambda x: x, signal=lambda y: 0.5)])
    assert ask(application(one, deadline=None)).headers["x-ttamer-stage"] == "gr%C3%B6%C3%9Fte %25%0A"


@pytest.mark.parametrize(
    ("options", "content", "status", "said"),
    [
        ({}, b"{", 400, "the body cannot be read: JSONDecodeError: "),
        ({}, b"\xff\xff", 400, "the body cannot be read: UnicodeDecodeError: "),
        (
            {"decode": lambda body: json.loads(body)["text"]},
            b'{"a": 1}',
            422,
            "the body is not what is served: KeyError: 'text'",
        ),
        ({"decode": int}, b"one", 422, "the body is not what is served: ValueError: invalid literal"),
        ({"max_body": 3}, b"1234", 413, "the body must have 3 bytes at most"),
    ],
)
def test_bad_input_is_one_line(options: dict[str, Any], content: bytes, status: int, said: str) -> None:
    answer = ask(application(**options), content)
    assert answer.status_code == status
    assert list(answer.json()) == ["error"]
    assert answer.json()["error"].startswith(said)
    assert "\n" not in answer.json()["error"]


def test_a_long_body_is_read_no_further_than_it_may_be() -> None:
    sent: list[int] = []

    async def pieces() -> AsyncIterator[bytes]:
        for at in range(1000):
            sent.append(at)
            yield b"0" * 1000

    assert ask(application(max_body=10_000), pieces()).status_code == 413
    assert len(sent) == 11
    assert ask(application(max_body=10_000, decode=len), b"0" * 10_000).json() == {"output": [1, 10_000, STOP]}


@pytest.mark.parametrize("given", ["soon", "0", "-1", "nan", ""])
def test_a_deadline_that_is_none(given: str) -> None:
    answer = ask(application(), headers={"x-ttamer-deadline": given})
    assert (answer.status_code, answer.json()) == (
        400,
        {"error": f"`x-ttamer-deadline` must be seconds above 0, got {given!r}"},
    )


@pytest.mark.parametrize("broken", ["decode", "encode"])
@pytest.mark.parametrize("error", [ZeroDivisionError("secret"), AttributeError("secret")])
def test_functions_that_break_are_in_the_log_alone(
    broken: str, error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    def breaks(_: Any) -> Any:
        raise error

    options: dict[str, Any] = {broken: breaks}
    answer = ask(application(**options))
    assert (answer.status_code, answer.json()) == (500, {"error": f"`{broken}` broke"})
    (record,) = caplog.records
    assert (record.name, record.levelno, record.exc_info and record.exc_info[1]) == (
        "ttamer_fast.integrations.asgi",
        logging.ERROR,
        error,
    )


@pytest.mark.parametrize("encoded", [float("nan"), object(), None, {1, 2}])
def test_what_cannot_be_sent(encoded: Any, caplog: pytest.LogCaptureFixture) -> None:
    answer = ask(application(encode=lambda served: encoded))
    assert (answer.status_code, answer.json()) == (500, {"error": "`encode` broke"})
    assert len(caplog.records) == 1


def test_no_answer_has_the_reasons() -> None:
    answer = ask(application(cascade(failing, failing, failing)))
    assert answer.status_code == 503
    reasons = {f"stage {stage}": "RuntimeError: no luck with 7" for stage in range(3)}
    assert answer.json() == {"error": "no stage answered", "failures": reasons}


async def sleeping(x: Any) -> Any:
    await asyncio.sleep(x)
    return 0, x, STOP


@pytest.mark.parametrize(
    ("asked", "most", "x", "status"),
    [(None, 30.0, 40, 504), ("1.5", 30.0, 2, 504), ("90", 30.0, 40, 504), ("9", None, 8, 200)],
)
def test_a_request_may_ask_for_less_time_than_the_server_gives(
    asked: str | None, most: float | None, x: int, status: int
) -> None:
    headers = {} if asked is None else {"x-ttamer-deadline": asked}
    made = application(cascade(sleeping, failing, failing), deadline=most)

    async def timed() -> tuple[Any, float]:
        async with asking(made) as client:
            began = asyncio.get_running_loop().time()
            answer = await client.post("/predict", content=str(x), headers=headers)
            return answer, asyncio.get_running_loop().time() - began

    answer, seconds = virtual_loop.run(timed())
    assert answer.status_code == status
    if status == 504:
        assert answer.json()["error"] == "no stage answered in time"
        assert seconds == pytest.approx(min(float(asked or 30.0), most or 1e9))


def test_requests_are_batched_and_too_many_are_sent_away() -> None:
    sizes = []

    async def run_batch(xs: list[Any]) -> list[Any]:
        sizes.append(len(xs))
        await asyncio.sleep(1.0)
        return [(0, x, STOP) for x in xs]

    batched = tt.Stage(failing, batch=run_batch, signal=says)
    served = tt.Cascade(line(), [batched, *answering(STOP, STOP, STOP)[1:]])

    async def crowd() -> list[Any]:
        async with asking(application(served, batcher={"max_batch": 4, "max_pending": 6})) as client:
            return await asyncio.gather(*[client.post("/predict", content=str(x)) for x in range(9)])

    answers = virtual_loop.run(crowd())
    assert sorted(answer.status_code for answer in answers) == [200] * 6 + [429] * 3
    assert sum(sizes) == 6
    assert max(sizes) == 4
    refused = [answer for answer in answers if answer.status_code == 429]
    assert {(one.headers["retry-after"], one.json()["error"]) for one in refused} == {
        ("1", "too many requests are inside")
    }


def test_a_stage_that_breaks_the_rules_is_no_fault_of_the_caller(caplog: pytest.LogCaptureFixture) -> None:
    short = tt.Stage(failing, batch=lambda xs: [], signal=says)
    answer = ask(application(tt.Cascade(line(), [short, *answering(STOP, STOP, STOP)[1:]])))
    assert (answer.status_code, answer.json()) == (500, {"error": "a stage broke"})
    assert len(caplog.records) == 1


def test_health_from_before_the_start_to_after_the_end() -> None:
    made = application()

    async def followed() -> list[tuple[int, int, int]]:
        async def look() -> None:
            answers = [await client.get(f"/v2/health/{what}") for what in ("live", "ready")]
            answers.append(await client.post("/predict", content=b"7"))
            seen.append((answers[0].status_code, answers[1].status_code, answers[2].status_code))

        seen: list[tuple[int, int, int]] = []
        async with talking_to(made) as client:
            for _ in range(2):
                await look()
                async with made.router.lifespan_context(made):
                    await look()
            await look()
        return seen

    asleep, awake = (200, 503, 503), (200, 200, 200)
    assert virtual_loop.run(followed()) == [asleep, awake, asleep, awake, asleep]


def test_shutdown_answers_who_is_inside(tmp_path: Path) -> None:
    with tt.RecordLog(tmp_path, flush_seconds=1000.0) as log:
        served = cascade(sleeping, failing, failing, record=log)
        made = application(served)

        async def closing() -> list[Any]:
            async with talking_to(made) as client:
                async with made.router.lifespan_context(made):
                    inside = asyncio.create_task(client.post("/predict", content=b"5"))
                    await asyncio.sleep(1.0)
                    late = asyncio.create_task(later(client))
                return [await inside, *await late]

        async def later(client: Any) -> list[Any]:
            await asyncio.sleep(1.0)
            return [await client.get("/v2/health/ready"), await client.post("/predict", content=b"5")]

        inside, ready, refused = virtual_loop.run(closing())
        assert (inside.status_code, inside.json()) == (200, {"output": [0, 5, STOP]})
        assert (ready.status_code, ready.json()["state"]) == (503, "shutting down")
        assert (refused.status_code, refused.json()) == (503, {"error": "the server is shutting down"})
        assert (log.written, log.pending, log.closed) == (1, 0, False)


def test_who_takes_too_long_to_end_is_cut_off(caplog: pytest.LogCaptureFixture) -> None:
    made = application(cascade(sleeping, failing, failing), drain=2.0, deadline=None)

    async def closing() -> tuple[Any, float]:
        async with talking_to(made) as client:
            async with made.router.lifespan_context(made):
                inside = asyncio.create_task(client.post("/predict", content=b"100"))
                await asyncio.sleep(1.0)
            return await inside, asyncio.get_running_loop().time()

    inside, ended = virtual_loop.run(closing())
    assert (inside.status_code, inside.json()) == (503, {"error": "the server is shutting down"})
    assert 3.0 <= ended < 4.5
    assert "cut off" in caplog.text


def test_exploration_ends_before_the_server_does(tmp_path: Path) -> None:
    async def stopping(x: Any) -> Any:
        return 0, x, STOP

    async def slow(x: Any) -> Any:
        await asyncio.sleep(5.0)
        return 1, x, STOP

    with tt.RecordLog(tmp_path) as log:
        served = cascade(stopping, slow, slow, record=log, explore=1.0)
        assert ask(application(served)).json() == {"output": [0, 7, STOP]}
        report = served.exploration_report()
        assert (report.under_way, report.runs) == (0, {"stage 0": 0, "stage 1": 1, "stage 2": 1})
        assert (log.written, log.pending) == (1, 0)


def test_a_batcher_of_somebody_else_stays_open() -> None:
    served = cascade()

    async def shared() -> tuple[Any, Any]:
        async with tt.Batcher(served) as batcher:
            async with asking(application(served, batcher=batcher)) as client:
                answer = await client.post("/predict", content=b"7")
            return answer, await batcher(8)

    answer, after = virtual_loop.run(shared())
    assert (answer.json(), after.output) == ({"output": [1, 7, STOP]}, (1, 8, STOP))
    made = application(served, batcher=tt.Batcher(served))
    assert ask(made).status_code == 200


def test_pages_that_are_not_there() -> None:
    async def looked() -> list[tuple[int, Any]]:
        async with asking(application()) as client:
            answers = [await client.get("/predict"), await client.get("/nothing")]
            return [(answer.status_code, answer.json()) for answer in answers]

    assert virtual_loop.run(looked()) == [(405, {"error": "method not allowed"}), (404, {"error": "not found"})]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"decode": 1}, "`decode` must be callable, got int"),
        ({"encode": None}, "`encode` must be callable, got NoneType"),
        ({"token": "short"}, "`token` must be 16 printable ASCII characters or more, without spaces"),
        ({"token": "with a space in between"}, "`token` must be 16 printable ASCII characters or more, without spaces"),
        ({"token": b"0123456789abcdef"}, "`token` must be text or None, got bytes"),
        ({"deadline": 0.0}, "`deadline` must be above 0 and finite, got 0.0"),
        ({"max_body": 0}, "`max_body` must be an integer of at least 1, got 0"),
        ({"drain": float("inf")}, "`drain` must be above 0 and finite, got inf"),
        ({"batcher": 3}, "`batcher` must be a Batcher, a mapping or None, got int"),
        ({"batcher": {"max_batch": 0}}, "`max_batch` must be an integer of at least 1, got 0"),
        ({"batcher": tt.Batcher(cascade())}, "`batcher` must be of `cascade`, got one of another cascade"),
    ],
)
def test_bad_arguments(options: dict[str, Any], message: str) -> None:
    with pytest.raises(tt.ValidationError) as raised:
        application(**options)
    assert str(raised.value) == message


def test_an_argument_that_no_batcher_has() -> None:
    with pytest.raises(tt.ValidationError, match=r"`batcher` must have arguments of a Batcher: .*'most'"):
        application(batcher={"most": 3})
    with pytest.raises(tt.ValidationError, match="`cascade` must be a Cascade, got int"):
        application(3)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 401),
        (bearer("another-token-of-nobody"), 401),
        (bearer(TOKEN[:-1]), 401),
        ({"authorization": f"Basic {TOKEN}"}, 401),
        ({"authorization": TOKEN}, 401),
        ({"authorization": "Bearer gr\u00f6\u00dfte"}, 401),
        (bearer(), 200),
    ],
)
@pytest.mark.parametrize("token", [TOKEN, None])
def test_the_policy_is_for_who_has_the_token(headers: dict[str, str], status: int, token: str | None) -> None:
    async def looked() -> Any:
        async with asking(application(token=token)) as client:
            raw = [(name.encode(), value.encode("latin-1")) for name, value in headers.items()]
            return await client.get("/policy", headers=raw)

    answer = virtual_loop.run(looked())
    assert answer.status_code == (403 if token is None else status)
    if token is None:
        assert answer.json() == {"error": "no token is configured"}
    elif status == 401:
        assert (answer.json(), answer.headers["www-authenticate"]) == ({"error": "unauthorized"}, "Bearer")
    else:
        assert answer.json()["digest"] == line().digest
