"""Requests to an HTTP endpoint that answers in JSON: connections, bounded bodies, errors in one line, `Retry-After`."""

from __future__ import annotations

import asyncio
import email.utils
import json
import math
import os
import time
from asyncio import AbstractEventLoop
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from datetime import UTC
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, NoReturn
from urllib.parse import urlsplit

from .._core import TTamerError, ValidationError
from .._utils.checks import shown
from .._utils.extras import require
from ..serving.failures import PermanentError
from ..serving.time_left import time_left

if TYPE_CHECKING:
    import httpx2

__all__ = ["Endpoint", "EndpointError", "RefusedError"]

MOST_BYTES = 2**24
"""Of one answer; a longer one is an error."""
MOST_ERROR_BYTES = 4096
"""Of an answer with an error, read for the message."""
MOST_SHOWN = 200
"""Characters of an answer that a message holds."""
LONGEST_AFTER = 3600.0
"""Seconds for which a `Retry-After` is remembered, at most: an endpoint is not lost for ever by one wrong header."""
NOT_FINAL = (HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.CONFLICT, HTTPStatus.TOO_EARLY, HTTPStatus.TOO_MANY_REQUESTS)
"""Status codes of 400 to 499 that say nothing about the next attempt."""
KEY_VARIABLE = "OPENAI_API_KEY"


class EndpointError(TTamerError, RuntimeError):
    """An endpoint that could not be reached, that refused, or whose answer is none.

    Attributes
    ----------
    status : int or None
        Of the HTTP response, None where there was none.
    retry_after : float or None
        Seconds for which the endpoint wants no further request, if it said so.
    """

    def __init__(self, message: str, status: int | None = None, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.retry_after = retry_after

    def __reduce__(self) -> tuple[type[EndpointError], tuple[str, int | None, float | None]]:
        return type(self), (str(self), self.status, self.retry_after)


class RefusedError(EndpointError, PermanentError):
    """An endpoint that would refuse another attempt too, which is not made: it says that the request is at fault (a
    status from 400 to 499, but for 408, 409, 425 and 429), or wants to be left alone for longer than may be waited."""


class Endpoint:
    """One address, with connections that are kept open.

    There is a client for each event loop that asks. It is closed by :meth:`aclose` on that loop, or when the loop
    closes its asynchronous generators, as `asyncio.run` does at its end.

    Parameters
    ----------
    base_url : str
        http or https, up to and with the version: ``"https://api.openai.com/v1"``.
    api_key : str, optional
        Sent as a bearer token; "" for none. By default that of the environment variable OPENAI_API_KEY, where the
        address is https.
    connections : int
        Open connections of one event loop, at most.
    longest_wait : float
        Seconds for which a request may wait because of a `Retry-After`; where it is longer, or as long as there is time
        left, the request fails at once.
    timeout : float
        Seconds, inf for no limit: how long :meth:`post` waits for a connection to be made, and then for each part of
        the answer; no longer than there is time left.

    Notes
    -----
    Safe to use from several threads, each with an event loop of its own. Pickled without connections and without a key:
    one of the environment is looked up anew, with one that was given it is not pickled.
    """

    def __init__(
        self, base_url: str, api_key: str | None, connections: int, longest_wait: float, timeout: float
    ) -> None:
        self._httpx = require("httpx2", "chat")
        self.base_url = _checked_url(base_url)
        self._key = _checked_key(self.base_url, api_key)
        self._is_of_environment = api_key is None
        self._connections = connections
        self._longest_wait = longest_wait
        self._timeout = timeout
        self._free_at = -math.inf
        self._opened: dict[AbstractEventLoop, tuple[httpx2.AsyncClient, AsyncGenerator[None]]] = {}

    async def post(self, path: str, body: Mapping[str, Any]) -> Mapping[str, Any]:
        """The JSON object that comes back.

        Raises
        ------
        EndpointError
            Whatever the endpoint does instead.
        """
        async with self._answered(path, body, self._timeout) as response:
            parts: list[bytes] = []
            async for part in self._parts(response):
                parts.append(part)
            return self._object(b"".join(parts), response.status_code)

    async def events(self, path: str, body: Mapping[str, Any]) -> AsyncGenerator[Mapping[str, Any]]:
        """The JSON objects of a stream of server-sent events, up to the event ``[DONE]``.

        Raises
        ------
        EndpointError
            Whatever the endpoint does instead; a stream that ends without that event, too.
        """
        async with self._answered(path, body, math.inf) as response:
            begun = b""
            async for line in _lines(self._parts(response)):
                begun = begun if len(begun) > MOST_SHOWN else begun + line + b" "
                if not line.startswith(b"data:"):  # comments, names of events, empty lines
                    continue
                data = line.removeprefix(b"data:").strip()
                if data == b"[DONE]":
                    return
                yield self._object(data, response.status_code)
            self.refuse("the stream broke off", response.status_code, begun)

    def refuse(self, what: str, status: int | None, content: bytes) -> NoReturn:
        """Raise what was wrong with an answer, and how it began."""
        text = self.clean(content.decode(errors="replace"))
        raise EndpointError(f"{what}: {text[:MOST_SHOWN]}" if text else f"{what}: an empty answer", status)

    def clean(self, text: str) -> str:
        """One line without the key, whoever has said it."""
        if self._key:
            text = text.replace(self._key, "[key]")
        return " ".join("".join(c if c.isprintable() else " " for c in text).split())

    async def aclose(self) -> None:
        """Close the connections of this event loop; a later request opens new ones."""
        opened = self._opened.pop(asyncio.get_running_loop(), None)
        if opened is not None:
            await opened[1].aclose()

    async def _client(self) -> httpx2.AsyncClient:
        loop = asyncio.get_running_loop()
        opened = self._opened.get(loop)
        if opened is not None and not opened[0].is_closed:
            return opened[0]
        for other in tuple(self._opened):
            if other.is_closed():
                self._opened.pop(other, None)
        limits = self._httpx.Limits(max_connections=self._connections, max_keepalive_connections=self._connections)
        # Certificates take a tenth of a second to load: not where there are none to check.
        is_secure = self.base_url.startswith("https:")
        client: httpx2.AsyncClient = self._httpx.AsyncClient(timeout=None, limits=limits, verify=is_secure)
        closing = _until_closed(client)
        self._opened[loop] = client, closing
        await anext(closing)
        return client

    @asynccontextmanager
    async def _answered(self, path: str, body: Mapping[str, Any], longest: float) -> AsyncIterator[httpx2.Response]:
        """A response of status 2xx, of which nothing has been read; no step takes more than `longest` seconds."""
        await self._wait()
        client = await self._client()
        seconds = min(longest, time_left())
        limits = None if seconds == math.inf else self._httpx.Timeout(seconds, pool=None)
        # What is not encoded cannot be larger than its bytes.
        headers = {"Accept-Encoding": "identity"}
        if self._key:
            headers["Authorization"] = f"Bearer {self._key}"
        try:
            url = f"{self.base_url}{path}"
            async with client.stream("POST", url, json=body, headers=headers, timeout=limits) as response:
                if not response.is_success:
                    await self._fail(response)
                yield response
        except self._httpx.TimeoutException:
            raise EndpointError(f"nothing came for {seconds:.3g} s") from None
        except self._httpx.ConnectError as error:
            raise EndpointError(f"cannot be reached: {self._said(error)}") from None
        except self._httpx.RequestError as error:
            raise EndpointError(f"the answer broke off: {self._said(error)}") from None

    async def _fail(self, response: httpx2.Response) -> NoReturn:
        """Raise what a response without success says; remember when the endpoint wants to be asked again."""
        content = b""
        with suppress(self._httpx.RequestError):  # the status says enough
            async for part in response.aiter_raw():
                content += part
                if len(content) > MOST_ERROR_BYTES:
                    break
        status = response.status_code
        what, wait = f"status {_phrase(status)}", None
        if status in (HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE):
            wait = retry_after(response.headers.get("Retry-After"), response.headers.get("Date"))
        is_final = HTTPStatus.BAD_REQUEST <= status < HTTPStatus.INTERNAL_SERVER_ERROR and status not in NOT_FINAL
        if wait is not None:
            self._free_at = max(self._free_at, time.monotonic() + min(wait, LONGEST_AFTER))
            is_final = self._is_too_long(wait)
            what += f", no request for {wait:.3g} s"
        try:
            self.refuse(what, status, content)
        except EndpointError as error:
            raise (RefusedError if is_final else EndpointError)(str(error), status, wait) from None

    async def _wait(self) -> None:
        """Until the endpoint may be asked again, or an error at once where that is too long."""
        while (wait := self._free_at - time.monotonic()) > 0.0:
            if self._is_too_long(wait):
                what = f"not asked: no request for another {wait:.3g} s, as the endpoint said"
                raise RefusedError(what, retry_after=wait)
            await asyncio.sleep(wait)

    def _is_too_long(self, wait: float) -> bool:
        """Whether a request does not wait for so many seconds."""
        return wait > self._longest_wait or wait >= time_left()

    async def _parts(self, response: httpx2.Response) -> AsyncIterator[bytes]:
        """The body as it comes, up to the most bytes."""
        encoding = response.headers.get("Content-Encoding", "identity")
        if encoding.lower() != "identity":
            raise EndpointError(f"the answer is encoded as {self.clean(encoding)[:30]}, which was not asked for")
        count = 0
        async for part in response.aiter_raw():
            count += len(part)
            if count > MOST_BYTES:
                self.refuse(f"an answer of more than {MOST_BYTES} bytes", response.status_code, part)
            yield part

    def _object(self, content: bytes, status: int) -> Mapping[str, Any]:
        try:
            found = json.loads(content)
        except (ValueError, RecursionError):
            self.refuse("the answer is no JSON", status, content)
        if not isinstance(found, dict):
            self.refuse("the answer is no JSON object", status, content)
        return found

    def _said(self, error: Exception) -> str:
        return self.clean(f"{type(error).__name__}: {error}" if str(error) else type(error).__name__)[:MOST_SHOWN]

    def __repr__(self) -> str:
        return f"Endpoint({self.base_url!r})"

    def __deepcopy__(self, memo: Any) -> Endpoint:
        return self

    def __reduce__(self) -> tuple[type[Endpoint], tuple[str, str | None, int, float, float]]:
        if self._key and not self._is_of_environment:
            instead = f"leave it to the environment variable {KEY_VARIABLE}, or make the stage in each process"
            raise TypeError(f"`api_key` is not pickled: {instead}")
        key = None if self._is_of_environment else ""
        return Endpoint, (self.base_url, key, self._connections, self._longest_wait, self._timeout)


async def _until_closed(client: httpx2.AsyncClient) -> AsyncGenerator[None]:
    """Begun once, it closes the client when it is closed, by hand or by its event loop."""
    try:
        yield
    finally:
        await client.aclose()


async def _lines(parts: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Lines without their ends; a last one that has no end is not whole, and no line."""
    held: list[bytes] = []
    async for part in parts:
        first, *others = part.split(b"\n")
        held.append(first)
        for other in others:
            yield b"".join(held).rstrip(b"\r")
            held = [other]


def retry_after(header: str | None, date: str | None) -> float | None:
    """Seconds of at least 0 that a `Retry-After` asks for, None where it says nothing that can be read.

    It holds seconds or a date; that is compared with the `date` of the response, if it has one, and else with this
    machine's clock.
    """
    if header is None:
        return None
    with suppress(ValueError):
        seconds = float(header)
        return max(seconds, 0.0) if math.isfinite(seconds) else None
    until = _seconds_of(header)
    now = _seconds_of(date) if date else None
    return None if until is None else max(until - (time.time() if now is None else now), 0.0)


def _seconds_of(date: str) -> float | None:
    with suppress(ValueError, TypeError, OverflowError):
        found = email.utils.parsedate_to_datetime(date)
        return (found.replace(tzinfo=UTC) if found.tzinfo is None else found).timestamp()
    return None


def _phrase(status: int) -> str:
    with suppress(ValueError):
        return f"{status} {HTTPStatus(status).phrase}"
    return str(status)


def _checked_url(base_url: str) -> str:
    try:
        parts = urlsplit(base_url) if isinstance(base_url, str) else None
        is_right = parts is not None and parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_right = False
    if not is_right:
        raise ValidationError(f"`base_url` must be an http or https address, got {shown(base_url)}")
    assert parts is not None
    if parts.username is not None or parts.password is not None:
        raise ValidationError("`base_url` must have no user and no password: `api_key` is sent with every request")
    if parts.query or parts.fragment:
        raise ValidationError(f"`base_url` must have no query and no fragment, got {shown(base_url)}")
    return base_url.rstrip("/")


def _checked_key(base_url: str, api_key: str | None) -> str:
    if api_key is None:
        api_key = os.environ.get(KEY_VARIABLE, "") if base_url.startswith("https:") else ""
    if not isinstance(api_key, str):
        raise ValidationError(f"`api_key` must be a string or None, got {type(api_key).__name__}")
    key = api_key.strip()
    if not all("!" <= character <= "~" for character in key):
        raise ValidationError("`api_key` must be of visible ASCII characters")
    return key
