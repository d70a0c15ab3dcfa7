"""A stand-in for endpoints that misbehave: HTTP on loopback, in a thread, with canned answers. No language model."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

Behaviour = Callable[["StandIn", asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def answer(text: str = "good", **changes: Any) -> dict[str, Any]:
    """A right answer of `/chat/completions`, with entries of its choice changed; None leaves one out."""
    likely = [{"token": text, "logprob": -0.5}, {"token": "bad", "logprob": -1.5}]
    content = [{"token": text, "logprob": -0.5, "top_logprobs": likely}]
    choice = {"message": {"content": text}, "finish_reason": "stop", "logprobs": {"content": content}} | changes
    usage = {"prompt_tokens": 10, "completion_tokens": 2}
    return {"model": "right-1", "usage": usage, "choices": [{k: v for k, v in choice.items() if v is not None}]}


def plain_answer() -> dict[str, Any]:
    """A right answer of `/completions` as it was first."""
    logprobs = {"tokens": ["go", "od"], "token_logprobs": [-0.25, -0.75], "top_logprobs": [{"go": -0.25}, None]}
    return {"choices": [{"text": "good", "finish_reason": "length", "logprobs": logprobs}]}


def http(body: Any, status: str = "200 OK", length: int | None = None, **headers: str) -> bytes:
    """A response; `length` where it is not to be that of the body."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    given = {"Content-Length": str(len(content) if length is None else length), **headers}
    lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in given.items())
    return f"HTTP/1.1 {status}\r\n{lines}\r\n".encode() + content


def events(*pieces: str, tail: bytes = b"data: [DONE]\n\n") -> bytes:
    """A stream; the connection is to be closed after it."""
    entries: list[dict[str, Any]] = [{"choices": [{"delta": {"role": "assistant"}, "finish_reason": None}]}]
    for piece in pieces:
        logprobs = {"content": [{"token": piece, "logprob": -0.5, "top_logprobs": []}]}
        entries.append({"choices": [{"delta": {"content": piece}, "logprobs": logprobs}]})
    entries.append({"choices": [{"delta": {}, "finish_reason": "stop"}]})
    entries.append({"choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": len(pieces)}})
    lines = b"".join(b"data: " + json.dumps(entry).encode() + b"\r\n\r\n" for entry in entries)
    return b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n: hello\n" + lines + tail


def says(response: bytes, closes: bool = False) -> Behaviour:
    """Sends this, and hangs up or waits for another request."""

    async def behave(server: StandIn, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(response)
        await writer.drain()
        if closes:
            writer.close()

    return behave


def waits(response: bytes = b"") -> Behaviour:
    """Sends this, and then nothing until the client hangs up."""

    async def behave(server: StandIn, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(response)
        await reader.read()
        server.left.release()

    return behave


async def drips(server: StandIn, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """A right answer, a byte every ten milliseconds."""
    for byte in http(answer()):
        writer.write(bytes([byte]))
        await writer.drain()
        await asyncio.sleep(0.01)


async def floods(server: StandIn, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """An answer without an end, as fast as it is taken."""
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n")
    while True:
        writer.write(b" " * 65536)
        await writer.drain()


def after(seconds: float) -> str:
    """A date for `Retry-After`."""
    return format_datetime(datetime.now(UTC) + timedelta(seconds=seconds), usegmt=True)


class StandIn(threading.Thread):
    """Answers a request as the list of its model says, each time with the next entry, the last one again and again.

    Attributes
    ----------
    url : str
        The address.
    requests : list
        Path, headers and body of each.
    left : threading.Semaphore
        Released where a client hung up on an answer that did not come.
    """

    def __init__(self, **behaviours: list[Behaviour]) -> None:
        super().__init__(daemon=True)
        self.behaviours = behaviours
        self.requests: list[tuple[str, dict[str, str], dict[str, Any]]] = []
        self.left = threading.Semaphore(0)
        self.connections = self.most_connections = 0
        self._ready = threading.Event()

    def __enter__(self) -> StandIn:
        self.start()
        assert self._ready.wait(30.0)
        return self

    def __exit__(self, *error: object) -> None:
        self._loop.call_soon_threadsafe(self._end.set)
        self.join(30.0)

    def run(self) -> None:
        asyncio.run(self._serve())

    async def _serve(self) -> None:
        self._loop, self._end = asyncio.get_running_loop(), asyncio.Event()
        server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
        self._ready.set()
        await self._end.wait()
        server.close()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.most_connections = max(self.connections, self.most_connections)
        try:
            while not writer.is_closing():
                head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
                headers = dict(line.lower().split(": ", 1) for line in head[1:] if line)
                body = json.loads(await reader.readexactly(int(headers["content-length"])))
                self.requests.append((head[0].split()[1], headers, body))
                todo = self.behaviours[body["model"]]
                await (todo.pop(0) if len(todo) > 1 else todo[0])(self, reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass
        finally:
            self.connections -= 1
            writer.close()
