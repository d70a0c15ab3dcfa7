"""Pages about the policy in service, for who knows the token."""

from __future__ import annotations

import hmac
from typing import TYPE_CHECKING, Any

from .._utils.extras import require
from ..serving.cascade import Cascade
from .asgi_bodies import RefusalError

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.routing import Route

__all__ = ["PolicyPages"]


class PolicyPages:
    """What ``/policy`` and the paths below it say and do.

    Parameters
    ----------
    cascade : Cascade
        Whose policy it is.
    token : bytes, optional
        What an operator sends; None: nobody may.
    """

    def __init__(self, cascade: Cascade[Any, Any], token: bytes | None) -> None:
        self._cascade = cascade
        self._token = token

    def routes(self) -> list[Route]:
        """Of all pages."""
        made = require("starlette.routing", "server").Route
        return [made("/policy", self.show)]

    async def show(self, request: Request) -> Response:
        """Which policy serves, and what is known of it."""
        self._admit(request)
        policy = self._cascade.policy
        return _said({"digest": policy.digest, "stages": list(policy.stages)})

    def _admit(self, request: Request) -> None:
        """Only operators go on; others are told nothing."""
        if self._token is None:
            raise RefusalError(403, "no token is configured")
        scheme, _, given = request.headers.get("authorization", "").partition(" ")
        is_token = hmac.compare_digest(given.strip().encode(), self._token)
        if scheme.lower() != "bearer" or not is_token:
            raise RefusalError(401, "unauthorized", {"www-authenticate": "Bearer"})


def _said(what: Any, status: int = 200) -> Response:
    made: Response = require("starlette.responses", "server").JSONResponse(what, status)
    return made
