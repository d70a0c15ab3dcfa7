"""Short texts of which the language is known: messages of Django's user interface, as its translators wrote them."""

from __future__ import annotations

import re
import struct
from collections import defaultdict
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import numpy as np

__all__ = ["LANGUAGES", "Text", "read_texts", "split"]

LANGUAGES = (
    *("af", "be", "bg", "bs", "ca", "cs", "cy", "da", "de", "en", "es", "et", "eu", "fi", "fr", "hr", "hu", "id", "is"),
    *("it", "kk", "lt", "lv", "mk", "mn", "ms", "nb", "nl", "pl", "pt", "ro", "ru", "sk", "sl", "sq", "sr", "sv", "sw"),
    *("tr", "uk", "vi"),
)
"""Written in Latin or Cyrillic letters, and known to every engine; others are told by their script."""

NO_WORDS = re.compile(r"%\([^)]*\)[a-z]|%[a-z]|\{[^}]*\}|<[^>]*>|&\w+;|https?://\S+|[\"“”«»„]")
SHORTEST = 10
"""Letters that a text has at least."""


class Text(NamedTuple):
    """A text, its language, and the message that it is a translation of."""

    text: str
    language: str
    message: int


def read_texts() -> list[Text]:
    """All translations of all messages.

    A text that two languages share has no one answer and is left out. Messages of which one is translated to the same
    words as another count as one, in every language: no words are in two of them.
    """
    spec = find_spec("django")
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError("django")
    said: defaultdict[str, set[tuple[str, str]]] = defaultdict(set)
    for path in sorted(Path(spec.origin).parent.rglob("locale/*/LC_MESSAGES/django.mo")):
        language = path.parts[-3]
        if language in LANGUAGES:
            for message, translated in _catalogue(path):
                said[_plain(translated)].add((language, message))
                said[_plain(message)].add(("en", message))
    kept = {
        text: sources
        for text, sources in sorted(said.items())
        if sum(map(str.isalpha, text)) >= SHORTEST and len({language for language, _ in sources}) == 1
    }
    numbers = _joined([[message for _, message in sources] for sources in kept.values()])
    return [
        Text(text, next(iter(sources))[0], number)
        for (text, sources), number in zip(kept.items(), numbers, strict=True)
    ]


def split(texts: list[Text], count: int, seed: int = 0) -> tuple[list[Text], list[Text]]:
    """About `count` of the texts, half of them to learn from and half to judge by; a message is on one side."""
    rng = np.random.default_rng(seed)
    messages = rng.permutation(sorted({text.message for text in texts}))
    share = min(1.0, count / len(texts))
    chosen = [text for text in texts if rng.random() < share]
    first = set(messages[: len(messages) // 2].tolist())
    return [text for text in chosen if text.message in first], [text for text in chosen if text.message not in first]


def _plain(text: str) -> str:
    """Without placeholders and markup."""
    return " ".join(NO_WORDS.sub(" ", text).split())


def _catalogue(path: Path) -> Iterator[tuple[str, str]]:
    """Messages and translations of a file of gettext; of plural forms the last."""
    data = path.read_bytes()
    magic, _, count, messages, translations = struct.unpack_from("<5I", data)
    if magic != 0x950412DE:
        raise ValueError(f"{path} must be a little-endian file of gettext, got magic {magic:#x}")
    for i in range(count):
        pair = []
        for table in (messages, translations):
            length, start = struct.unpack_from("<2I", data, table + 8 * i)
            pair.append(data[start : start + length].decode())
        message, translated = pair
        if message:  # the first entry is about the file
            yield message.rpartition("\x04")[2].split("\0")[-1], translated.split("\0")[-1]


def _joined(names: list[list[str]]) -> list[int]:
    """A number for each list: the same where lists are connected by names in common."""
    above: dict[str, str] = {}

    def root(name: str) -> str:
        while (parent := above.setdefault(name, name)) != name:
            above[name] = name = above[parent]
        return name

    for first, *others in names:
        for other in others:
            above[root(other)] = root(first)
    numbers: dict[str, int] = {}
    return [numbers.setdefault(root(first), len(numbers)) for first, *_ in names]
