"""What stands between HTTP and a batcher: start and shutdown, requests, and pages about them."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Literal

from .._core import TTamerError, ValidationError
from .._utils.extras import MissingExtraError, require
from ..serving.batcher import Batcher, OverloadedError
from ..serving.cascade import Cascade
from ..serving.failures import NoAnswerError
from ..serving.served import Served
from .asgi_messages import RefusalError, answer_headers, as_json, body_of, decoding_refusal, seconds_of, to_response
from .asgi_policy import PolicyPages
from .asgi_responses import Responses
from .inside import log_of
from .prometheus import Registration, register

if TYPE_CHECKING:
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import Response

__all__ = ["Service"]

AGAIN = {"retry-after": "1"}
"""When to come again, in seconds: a queue that is full now has moved on by then."""

LOGGER = logging.getLogger("ttamer_fast.integrations.asgi")


class Service:
    """What :func:`ttamer_fast.integrations.asgi.app` makes an application of; arguments as checked there."""

    def __init__(
        self,
        cascade: Cascade[Any, Any],
        decode: Callable[[bytes], Any],
        encode: Callable[[Served[Any]], Any],
        *,
        token: bytes | None,
        batcher: Batcher[Any, Any] | Mapping[str, Any],
        deadline: float,
        max_body: int,
        media_type: str,
        drain: float,
        has_metrics: bool,
        registry: Any,
        monitor: Any,
    ) -> None:
        self._cascade = cascade
        self._decode = decode
        self._encode = encode
        self._given = batcher
        self._deadline = deadline
        self._max_body = max_body
        self._media_type = media_type
        self._drain = drain
        self._policy = PolicyPages(cascade, token)
        self._has_metrics = has_metrics
        self._registry = registry
        self._monitor = monitor
        self._responses = Responses()
        self._read: Any = None
        self._no_metrics = "the server has not started"
        self._batcher: Batcher[Any, Any] | None = None
        self._state: Literal["not started", "ready", "shutting down"] = "not started"

    def application(self) -> Starlette:
        """With all routes."""
        applications, routing = require("starlette.applications", "server"), require("starlette.routing", "server")
        exceptions = require("starlette.exceptions", "server")
        routes = [
            routing.Route("/predict", self.predict, methods=["POST"]),
            routing.Route("/v2/health/live", self.live),
            routing.Route("/v2/health/ready", self.ready),
            *self._policy.routes(),
        ]
        if self._has_metrics:
            routes.append(routing.Route("/metrics", self.metrics))
        handlers = {RefusalError: _refused, exceptions.HTTPException: _refused_by_starlette}
        made: Starlette = applications.Starlette(routes=routes, lifespan=self.lifespan, exception_handlers=handlers)
        return made

    @asynccontextmanager
    async def lifespan(self, _: Any) -> AsyncIterator[None]:
        """From start to shutdown."""
        given = self._given
        batcher = given if isinstance(given, Batcher) else Batcher(self._cascade, **given)
        is_ours = batcher._state == "new"
        if is_ours:
            await batcher.__aenter__()
        self._batcher = batcher
        try:
            metrics = self._begin_metrics(batcher)
        except BaseException:
            if is_ours:
                await batcher.__aexit__(None, None, None)
            raise
        self._state = "ready"
        try:
            yield
        finally:
            self._state = "shutting down"
            for one in metrics:
                one.unregister()
            try:
                if is_ours:
                    await self._leave(batcher)
            finally:
                log = log_of(self._cascade)
                if log is not None:
                    await asyncio.to_thread(log.flush)

    def _begin_metrics(self, batcher: Batcher[Any, Any]) -> list[Registration | Responses]:
        """What is to be unregistered at the end."""
        self._read = None
        if not self._has_metrics:
            return []
        try:
            client = require("prometheus_client", "metrics")
        except MissingExtraError as error:
            self._no_metrics = str(error)
            return []
        registry = client.CollectorRegistry() if self._registry is None else self._registry
        registration = register(self._cascade, registry, batcher=batcher, monitor=self._monitor)
        self._responses.register(registry)
        self._read = registry
        return [self._responses, registration]

    async def _leave(self, batcher: Batcher[Any, Any]) -> None:
        """Everybody inside is answered, or cut off after a while."""
        try:
            async with asyncio.timeout(self._drain):
                await batcher.__aexit__(None, None, None)
        except TimeoutError:
            LOGGER.warning("requests that were inside %g s after the shutdown began were cut off", self._drain)

    async def predict(self, request: Request) -> Response:
        """One request: its answer, or why there is none."""
        try:
            response = await self._predict(request)
        except RefusalError as refusal:
            response = refusal.response()
        self._responses.count(response.status_code)
        return response

    async def _predict(self, request: Request) -> Response:
        self._check_ready()
        now = asyncio.get_running_loop().time
        seconds = seconds_of(request, self._deadline)
        ends = now() + seconds
        body = await body_of(request, self._max_body)
        try:
            x = self._decode(body)
        except Exception as error:
            refusal = decoding_refusal(error)
            if refusal is None:
                raise _broken("`decode` broke") from error
            raise refusal from None
        served = await self._served(x, ends - now())
        try:
            return to_response(self._encode(served), self._media_type, answer_headers(served))
        except Exception as error:
            raise _broken("`encode` broke") from error

    async def _served(self, x: Any, seconds: float) -> Served[Any]:
        if not seconds > 0.0:
            raise RefusalError(504, "the body came too late")
        self._check_ready()
        assert self._batcher is not None
        try:
            return await self._batcher(x, None if seconds == math.inf else seconds)
        except OverloadedError:
            raise RefusalError(429, "too many requests are inside", AGAIN) from None
        except NoAnswerError as error:
            stages = error.record.stages
            reasons = {stages[stage]: reason for stage, reason in error.failures.items()}
            # Without a failure there was no time to ask any stage.
            is_late = error.record.late or not reasons
            said = "no stage answered in time" if is_late else "no stage answered"
            headers = {"x-ttamer-outcome": "none", "x-ttamer-request-id": error.record.request_id}
            raise RefusalError(504 if is_late else 503, said, headers, failures=reasons) from None
        except ValidationError as error:
            raise _broken("a stage broke") from error
        except TTamerError as error:  # of a batcher that was left
            raise RefusalError(503, "the server is shutting down") from error
        except Exception as error:
            raise _broken("a stage broke") from error

    def _check_ready(self) -> None:
        if self._state != "ready":
            said = "the server is shutting down" if self._state == "shutting down" else "the server has not started"
            raise RefusalError(503, said, {**AGAIN, "connection": "close"})

    async def live(self, _: Request) -> Response:
        """Whether the event loop runs."""
        return as_json({"live": True})

    async def ready(self, _: Request) -> Response:
        """Whether requests are served."""
        is_ready = self._state == "ready"
        return as_json({"ready": is_ready, "state": self._state}, 200 if is_ready else 503)

    async def metrics(self, request: Request) -> Response:
        """Of the cascade and whatever else is in the registry."""
        if self._read is None:
            raise RefusalError(404, self._no_metrics)
        exposition = require("prometheus_client.exposition", "metrics")
        encode, content_type = exposition.choose_encoder(request.headers.get("accept", ""))
        responses = require("starlette.responses", "server")
        made: Response = responses.Response(encode(self._read), headers={"content-type": content_type})
        return made


def _broken(what: str) -> RefusalError:
    """Details are for the log alone: they may have inputs in them."""
    LOGGER.exception("%s", what)
    return RefusalError(500, what)


async def _refused(_: Request, error: Exception) -> Response:
    assert isinstance(error, RefusalError)
    return error.response()


async def _refused_by_starlette(_: Request, error: Any) -> Response:
    """No such path, or another method."""
    return RefusalError(error.status_code, str(error.detail).lower(), error.headers).response()
