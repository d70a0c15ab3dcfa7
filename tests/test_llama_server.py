"""`Chat` against a real server, that of llama.cpp on loopback with Gemma 3 270M, under a cascade."""

from __future__ import annotations

import asyncio
import importlib
import math
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import ttamer_fast as tt
from conftest import REPOSITORY
from small_cascades import STOP, line

CAPITALS = "Capitals of countries. Spain: Madrid. Japan: Tokyo. Egypt: Cairo. {x}:"

pytestmark = pytest.mark.extra("llm-cascade")


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Gemma's, joined by the example."""
    folder = str(REPOSITORY / "examples" / "llm_cascade")
    sys.path.insert(0, folder)
    try:
        yield importlib.import_module("gemma").joined(str(tmp_path_factory.mktemp("weights")))
    finally:
        sys.path.remove(folder)


@pytest.fixture(scope="module")
def url(weights: Path) -> Iterator[str]:
    with importlib.import_module("gemma").serving(weights) as url:
        yield url


def cascade(stage: tt.stages.Chat) -> tt.Cascade[Any, Any]:
    fallback: tt.Stage[Any, Any] = tt.Stage(lambda x: "fallback", signal=lambda output: STOP)
    return tt.Cascade(line(), [stage, fallback, fallback])


def chat(url: str, **options: Any) -> tt.stages.Chat:
    given: dict[str, Any] = {"prompt": CAPITALS, "max_tokens": 4, "temperature": 0.0, "top_logprobs": 5}
    return tt.stages.Chat(url, "gemma-3-270m", **(given | options))


def test_a_base_model_goes_on_with_a_prompt(url: str) -> None:
    stage = chat(url, price=(1.0, 100.0), signal=lambda said: STOP)
    served = asyncio.run(cascade(stage).acall("France"))
    said = served.output
    assert (served.stage, served.failures) == (0, {})
    assert isinstance(said, tt.stages.Completion)
    assert "Paris" in said.text
    assert "".join(said.tokens) == said.text
    assert len(said.logprobs) == len(said.top_logprobs) == said.output_tokens == 4
    assert all(
        number <= 0.0 and top[token] == number
        for number, token, top in zip(said.logprobs, said.tokens, said.top_logprobs, strict=True)
    )
    assert all(len(top) == 5 for top in said.top_logprobs)
    assert (said.finish_reason, said.model) == ("length", "gemma-3-270m")
    assert said.input_tokens is not None
    assert said.input_tokens > 10
    assert said.cost == said.input_tokens + 400.0
    assert chat(url).signal(said) == pytest.approx(math.fsum(said.logprobs) / 4)
    assert said.log_odds(" Paris", " Rome") > 0.0


def test_a_chat_is_answered_and_streams_the_same(url: str) -> None:
    async def listen() -> list[str]:
        return [piece async for piece in stage.stream("France", whole.append)]

    whole: list[tt.stages.Completion] = []
    stage = chat(url, prompt=None, messages="Name the capital of {x}.", price=(1.0, 1.0))
    pieces = asyncio.run(listen())
    said = asyncio.run(stage.run("France"))
    assert len(pieces) > 1
    assert "".join(pieces) == said.text == whole[0].text
    assert whole[0].tokens == said.tokens
    assert whole[0].logprobs == pytest.approx(said.logprobs, abs=0.2)  # a prompt read anew, and one kept
    assert (whole[0].cost, whole[0].finish_reason) == (said.cost, said.finish_reason)


def test_a_stream_of_a_base_model(url: str) -> None:
    async def listen() -> list[str]:
        return [piece async for piece in chat(url).stream("France", whole.append)]

    whole: list[tt.stages.Completion] = []
    assert "Paris" in "".join(asyncio.run(listen()))
    assert len(whole[0].logprobs) == 4


def test_many_at_a_time_are_all_answered(url: str) -> None:
    async def serve() -> tt.ServedBatch[Any]:
        async with chat(url, signal=lambda said: STOP, connections=4) as stage:
            return await cascade(stage).abatch(["France", "Italy", "Germany", "Russia", "China", "Peru"])

    table = asyncio.run(serve())
    assert table.stage.tolist() == [0] * 6
    texts = [said.text for said in table.outputs if said is not None]
    assert [word in text for word, text in zip(("Paris", "Rome", "Berlin"), texts, strict=False)] == [True] * 3


def test_what_is_cut_off_frees_the_server(url: str) -> None:
    long = chat(url, max_tokens=900, timeout=0.3)
    served = asyncio.run(cascade(long).acall("France"))
    assert served.failures == {0: "time-out after 0.3 s"}
    # It has one place: without a closed request this would wait for hundreds of tokens.
    assert "Paris" in asyncio.run(chat(url, timeout=20.0).run("France")).text


def test_what_the_server_refuses_is_told(url: str) -> None:
    async def ask(stage: tt.stages.Chat, x: str) -> tt.stages.EndpointError:
        with pytest.raises(tt.stages.EndpointError) as error:
            await stage.run(x)
        return error.value

    too_long = asyncio.run(ask(chat(url), "word " * 2000))
    assert str(too_long).startswith("status 400 Bad Request: {")
    assert "context" in str(too_long)
    nowhere = asyncio.run(ask(chat(url.replace("/v1", "/v7")), "France"))
    assert nowhere.status == 404
