"""Pages about the policy in service, for who knows the token."""

from __future__ import annotations

import asyncio
import hmac
import math
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from .._core import ValidationError
from .._utils.extras import require
from ..serving.cascade import Cascade
from ..serving.slot import PolicySlot
from .asgi_messages import RefusalError, as_json
from .inside import exploration_of, governor_of, shadow_of, slot_of

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
        return [
            made("/policy", self.show),
            made("/policy/reload", self.reload, methods=["POST"]),
            made("/policy/rollback", self.roll_back, methods=["POST"]),
        ]

    async def show(self, request: Request) -> Response:
        """Which policy serves, what served before it, and what is known of it."""
        self._admit(request)
        cascade, slot = self._cascade, slot_of(self._cascade)
        policy, shadow, exploration = cascade.policy, shadow_of(cascade), exploration_of(cascade)
        changes = () if slot is None else slot.changes
        governor = governor_of(cascade)
        return as_json(
            _plain(
                {
                    "digest": policy.digest,
                    "stages": list(policy.stages),
                    "changes": [change._asdict() for change in changes],
                    "earlier": [] if slot is None else [one.digest for one in slot.earlier],
                    "shadow": None if shadow is None else asdict(shadow),
                    "governor": None if governor is None else asdict(governor),
                    "exploration": None if exploration is None else asdict(exploration),
                    "circuits": {stage: circuit.state for stage, circuit in cascade.circuits.items()},
                    "slowdown": cascade.slowdown,
                }
            )
        )

    async def reload(self, request: Request) -> Response:
        """Takes the policy of the file, or says why not."""
        self._admit(request)
        slot = self._slot()
        try:
            is_taken = await asyncio.to_thread(slot.reload)
        except ValidationError as error:
            raise RefusalError(409, str(error)) from None
        if not is_taken:
            refused = [change.reason for change in slot.changes if change.what == "refused"]
            raise RefusalError(409, refused[-1], digest=slot.policy.digest)
        return as_json({"digest": slot.policy.digest})

    async def roll_back(self, request: Request) -> Response:
        """Brings back the policy before, or says why not."""
        self._admit(request)
        try:
            policy = self._slot().rollback()
        except ValidationError as error:
            raise RefusalError(409, str(error)) from None
        return as_json({"digest": policy.digest})

    def _slot(self) -> PolicySlot:
        slot = slot_of(self._cascade)
        if slot is None:
            raise RefusalError(409, "the cascade has a policy, and no slot in which it could be changed")
        return slot

    def _admit(self, request: Request) -> None:
        """Only operators go on; others are told nothing."""
        if self._token is None:
            raise RefusalError(403, "no token is configured")
        scheme, _, given = request.headers.get("authorization", "").partition(" ")
        is_token = hmac.compare_digest(given.strip().encode(), self._token)
        if scheme.lower() != "bearer" or not is_token:
            raise RefusalError(401, "unauthorized", {"www-authenticate": "Bearer"})


def _plain(what: Any) -> Any:
    """As JSON can hold it: None for what is no number."""
    if isinstance(what, dict):
        return {name: _plain(one) for name, one in what.items()}
    if isinstance(what, list):
        return [_plain(one) for one in what]
    return None if isinstance(what, float) and not math.isfinite(what) else what
