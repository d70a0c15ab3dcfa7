"""What is sent to a language model for an input, and what is made of its answer."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import aclosing
from functools import partial
from typing import Any, NoReturn

from .. import signals
from .._core import ValidationError
from .._utils.checks import check_budget, check_flag, check_integer, shown
from .completion import (
    Choice,
    Completion,
    ShapeError,
    Usage,
    delta_text,
    message_text,
    plain_text,
    read_choice,
    read_usage,
)
from .endpoint import Endpoint, EndpointError

__all__ = ["Asker", "check_parameters", "mean_logprob", "normalized_text", "writer_of"]

OURS = (
    *("model", "messages", "prompt", "stream", "stream_options", "logprobs", "top_logprobs", "n"),
    *("max_tokens", "temperature"),
)
"""Entries of a request that are not free."""
PLACE = "{x}"
"""Where a template takes the input."""


class Asker:
    """Asks a model of an endpoint: ``await asker(x)`` is the `run` of a stage.

    Parameters
    ----------
    endpoint : Endpoint
        Where the model is.
    model : str
        Its name there.
    write : callable
        Messages, or the text of one, or a prompt, of an input.
    is_plain : bool
        Whether that is a prompt: for ``/completions``, in place of ``/chat/completions``.
    logprobs : bool
        Whether log-probabilities are asked for.
    top_logprobs : int
        And of how many of the likeliest tokens.
    parameters : mapping of str
        Further entries of the request.
    price : pair of float, optional
        Of a token read and of a token written.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        model: str,
        write: Callable[[Any], Any],
        *,
        is_plain: bool,
        logprobs: bool,
        top_logprobs: int,
        parameters: Mapping[str, Any],
        price: Sequence[float] | None,
    ) -> None:
        if not isinstance(model, str) or not model:
            raise ValidationError(f"`model` must be the name of a model, got {shown(model)}")
        self.endpoint = endpoint
        self.model = model
        self._write = write
        self._is_plain = is_plain
        self._path = "/completions" if is_plain else "/chat/completions"
        self._logprobs = check_flag("logprobs", logprobs)
        self._price = None if price is None else _checked_price(price)
        top = check_integer("top_logprobs", top_logprobs, 1)
        self._fixed: dict[str, Any] = {"model": model, **parameters}
        if self._logprobs:
            self._fixed |= {"logprobs": top} if is_plain else {"logprobs": True, "top_logprobs": top}

    @property
    def operation(self) -> str:
        """What is asked for, as OpenTelemetry calls it."""
        return "text_completion" if self._is_plain else "chat"

    async def __call__(self, x: Any) -> Completion:
        """The answer for one input.

        Raises
        ------
        EndpointError
            Whatever the endpoint does instead.
        """
        body = await self.endpoint.post(self._path, self.body(x))
        text = plain_text if self._is_plain else message_text
        try:
            return self._completion(read_choice(body, text, self._logprobs), read_usage(body), body.get("model"))
        except ShapeError as error:
            self._refuse(error, body)

    async def stream(
        self, x: Any, wait: float | None, ended: Callable[[Completion], object] | None
    ) -> AsyncGenerator[str]:
        """The answer for one input, piece by piece; `wait` seconds at most for each, None for however long.

        Raises
        ------
        EndpointError
            Whatever the endpoint does instead.
        """
        request = {**self.body(x), "stream": True}
        if self._price is not None:
            request["stream_options"] = {"include_usage": True}
        text = plain_text if self._is_plain else delta_text
        whole, usage, model = Choice(""), None, None
        async with aclosing(self.endpoint.events(self._path, request)) as events:
            while (event := await _next(events, wait)) is not None:
                try:
                    usage = read_usage(event) or usage
                    # The last event of a stream counts tokens, and adds nothing.
                    piece = Choice("") if event.get("choices") == [] else read_choice(event, text, False)
                    if self._logprobs and piece.text:
                        piece = read_choice(event, text, True)
                except ShapeError as error:
                    self._refuse(error, event)
                whole, model = whole.and_then(piece), event.get("model", model)
                if piece.text:
                    yield piece.text
        try:
            completion = self._completion(whole, usage, model)
        except ShapeError as error:
            raise EndpointError(str(error)) from None
        if ended is not None:
            ended(completion)

    def body(self, x: Any) -> dict[str, Any]:
        """What is sent for one input."""
        written = self._write(x)
        if self._is_plain:
            if not isinstance(written, str):
                raise ValidationError(f"`prompt` must return text, got {type(written).__name__}")
            return {**self._fixed, "prompt": written}
        if isinstance(written, str):
            return {**self._fixed, "messages": [{"role": "user", "content": written}]}
        if not isinstance(written, Sequence) or not written or not all(isinstance(one, Mapping) for one in written):
            raise ValidationError(f"`messages` must return text or a list of objects, got {shown(written)}")
        return {**self._fixed, "messages": [dict(one) for one in written]}

    def _completion(self, choice: Choice, usage: Usage | None, model: Any) -> Completion:
        cost = None
        if self._price is not None:
            if usage is None:
                raise ShapeError("`usage` must count the tokens, which have a price, got null")
            cost = self._price[0] * usage.input_tokens + self._price[1] * usage.output_tokens
        return Completion(
            text=choice.text,
            tokens=choice.tokens,
            logprobs=choice.logprobs,
            top_logprobs=choice.top_logprobs,
            input_tokens=None if usage is None else usage.input_tokens,
            output_tokens=None if usage is None else usage.output_tokens,
            cost=cost,
            finish_reason=choice.finish_reason,
            model=model if isinstance(model, str) else self.model,
        )

    def _refuse(self, error: ShapeError, body: Mapping[str, Any]) -> NoReturn:
        self.endpoint.refuse(str(error), 200, json.dumps(body, ensure_ascii=False).encode(errors="replace"))

    def __repr__(self) -> str:
        return f"Asker({self.endpoint.base_url!r}, {self.model!r})"


def mean_logprob(completion: Completion) -> float:
    """Mean log-probability of the tokens of an answer, NaN where it has none."""
    mean: float = signals.mean_logprob(completion.logprobs)
    return mean


def normalized_text(completion: Completion) -> str:
    """The text of an answer in small letters, with single spaces and none around it."""
    return " ".join(completion.text.split()).casefold()


def writer_of(name: str, given: Any) -> Callable[[Any], Any]:
    """A function of the input: the one given, or that of a template."""
    if callable(given):
        return given  # type: ignore[no-any-return]
    if not isinstance(given, str):
        raise ValidationError(f"`{name}` must be a template or a function, got {type(given).__name__}")
    if PLACE not in given:
        raise ValidationError(f"`{name}` must have {PLACE} where the input goes, got {shown(given)}")
    return partial(_filled, given)


def _filled(template: str, x: Any) -> str:
    return template.replace(PLACE, str(x))


async def _next(events: AsyncGenerator[Mapping[str, Any]], wait: float | None) -> Mapping[str, Any] | None:
    """The next event, None at the end."""
    try:
        async with asyncio.timeout(wait):
            return await anext(events, None)
    except TimeoutError:
        raise EndpointError(f"the stream stood still for {wait:g} s") from None


def _checked_price(price: Any) -> tuple[float, float]:
    if not isinstance(price, Sequence) or isinstance(price, str) or len(price) != 2:
        raise ValidationError(f"`price` must be two numbers, of a token read and of one written, got {shown(price)}")
    read, written = (check_budget(f"price[{i}]", one) for i, one in enumerate(price))
    return read, written


def check_parameters(parameters: Mapping[str, Any] | None) -> dict[str, Any]:
    """A copy of further entries of a request, or a ValidationError."""
    if parameters is None:
        return {}
    if not isinstance(parameters, Mapping):
        raise ValidationError(f"`parameters` must be a mapping, got {type(parameters).__name__}")
    for name in parameters:
        if name in OURS:
            raise ValidationError(f"`parameters` must not have {name!r}: it has an argument of its own, or none")
    try:
        checked: dict[str, Any] = json.loads(json.dumps(dict(parameters), allow_nan=False))
    except (TypeError, ValueError, RecursionError) as error:
        raise ValidationError(f"`parameters` must be what JSON can hold: {error}") from None
    return checked
