"""An application without a server: started, asked and shut down in one event loop."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx2

__all__ = ["TOKEN", "asking", "bearer", "talking_to"]

TOKEN = "the-token-of-an-operator"


def bearer(token: str = TOKEN) -> dict[str, str]:
    return {"authorization": f"Bearer {token}"}


@asynccontextmanager
async def asking(application: Any) -> AsyncIterator[httpx2.AsyncClient]:
    """A client of an application that has started, and is shut down at the end."""
    async with application.router.lifespan_context(application), talking_to(application) as client:
        yield client


@asynccontextmanager
async def talking_to(application: Any) -> AsyncIterator[httpx2.AsyncClient]:
    """A client of an application, whether it has started or not."""
    transport = httpx2.ASGITransport(application)
    async with httpx2.AsyncClient(transport=transport, base_url="http://here") as client:
        yield client
