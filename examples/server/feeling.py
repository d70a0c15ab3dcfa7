"""The models of the server: a list of words in its own process, and an encoder with three exits in another one."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple
from uuid import uuid4

import ttamer_fast as tt

__all__ = ["COST", "LAYERS", "NAMES", "Sentence", "decode", "encode", "stages", "word_list"]

LAYERS = (1, 3, 5)
"""Of the encoder, after which it has an exit."""

NAMES = ("words", *(f"layer {layer}" for layer in LAYERS))
"""Of the stages."""

COST = (0.03, 1.15, 2.0, 2.0)
"""Of the stages, in layers of the encoder: measured, in README.md; exits cost what they run beyond the one before."""

LONGEST_LINE = 1 << 24
"""Bytes of what the encoder says."""


class Sentence(NamedTuple):
    """What is asked about. The encoder knows a sentence by its key, and goes on from where it has left it."""

    key: str
    text: str


def decode(body: bytes) -> Sentence:
    """The input of a request."""
    text = body.decode()
    if not text.strip():
        raise ValueError("a sentence must have letters")
    return Sentence(uuid4().hex, text)


def encode(served: tt.Served[float]) -> dict[str, Any]:
    """What is sent back."""
    odds = served.output
    assert odds is not None
    return {"positive": odds > 0.0, "odds": round(odds, 4)}


def word_list() -> Any:
    """VADER: a list of words with their moods, and some rules."""
    from vaderSentiment.vaderSentiment import SentimentIntensityAnalyzer

    return SentimentIntensityAnalyzer()


def stages(socket: Path, cooldown: float = 1.0) -> list[tt.Stage[Sentence, float]]:
    """All four; the encoder listens at a Unix socket. Outputs are moods or log-odds: above 0 is positive."""
    analyzer = word_list()

    async def moods(sentences: Sequence[Sentence]) -> list[float]:
        return [analyzer.polarity_scores(one.text)["compound"] for one in sentences]

    def mood(sentence: Sentence) -> float:
        return float(analyzer.polarity_scores(sentence.text)["compound"])

    made = [tt.Stage(mood, batch=moods, signal=sure, prediction=positive, name=NAMES[0])]
    for at, name in enumerate(NAMES[1:]):
        exit_ = Exit(socket, at)
        breaker = tt.Breaker(failures=3, cooldown=cooldown)
        made.append(
            tt.Stage(
                exit_, batch=exit_.batch, signal=sure, prediction=positive, name=name, timeout=1.0, breaker=breaker
            )
        )
    return made


def sure(odds: float | Sequence[float]) -> Any:
    """The signal of one output, or of several."""
    return [abs(one) for one in odds] if isinstance(odds, Sequence) else abs(odds)


def positive(odds: float | Sequence[float]) -> Any:
    """The prediction of one output, or of several: 1 or 0."""
    return [int(one > 0.0) for one in odds] if isinstance(odds, Sequence) else int(odds > 0.0)


class Exit:
    """An exit of the encoder, asked over its socket: a connection for each call.

    Parameters
    ----------
    socket : Path
        Where the encoder listens.
    at : int
        Which exit it is.
    """

    def __init__(self, socket: Path, at: int) -> None:
        self._socket = socket
        self._at = at

    async def __call__(self, sentence: Sentence) -> float:
        """Log-odds of one sentence."""
        return (await self.batch([sentence]))[0]

    async def batch(self, sentences: Sequence[Sentence]) -> list[float]:
        """Log-odds of some."""
        reader, writer = await asyncio.open_unix_connection(self._socket, limit=LONGEST_LINE)
        try:
            writer.write(json.dumps({"exit": self._at, "sentences": sentences}).encode() + b"\n")
            await writer.drain()
            line = await reader.readline()
            if not line:
                raise ConnectionError("the encoder hung up")
            odds: list[float] = json.loads(line)
            return odds
        finally:
            writer.close()
