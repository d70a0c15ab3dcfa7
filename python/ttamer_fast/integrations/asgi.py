"""A cascade behind HTTP: an ASGI application that batches, says how it is, and lets an operator change the policy."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from .._core import ValidationError
from .._utils.checks import check_between, check_flag, check_integer, check_text
from .._utils.extras import require
from ..serving.batcher import Batcher
from ..serving.cascade import Cascade
from ..serving.served import Served
from .asgi_service import Service

if TYPE_CHECKING:
    from starlette.applications import Starlette

__all__ = ["app"]

X = TypeVar("X")
Y = TypeVar("Y")

LEAST_TOKEN = 16
"""Characters of a token at least: a shorter one can be guessed."""


def app(
    cascade: Cascade[X, Y],
    decode: Callable[[bytes], X],
    encode: Callable[[Served[Y]], Any],
    *,
    token: str | None = None,
    batcher: Batcher[X, Y] | Mapping[str, Any] | None = None,
    deadline: float | None = 30.0,
    max_body: int = 1 << 20,
    media_type: str = "application/octet-stream",
    drain: float = 30.0,
    metrics: bool = True,
    registry: Any = None,
    monitor: Any = None,
) -> Starlette:
    """An ASGI application that serves a cascade.

    Parameters
    ----------
    cascade : Cascade
        What serves.
    decode : callable
        ``decode(body)`` makes the input of the bytes of a request.
    encode : callable
        ``encode(served)`` makes what is sent back: bytes of `media_type`, or what JSON can hold. `served.output` is
        None where the policy abstained.
    token : str, optional
        What an operator has to send to see and change the policy, at least 16 characters. None: nobody may.
    batcher : Batcher or mapping, optional
        A :class:`Batcher` of this cascade, or arguments for one. By default one that refuses requests beyond its
        `max_pending`. A batcher that has not been entered is entered and left with the application, and then serves
        one start alone.
    deadline : float, optional
        Longest time for a request, in seconds: a request may ask for less. None for no limit.
    max_body : int
        Longest body of a request, in bytes, at least 1.
    media_type : str
        Of bytes that `encode` returns.
    drain : float
        Seconds, finite and above 0, that requests inside have when the application is shut down, and those that are run
        through for the log of the cascade.
    metrics : bool
        Whether there is a page ``/metrics``.
    registry : prometheus_client.CollectorRegistry, optional
        Where the metrics of the cascade are, while the application runs; by default a new one.
    monitor : DriftMonitor or callable, optional
        Whose alarm is part of the metrics, as in :func:`ttamer_fast.integrations.prometheus.register`.

    Returns
    -------
    starlette.applications.Starlette
        For any server of the ASGI protocol with lifespans, such as uvicorn; it can be mounted in another application
        that runs its lifespan.

    Raises
    ------
    ValidationError
        If an argument is of the wrong type or value.
    MissingExtraError
        If starlette is not installed: ``pip install "ttamer_fast[server]"``.

    Notes
    -----
    *Requests.* ``POST /predict`` with any body that `decode` takes. The header ``x-ttamer-deadline`` says how many
    seconds the caller waits. Every answer says in its headers how it came about: ``x-ttamer-stage``,
    ``x-ttamer-recalled``, ``x-ttamer-outcome`` and ``x-ttamer-request-id``. Whatever is refused has a JSON object with
    one line, ``error``:

    ====  ==========================================================================================
    400   The body is not in the format of `decode` (no JSON, no text), or the deadline is no number
    413   The body is longer than `max_body`
    422   `decode` raised a TypeError, LookupError or ValueError: that text
    429   So many requests are inside as may be; ``retry-after`` says when to come again
    500   `decode`, `encode` or a stage broke; the log of Python says how
    503   No stage answered, ``failures`` says why; or the application has not started, or shuts down
    504   No stage answered in time
    ====  ==========================================================================================

    *Health.* ``GET /v2/health/live`` says 200 as long as the event loop runs, ``/v2/health/ready`` between start and
    shutdown. Circuits that are open do not make it less ready: the other stages answer.

    *Metrics.* ``GET /metrics``, as of :func:`ttamer_fast.integrations.prometheus.register`.

    *The policy.* ``GET /policy`` says which policy serves, and what is known of it. ``POST /policy/reload`` and
    ``POST /policy/rollback`` change it, where the cascade has a :class:`PolicySlot` (else 409). All want
    ``Authorization: Bearer TOKEN``; who sends another token gets 401, and where none is configured everyone gets 403.
    The token is as safe as the connection: put TLS in front.

    *Shutdown.* Ready turns 503, new requests are refused, and requests inside are answered; then the log of the cascade
    is flushed. After `drain` seconds those that are left get a 503. What was opened elsewhere stays open.

    Stages run as in a :class:`Batcher`; `decode` and `encode` run on the event loop.

    Examples
    --------
    >>> import asyncio, json, numpy as np, ttamer_fast as tt
    >>> rng = np.random.default_rng(0)
    >>> signal = rng.random((1000, 2))
    >>> trace = tt.Trace(signal, rng.random((1000, 2)) > signal, cost=[1.0, 2.0], stages=["small", "large"])
    >>> read = dict(signal=lambda y: y[1])
    >>> stages = {"small": tt.Stage(lambda x: (x, 0.99), **read), "large": tt.Stage(lambda x: (-x, 0.5), **read)}
    >>> cascade = tt.Cascade(tt.fit(trace, tradeoff=0.9), stages)
    >>> application = tt.integrations.asgi.app(cascade, json.loads, lambda served: {"answer": served.output[0]})
    >>> async def ask():
    ...     import httpx2
    ...     transport = httpx2.ASGITransport(application)
    ...     async with application.router.lifespan_context(application):
    ...         async with httpx2.AsyncClient(transport=transport, base_url="http://here") as client:
    ...             return await client.post("/predict", content=b"7")
    >>> answer = asyncio.run(ask())
    >>> answer.json(), answer.headers["x-ttamer-stage"], answer.headers["x-ttamer-outcome"]
    ({'answer': 7}, 'small', 'stopped')
    """
    require("starlette", "server")
    if not isinstance(cascade, Cascade):
        raise ValidationError(f"`cascade` must be a Cascade, got {type(cascade).__name__}")
    for name, function in (("decode", decode), ("encode", encode)):
        if not callable(function):
            raise ValidationError(f"`{name}` must be callable, got {type(function).__name__}")
    service = Service(
        cascade,
        decode,
        encode,
        token=_check_token(token),
        batcher=_check_batcher(batcher, cascade),
        deadline=math.inf if deadline is None else check_between("deadline", deadline, math.inf),
        max_body=check_integer("max_body", max_body, 1),
        media_type=check_text("media_type", media_type),
        drain=check_between("drain", drain, math.inf),
        has_metrics=check_flag("metrics", metrics),
        registry=registry,
        monitor=monitor,
    )
    return service.application()


def _check_token(token: Any) -> bytes | None:
    if token is None:
        return None
    if not isinstance(token, str):
        raise ValidationError(f"`token` must be text or None, got {type(token).__name__}")
    # Never what was given: messages end in logs.
    if len(token) < LEAST_TOKEN or not token.isascii() or not token.isprintable() or " " in token:
        raise ValidationError(f"`token` must be {LEAST_TOKEN} printable ASCII characters or more, without spaces")
    return token.encode()


def _check_batcher(batcher: Any, cascade: Cascade[Any, Any]) -> Batcher[Any, Any] | dict[str, Any]:
    """A batcher of somebody else, or the checked arguments of one that is made at each start."""
    if isinstance(batcher, Batcher):
        if batcher._cascade is not cascade:
            raise ValidationError("`batcher` must be of `cascade`, got one of another cascade")
        return batcher
    if batcher is not None and not isinstance(batcher, Mapping):
        raise ValidationError(f"`batcher` must be a Batcher, a mapping or None, got {type(batcher).__name__}")
    options = {"when_full": "raise", **({} if batcher is None else batcher)}
    try:
        Batcher(cascade, **options)
    except TypeError as error:
        raise ValidationError(f"`batcher` must have arguments of a Batcher: {error}") from None
    return options
