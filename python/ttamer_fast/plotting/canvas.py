"""Empty figures, and figures in files."""

from __future__ import annotations

import io
from os import PathLike
from pathlib import Path
from typing import Any

from .._core import ValidationError, write_file
from .._utils.extras import require
from .._utils.files import path_of


def new_figure(width: float, height: float) -> Any:
    """An empty figure of so many inches, drawn without a display."""
    figure = require("matplotlib.figure", "plot").Figure(figsize=(width, height), layout="constrained")
    require("matplotlib.backends.backend_agg", "plot").FigureCanvasAgg(figure)
    return figure


def picture_path(path: str | PathLike[str]) -> Path:
    """The path of a picture, if it ends as one, or a ValidationError."""
    file = path_of(path)
    if file.suffix not in (".png", ".svg", ".pdf"):
        raise ValidationError(f"`path` must end in .png, .svg or .pdf, got {str(file)!r}")
    return file


def write_figure(figure: Any, path: str | PathLike[str]) -> None:
    """Write a figure to a .png, .svg or .pdf file: the old one or the new one, whatever happens."""
    file, stream = picture_path(path), io.BytesIO()
    figure.savefig(stream, dpi=150, format=file.suffix[1:])
    write_file(file, stream.getvalue())
