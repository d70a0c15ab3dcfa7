"""What comes in over HTTP, checked, and what goes out."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from .._core import ValidationError
from .._utils.extras import require
from ..serving.failures import reason_of
from ..serving.served import Served

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

__all__ = ["RefusalError", "answer_headers", "as_json", "body_of", "decoding_refusal", "seconds_of", "to_response"]

DEADLINE = "x-ttamer-deadline"

VISIBLE = "!#$&'()*+,/:;<=>?@[]^`{|} "
"""What stands in a header as it is, beside letters, digits and `_.-~`."""


class RefusalError(Exception):
    """A request that is not answered: status, one line, and what else is said."""

    def __init__(self, status: int, error: str, headers: dict[str, str] | None = None, **more: Any) -> None:
        super().__init__(error)
        self.status = status
        self.headers = headers
        self.said = {"error": error, **more}

    def response(self) -> Response:
        """As it is sent."""
        return as_json(self.said, self.status, self.headers)


def as_json(what: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """What JSON can hold, as it is sent."""
    made: Response = require("starlette.responses", "server").JSONResponse(what, status, headers)
    return made


async def body_of(request: Request, most: int) -> bytes:
    """The whole body, or a refusal as soon as it is known to be too long."""
    told = request.headers.get("content-length", "")
    if told.isdecimal() and int(told) > most:
        raise _too_long(most)
    body = bytearray()
    try:
        async for chunk in request.stream():
            body += chunk
            if len(body) > most:
                raise _too_long(most)
    except require("starlette.requests", "server").ClientDisconnect:
        raise RefusalError(400, "the body broke off") from None
    return bytes(body)


def seconds_of(request: Request, most: float) -> float:
    """How long a request may take: what it asks for, and `most` at most."""
    given = request.headers.get(DEADLINE)
    if given is None:
        return most
    try:
        seconds = float(given)
    except ValueError:
        seconds = math.nan
    if not seconds > 0.0:
        raise RefusalError(400, f"`{DEADLINE}` must be seconds above 0, got {given[:40]!r}")
    return min(seconds, most)


def decoding_refusal(error: Exception) -> RefusalError | None:
    """What to say of a body that `decode` did not take; None where `decode` is at fault."""
    if isinstance(error, json.JSONDecodeError | UnicodeError):
        return RefusalError(400, f"the body cannot be read: {reason_of(error)}")
    if isinstance(error, TypeError | LookupError | ValueError):
        return RefusalError(422, f"the body is not what is served: {reason_of(error)}")
    return None


def answer_headers(served: Served[Any]) -> dict[str, str]:
    """How an answer came about."""
    record = served.record
    headers = {
        "x-ttamer-outcome": record.outcome,
        "x-ttamer-recalled": "true" if record.recalled else "false",
        "x-ttamer-request-id": record.request_id,
    }
    if record.answer is not None:
        headers["x-ttamer-stage"] = quote(record.stages[record.answer], VISIBLE)
    return headers


def to_response(encoded: Any, media_type: str, headers: dict[str, str]) -> Response:
    """Bytes as they are, all else as JSON.

    Raises
    ------
    TypeError, ValueError
        If JSON cannot hold it.
    """
    if encoded is None:
        raise ValidationError("`encode` must return bytes or what JSON can hold, got None")
    if not isinstance(encoded, bytes | bytearray | memoryview):
        return as_json(encoded, 200, headers)
    made: Response = require("starlette.responses", "server").Response(bytes(encoded), 200, headers, media_type)
    return made


def _too_long(most: int) -> RefusalError:
    # What is left of the body is not read.
    return RefusalError(413, f"the body must have {most} bytes at most", {"connection": "close"})
