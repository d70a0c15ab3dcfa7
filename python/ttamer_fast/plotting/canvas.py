"""Empty figures, and figures in files."""

from __future__ import annotations

from os import PathLike
from pathlib import Path
from typing import Any

from .._core import ValidationError
from .._utils.atomic import replacing
from .._utils.extras import require


def new_figure(width: float, height: float) -> Any:
    """An empty figure of so many inches, drawn without a display."""
    figure = require("matplotlib.figure", "plot").Figure(figsize=(width, height), layout="constrained")
    require("matplotlib.backends.backend_agg", "plot").FigureCanvasAgg(figure)
    return figure


def write_figure(figure: Any, path: str | PathLike[str]) -> None:
    """Write a figure to a .png, .svg or .pdf file, atomically."""
    file = Path(path)
    if file.suffix not in (".png", ".svg", ".pdf"):
        raise ValidationError(f"`path` must end in .png, .svg or .pdf, got {str(file)!r}")
    try:
        with replacing(file) as temporary:
            figure.savefig(temporary, dpi=150)
    except OSError as error:
        raise ValidationError(f"cannot write {file}: {error.strerror}") from error
