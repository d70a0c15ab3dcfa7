"""What an endpoint of the OpenAI protocol answers, read: text, log-probabilities of tokens, usage."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

__all__ = [
    "Choice",
    "Completion",
    "ShapeError",
    "Usage",
    "delta_text",
    "message_text",
    "plain_text",
    "read_choice",
    "read_usage",
]


class ShapeError(Exception):
    """An answer that is JSON, but not of the shape that the protocol says: which entry, what was allowed and given."""


@dataclass(frozen=True, slots=True)
class Completion:
    """An answer of a language model.

    Parameters
    ----------
    text : str
        What it said.
    tokens : tuple of str
        The t tokens of the answer; empty where no log-probabilities were asked for.
    logprobs : tuple of float
        (t,) Natural logarithms of the probabilities of these tokens, -inf for one that was impossible.
    top_logprobs : tuple of dict of str to float
        (t,) The likeliest tokens at each place with their log-probabilities, as many as were asked for.
    input_tokens, output_tokens : int or None
        Tokens read and written, as the endpoint counted them; None where it did not say.
    cost : float or None
        What the answer costs, in the unit of the prices; None without prices.
    finish_reason : str or None
        Why it ended: "stop", "length" (cut off by `max_tokens`), or what else the endpoint says.
    model : str
        The model that answered, as the endpoint calls it.

    Notes
    -----
    Immutable.

    Examples
    --------
    >>> import math
    >>> top = ({" good": math.log(0.6), " bad": math.log(0.2), " so": math.log(0.1)},)
    >>> said = Completion(" good", (" good",), (math.log(0.6),), top, 12, 1, None, "length", "small")
    >>> round(said.log_odds(" good", " bad"), 6) == round(math.log(3.0), 6)
    True
    """

    text: str
    tokens: tuple[str, ...]
    logprobs: tuple[float, ...]
    top_logprobs: tuple[Mapping[str, float], ...]
    input_tokens: int | None
    output_tokens: int | None
    cost: float | None
    finish_reason: str | None
    model: str

    def log_odds(self, yes: str | Iterable[str], no: str | Iterable[str], at: int = 0) -> float:
        """log p(yes) - log p(no) of the token at one place of the answer.

        Parameters
        ----------
        yes, no : str or iterable of str
            One token, or several whose probabilities are added, written as the model writes them: mostly with a space
            in front.
        at : int
            The place, 0 for the first token.

        Returns
        -------
        float
            NaN where neither is among the likeliest tokens, or there is no such place. Where one of them is not, it is
            taken to be as likely as the least likely of these, which it is at most.

        Notes
        -----
        O(number of tokens listed there).
        """
        if not 0 <= at < len(self.top_logprobs):
            return math.nan
        top = self.top_logprobs[at]
        for_yes, for_no = _sum(top, yes), _sum(top, no)
        if for_yes is None and for_no is None:
            return math.nan
        least = min(top.values())
        odds = (least if for_yes is None else for_yes) - (least if for_no is None else for_no)
        return odds  # -inf - -inf is NaN: no information


def _sum(top: Mapping[str, float], tokens: str | Iterable[str]) -> float | None:
    """Log of the sum of their probabilities, None where none of them is listed."""
    found = [top[token] for token in ((tokens,) if isinstance(tokens, str) else tokens) if token in top]
    if not found:
        return None
    most = max(found)
    return most if most == -math.inf else most + math.log(math.fsum(math.exp(one - most) for one in found))


@dataclass(frozen=True, slots=True)
class Choice:
    """The answer, or what one event of a stream adds to it."""

    text: str
    tokens: tuple[str, ...] = ()
    logprobs: tuple[float, ...] = ()
    top_logprobs: tuple[Mapping[str, float], ...] = ()
    finish_reason: str | None = None

    def and_then(self, more: Choice) -> Choice:
        """Both, one after the other."""
        return Choice(
            self.text + more.text,
            self.tokens + more.tokens,
            self.logprobs + more.logprobs,
            self.top_logprobs + more.top_logprobs,
            more.finish_reason or self.finish_reason,
        )


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens read and written."""

    input_tokens: int
    output_tokens: int


def read_choice(body: Mapping[str, Any], text: Callable[[Mapping[str, Any]], str], needs_logprobs: bool) -> Choice:
    """The first choice of an answer; `text` reads its text."""
    choices = body.get("choices")
    if not isinstance(choices, list) or not choices:
        raise ShapeError(f"`choices` must be a list of at least one, got {_kind(choices)}")
    choice = _object("choices[0]", choices[0])
    said = text(choice)
    reason = choice.get("finish_reason")
    if reason is not None and not isinstance(reason, str):
        raise ShapeError(f"`choices[0].finish_reason` must be text or null, got {_kind(reason)}")
    given = choice.get("logprobs")
    if given is None or not needs_logprobs:
        if needs_logprobs:
            raise ShapeError("`choices[0].logprobs` must hold the log-probabilities that were asked for, got null")
        return Choice(said, finish_reason=reason)
    return Choice(said, *_logprobs(_object("choices[0].logprobs", given)), reason)


def read_usage(body: Mapping[str, Any]) -> Usage | None:
    """The tokens that an answer says it took, None where it does not say."""
    given = body.get("usage")
    if given is None:
        return None
    usage = _object("usage", given)
    counts = []
    for name, least in (
        ("prompt_tokens", None),
        ("completion_tokens", 0),
    ):  # a model that said nothing may leave it out
        count = usage.get(name, least)
        if not isinstance(count, int) or isinstance(count, bool) or count < 0:
            raise ShapeError(f"`usage.{name}` must be an integer of at least 0, got {_kind(count)}")
        counts.append(count)
    return Usage(*counts)


def message_text(choice: Mapping[str, Any]) -> str:
    """Of an answer of `/chat/completions`."""
    return _text("message.content", _object("choices[0].message", choice.get("message")).get("content"))


def delta_text(choice: Mapping[str, Any]) -> str:
    """Of an event of a stream of `/chat/completions`: the first says who speaks, the last why it ends."""
    content = _object("choices[0].delta", choice.get("delta")).get("content")
    return "" if content is None else _text("delta.content", content)


def plain_text(choice: Mapping[str, Any]) -> str:
    """Of an answer of `/completions`, or an event of its stream."""
    return _text("text", choice.get("text"))


def _logprobs(given: Mapping[str, Any]) -> tuple[tuple[str, ...], tuple[float, ...], tuple[Mapping[str, float], ...]]:
    """Tokens, their log-probabilities, and the likeliest tokens at each place.

    One entry a token under `content`, or, as `/completions` had it first, one list each.
    """
    where = "choices[0].logprobs"
    if "content" in given or "tokens" not in given:
        entries = [_object(f"{where}.content[{i}]", one) for i, one in enumerate(_list(f"{where}.content", given))]
        tops = []
        for i, entry in enumerate(entries):
            at = f"{where}.content[{i}].top_logprobs"
            listed = [] if entry.get("top_logprobs") is None else _list(at, entry)
            tops.append(
                _likeliest(at, (_pair(f"{at}[{j}]", _object(f"{at}[{j}]", one)) for j, one in enumerate(listed)))
            )
        pairs = [_pair(f"{where}.content[{i}]", entry) for i, entry in enumerate(entries)]
        return tuple(token for token, _ in pairs), tuple(number for _, number in pairs), tuple(tops)
    tokens = [_token(f"{where}.tokens[{i}]", one) for i, one in enumerate(_list(f"{where}.tokens", given))]
    numbers = [
        _number(f"{where}.token_logprobs[{i}]", one) for i, one in enumerate(_list(f"{where}.token_logprobs", given))
    ]
    listed = [{}] * len(tokens) if given.get("top_logprobs") is None else _list(f"{where}.top_logprobs", given)
    if not len(tokens) == len(numbers) == len(listed):
        lengths = f"{len(tokens)}, {len(numbers)} and {len(listed)}"
        raise ShapeError(f"`{where}` must hold lists of one length, got {lengths}")
    tops = []
    for i, one in enumerate(listed):
        at = f"{where}.top_logprobs[{i}]"
        top = {} if one is None else _object(at, one)
        tops.append(_likeliest(at, ((token, _number(f"{at}[{token!r:.30}]", number)) for token, number in top.items())))
    return tuple(tokens), tuple(numbers), tuple(tops)


def _likeliest(where: str, pairs: Iterable[tuple[str, float]]) -> Mapping[str, float]:
    """By token; of tokens that are written alike, the likelier one."""
    top: dict[str, float] = {}
    for token, number in pairs:
        top[token] = max(number, top.get(token, -math.inf))
    return top


def _pair(where: str, entry: Mapping[str, Any]) -> tuple[str, float]:
    return _token(f"{where}.token", entry.get("token")), _number(f"{where}.logprob", entry.get("logprob"))


def _token(where: str, given: Any) -> str:
    if not isinstance(given, str):
        raise ShapeError(f"`{where}` must be text, got {_kind(given)}")
    return given


def _number(where: str, given: Any) -> float:
    if not isinstance(given, int | float) or isinstance(given, bool) or not given < math.inf:
        raise ShapeError(f"`{where}` must be a number below infinity, got {_kind(given)}")
    try:
        return float(given)
    except OverflowError:
        raise ShapeError(f"`{where}` must be a number that a float can hold") from None


def _text(where: str, given: Any) -> str:
    if not isinstance(given, str):
        raise ShapeError(f"`choices[0].{where}` must be text, got {_kind(given)}")
    return given


def _list(where: str, holder: Mapping[str, Any]) -> Sequence[Any]:
    given = holder.get(where.rpartition(".")[2])
    if not isinstance(given, list):
        raise ShapeError(f"`{where}` must be a list, got {_kind(given)}")
    return given


def _object(where: str, given: Any) -> Mapping[str, Any]:
    if not isinstance(given, dict):
        raise ShapeError(f"`{where}` must be an object, got {_kind(given)}")
    return given


def _kind(given: Any) -> str:
    """What was given, by its kind in JSON: short, whatever it holds."""
    if isinstance(given, str):
        return "text"
    if isinstance(given, dict | list):
        return f"a list of {len(given)}" if isinstance(given, list) else "an object"
    return {"None": "null", "True": "true", "False": "false"}.get(repr(given), f"{given!r:.30}")
