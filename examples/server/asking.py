"""Whoever asks the server: connections that are kept open, load from many of them, and `hey`."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

__all__ = ["Answer", "Asker", "Load", "Said", "load"]


class Said(NamedTuple):
    """What came back."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Asker:
    """One connection to a server of HTTP on this machine, kept open.

    Parameters
    ----------
    port : int
        Where the server listens.
    """

    def __init__(self, port: int) -> None:
        self._port = port
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def __call__(self, method: str, path: str, body: bytes = b"", token: str | None = None) -> Said:
        """One request.

        Raises
        ------
        OSError
            If there is no server, or it hangs up.
        """
        if self._streams is None:
            self._streams = await asyncio.open_connection("127.0.0.1", self._port)
        reader, writer = self._streams
        more = "" if token is None else f"authorization: Bearer {token}\r\n"
        writer.write(
            f"{method} {path} HTTP/1.1\r\nhost: here\r\ncontent-length: {len(body)}\r\n{more}\r\n".encode() + body
        )
        try:
            first, *lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").splitlines()
            headers = dict(line.lower().split(": ", 1) for line in lines if line)
            said = Said(int(first.split()[1]), headers, await reader.readexactly(int(headers["content-length"])))
        except asyncio.IncompleteReadError as error:
            self.close()
            raise ConnectionError("the server hung up") from error
        if headers.get("connection") == "close":
            self.close()
        return said

    def close(self) -> None:
        """The next request opens another connection."""
        if self._streams is not None:
            self._streams[1].close()
            self._streams = None


@dataclass
class Answer:
    """What became of one sentence."""

    phase: str
    ended: float
    """Seconds on the clock of this process."""
    seconds: float
    status: int
    stage: str
    outcome: str
    request_id: str
    label: int
    is_right: bool


@dataclass
class Load:
    """A number of callers who ask one sentence after the other; each waits for its answer."""

    port: int
    callers: int
    pause: float = 0.0
    """Seconds that a caller takes before the next sentence."""
    answers: list[Answer] = field(default_factory=list)

    async def __call__(self, phase: str, sentences: Iterable[tuple[str, int]]) -> list[Answer]:
        """All sentences of a phase."""
        left, found = iter(sentences), list[Answer]()

        async def call() -> None:
            ask = Asker(self.port)
            for text, label in left:
                began = time.monotonic()
                said = await ask("POST", "/predict", text.encode())
                ended = time.monotonic()
                positive = json.loads(said.body).get("positive")
                stage, outcome, name = (
                    said.headers.get(f"x-ttamer-{one}", "") for one in ("stage", "outcome", "request-id")
                )
                is_right = positive == bool(label)
                found.append(Answer(phase, ended, ended - began, said.status, stage, outcome, name, label, is_right))
                self.answers.append(found[-1])
                await asyncio.sleep(self.pause)
            ask.close()

        async with asyncio.TaskGroup() as group:
            for _ in range(self.callers):
                group.create_task(call())
        return found


class Loaded(NamedTuple):
    """What a load test found."""

    by: str
    requests: int
    per_second: float
    p50: float
    """Milliseconds."""
    p99: float
    lost: int


async def load(port: int, requests: int, callers: int, sentence: str) -> Loaded:
    """As many requests as the server takes: by `hey` where it is installed, else from this process."""
    hey = shutil.which("hey")
    if hey is not None:
        options: list[Any] = ["-n", requests, "-c", callers, "-m", "POST", "-d", sentence]
        url = f"http://127.0.0.1:{port}/predict"
        pipe = asyncio.subprocess.PIPE
        process = await asyncio.create_subprocess_exec(hey, *map(str, options), url, stdout=pipe)
        text = (await process.communicate())[0].decode()
        rate = float(re.findall(r"Requests/sec:\s+([\d.]+)", text)[0])
        p50, p99 = (1e3 * float(re.findall(rf"{share}% in ([\d.]+) secs", text)[0]) for share in (50, 99))
        answered = sum(int(count) for count in re.findall(r"\[200\]\s+(\d+) responses", text))
        asked = requests // callers * callers
        return Loaded("hey", asked, rate, p50, p99, asked - answered)
    began = time.monotonic()
    answers = await Load(port, callers)("load", [(sentence, 1)] * requests)
    seconds = sorted(answer.seconds for answer in answers)
    p50, p99 = (1e3 * seconds[int(share * (len(seconds) - 1))] for share in (0.5, 0.99))
    lost = sum(answer.status != 200 for answer in answers)
    return Loaded("this process", requests, requests / (time.monotonic() - began), p50, p99, lost)
