"""A language model behind any endpoint of the OpenAI protocol, as a stage."""

from __future__ import annotations

import math
from collections.abc import AsyncGenerator, Callable, Hashable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Self

from .._core import ValidationError
from .._utils.checks import check_between, check_budget, check_flag, check_integer
from ..serving.breaker import Breaker
from ..serving.stage import Stage
from .asker import Asker, check_parameters, mean_logprob, normalized_text, writer_of
from .completion import Completion
from .endpoint import Endpoint

__all__ = ["Chat"]


class Chat(Stage[Any, Completion]):
    """A language model behind an endpoint of the OpenAI protocol, as one :class:`~ttamer_fast.Stage`.

    Parameters
    ----------
    base_url : str
        Address of the endpoint, up to and with the version: ``"https://api.openai.com/v1"``.
    model : str
        The model, as the endpoint calls it.
    messages : str or callable, optional
        For ``/chat/completions``. ``messages(x)`` returns the messages, a list of objects with "role" and "content", or
        the text of one message of the user; a string is such a text, with the input in the place of ``{x}``.
    prompt : str or callable, optional
        For ``/completions``, of base models. ``prompt(x)`` returns the text to go on with; a string is a template as
        above. One of `messages` and `prompt` has to be given.
    signal : callable, optional
        ``signal(completion)``: how sure the model is; by default the mean log-probability of the tokens that it wrote,
        :func:`~ttamer_fast.signals.mean_logprob`.
        ``lambda said: abs(said.log_odds(" yes", " no"))`` asks about two answers.
    prediction : callable, optional
        ``prediction(completion)``: what the model said, any hashable; by default its text in small letters, with single
        spaces.
    api_key : str, optional
        Sent as a bearer token, "" for none. By default that of the environment variable OPENAI_API_KEY, which is sent
        to https addresses only. It is never part of a message or of what is printed.
    max_tokens : int, optional
        Longest answer; None leaves it to the endpoint.
    temperature : float, optional
        At least 0; None leaves it to the endpoint.
    logprobs : bool
        Whether log-probabilities of tokens are asked for. An answer without them is then a failure. Without them
        `signal` has to be given.
    top_logprobs : int
        How many of the likeliest tokens are asked for at each place, at least 1.
    parameters : mapping, optional
        Further entries of the request, such as ``{"stop": ["\\n"], "seed": 0}``; what JSON can hold.
    price : pair of float, optional
        Prices of a token read and of a token written, finite and at least 0: the unit of :attr:`Completion.cost`. An
        answer that does not count its tokens is then a failure.
    connections : int
        Open connections of one event loop, at least 1. Further requests wait for one.
    longest_wait : float
        Seconds. Where an endpoint answers 429 or 503 with `Retry-After`, no request is sent to it until then: one that
        would have to wait longer than this, or than the time-out and the deadline leave, fails at once.
    timeout, retries, backoff, breaker, name
        As of every :class:`~ttamer_fast.Stage`; `timeout` is 60 seconds unless it is given, None for none. Outside a
        cascade it is the longest wait for a connection to be made, and then for each part of the answer.

    Raises
    ------
    ValidationError
        If an argument is of the wrong type or value.
    MissingExtraError
        If httpx2 is not installed: ``pip install "ttamer_fast[chat]"``.

    Notes
    -----
    *Calls.* `run` is a coroutine function: serve with ``await cascade.acall(x)``, ``abatch(xs)`` or a
    :class:`~ttamer_fast.Batcher`. A batch sends its requests at the same time. Where a call is cut off, the request is
    closed.

    *Failures.* Whatever an endpoint does but answer is an ``EndpointError``, one line with the first 200 characters of
    what came, and the stage fails for this request. No retry follows a ``RefusedError``: the status says that the
    request is at fault, as with a wrong key, or the endpoint wants to be left alone for longer than there is time.

    *Connections* are kept open, those of each event loop by itself. `asyncio.run` closes them at its end; elsewhere
    there is ``async with chat:`` or ``await chat.aclose()``, on the loop that asked.

    *Streams.* An answer can be passed on while it is written only where it is certain to be the one that goes out. In a
    cascade it is not: the policy reads the whole answer, may ask another stage then, and may return an earlier one. So
    the stages of a cascade do not stream. :meth:`stream` is for the model behind a cascade: the one that answers where
    a policy with a `default_loss` says that none of its stages should.

    Immutable, but for the connections; safe to use from several threads with an event loop each. Pickled, it leaves its
    connections behind, and looks up the key of the environment anew; one with an `api_key` is not pickled.

    Examples
    --------
    >>> import ttamer_fast as tt
    >>> chat = tt.stages.Chat(
    ...     "http://127.0.0.1:8080/v1", "small", messages="Is this review good or bad? {x}",
    ...     max_tokens=1, temperature=0.0, price=(1.5e-7, 6e-7), name="llm",
    ... )
    >>> chat
    Chat('http://127.0.0.1:8080/v1', 'small', name='llm')
    >>> chat.request("a fine film")["messages"]
    [{'role': 'user', 'content': 'Is this review good or bad? a fine film'}]
    """

    __slots__ = ()

    if TYPE_CHECKING:
        run: Asker

    def __init__(
        self,
        base_url: str,
        model: str,
        *,
        messages: str | Callable[[Any], str | Sequence[Mapping[str, Any]]] | None = None,
        prompt: str | Callable[[Any], str] | None = None,
        signal: Callable[[Completion], float | None] | None = None,
        prediction: Callable[[Completion], Hashable] | None = None,
        api_key: str | None = None,
        max_tokens: int | None = None,
        temperature: float | None = None,
        logprobs: bool = True,
        top_logprobs: int = 1,
        parameters: Mapping[str, Any] | None = None,
        price: tuple[float, float] | None = None,
        connections: int = 8,
        longest_wait: float = 1.0,
        timeout: float | None = 60.0,
        retries: int = 0,
        backoff: float = 0.05,
        breaker: Breaker | None = None,
        name: str | None = None,
    ) -> None:
        if (messages is None) == (prompt is None):
            raise ValidationError("one of `messages` and `prompt` must be given, and not both")
        if timeout is not None:
            timeout = check_between("timeout", timeout, math.inf)
        most = math.inf if timeout is None else timeout
        wait = min(check_budget("longest_wait", longest_wait), most)
        if signal is None and not check_flag("logprobs", logprobs):
            raise ValidationError("`signal` must be given where `logprobs` is False")
        entries = dict(check_parameters(parameters))
        if max_tokens is not None:
            entries["max_tokens"] = check_integer("max_tokens", max_tokens, 1)
        if temperature is not None:
            entries["temperature"] = check_budget("temperature", temperature)
        asker = Asker(
            Endpoint(base_url, api_key, check_integer("connections", connections, 1), wait, most),
            model,
            writer_of("messages", messages) if prompt is None else writer_of("prompt", prompt),
            is_plain=prompt is not None,
            logprobs=logprobs,
            top_logprobs=top_logprobs,
            parameters=entries,
            price=price,
        )
        super().__init__(
            asker,
            signal=mean_logprob if signal is None else signal,
            prediction=normalized_text if prediction is None else prediction,
            timeout=timeout,
            retries=retries,
            backoff=backoff,
            breaker=breaker,
            name=name,
        )

    def request(self, x: Any) -> dict[str, Any]:
        """What is sent for one input, without the key.

        Parameters
        ----------
        x : object
            The input.

        Returns
        -------
        dict
            The JSON object.
        """
        return self.run.body(x)

    def stream(self, x: Any, ended: Callable[[Completion], object] | None = None) -> AsyncGenerator[str]:
        """The answer for one input, in pieces, as it is written.

        Use it where the answer is certain to be the one that goes out: see the notes on streams above.

        Parameters
        ----------
        x : object
            The input.
        ended : callable, optional
            Is given the whole :class:`Completion` after the last piece.

        Returns
        -------
        asynchronous generator of str
            Pieces of the text. A caller that leaves before the end closes it, with `contextlib.aclosing`.

        Raises
        ------
        EndpointError
            Whatever the endpoint does instead, also between pieces: a stream that breaks off, or in which `timeout`
            seconds pass without an event. There are no retries.

        Examples
        --------
        >>> import ttamer_fast as tt
        >>> chat = tt.stages.Chat("http://127.0.0.1:8080/v1", "small", messages="{x}")
        >>> async def told(x):
        ...     async for piece in chat.stream(x):
        ...         print(piece, end="", flush=True)
        """
        return self.run.stream(x, self.timeout, ended)

    async def aclose(self) -> None:
        """Close the connections of this event loop; a later call opens new ones."""
        await self.run.endpoint.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.aclose()

    def __repr__(self) -> str:
        return f"Chat({self.run.endpoint.base_url!r}, {self.run.model!r}, name={self.name!r})"
