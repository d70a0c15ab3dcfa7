"""Optional dependencies, each named by the extra that installs it."""

from __future__ import annotations

from importlib import import_module
from types import ModuleType

from .._core import TTamerError

__all__ = ["MissingExtraError", "require"]


class MissingExtraError(TTamerError, ImportError):
    """A package that is only needed for part of the library is not installed."""


def require(module: str, extra: str) -> ModuleType:
    """Import `module`, or say which extra provides it.

    Parameters
    ----------
    module : str
        Dotted name of the module.
    extra : str
        Extra of `ttamer_fast` that installs it.

    Raises
    ------
    MissingExtraError
        If the module cannot be imported.

    Examples
    --------
    >>> require("math", "none").sqrt(4.0)
    2.0
    >>> require("not_a_module", "plot")
    Traceback (most recent call last):
    ttamer_fast._utils.extras.MissingExtraError: not_a_module is not installed: pip install "ttamer_fast[plot]"
    """
    try:
        return import_module(module)
    except ImportError as error:
        package = module.partition(".")[0]
        message = f'{package} is not installed: pip install "ttamer_fast[{extra}]"'
        raise MissingExtraError(message) from error
