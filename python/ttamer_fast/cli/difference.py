"""The command `ttamer diff`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .._core import Policy
from ..evaluation.difference import diff
from ..traces.files import trace_in
from .options import JsonOption, KindOption, Loss, LossOption, PolicyFile
from .showing import show

__all__ = ["diff_command"]


def diff_command(
    first: PolicyFile,
    second: PolicyFile,
    trace: Annotated[Path | None, typer.Option(help="Trace of requests that neither was fitted on.")] = None,
    tradeoff: Annotated[
        float | None, typer.Option(help="Of the objective; default: the one the first policy was fitted for.")
    ] = None,
    level: Annotated[float, typer.Option(help="Of the intervals of differences.")] = 0.95,
    kind: KindOption = None,
    loss: LossOption = Loss.AUTO,
    as_json: JsonOption = False,
) -> None:
    """Two policies side by side; with a trace, what they do on the same requests."""
    judged = None if trace is None else trace_in(trace, loss, kind)[0]
    found = diff(Policy.load(first), Policy.load(second), judged, tradeoff=tradeoff, level=level)
    show(found.to_dict(), str(found), as_json)
