"""Archives of arrays (.npz), read within bounds: what they say they hold is checked before any of it is read."""

from __future__ import annotations

import io
import math
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from .._core import ValidationError, write_file
from .._utils.errors import TraceFormatError
from .._utils.files import decoding, open_file

__all__ = ["check_size", "read_archive", "write_archive"]

SMALL = 64 * 2**20
MOST_GROWTH = 250
"""Arrays may take so many times the bytes of their file: random numbers hardly shrink, zeros 1,000 times."""


def read_archive(path: Path, wanted: Iterable[str], max_bytes: int | None = None) -> dict[str, NDArray[Any]]:
    """Those of the wanted arrays that an archive has, never unpickled.

    Raises
    ------
    OSError, ValidationError
        As :func:`open_file`; ValidationError also where the arrays take more than `max_bytes`, see :func:`check_size`.
    TraceFormatError
        If the file is no archive, or one of the arrays is damaged.
    """
    with open_file(path) as stream, decoding(path, ".npz", TraceFormatError):
        if stream.read(len(npy.MAGIC_PREFIX)) == npy.MAGIC_PREFIX:
            raise TraceFormatError(
                f"cannot read {path} as .npz: it is one array (.npy), not an archive of several: use numpy.savez"
            )
        size = stream.seek(0, io.SEEK_END)
        if not zipfile.is_zipfile(stream):
            raise TraceFormatError(f"cannot read {path} as .npz: it is no archive, or not whole")
        with zipfile.ZipFile(stream) as archive:
            known = {member.filename: member for member in archive.infolist()}
            found = {name: known[f"{name}.npy"] for name in wanted if f"{name}.npy" in known}
            check_size(path, sum(member.file_size for member in found.values()), size, max_bytes)
            return {name: _array(path, name, archive, member) for name, member in found.items()}


def write_archive(path: Path, arrays: Mapping[str, Any]) -> None:
    """Write an archive, compressed: the old file or the new one, whatever happens.

    Raises
    ------
    OSError
        If the system refuses.
    """
    stream = io.BytesIO()
    np.savez_compressed(stream, **arrays)
    write_file(path, stream.getvalue())


def check_size(path: Path, needed: int, size: int, max_bytes: int | None) -> None:
    """A ValidationError where arrays of `needed` bytes from a file of `size` bytes are more than `max_bytes`.

    Without a limit given it is 64 MiB, or 250 times the size of the file if that is more.
    """
    most = max(SMALL, MOST_GROWTH * size) if max_bytes is None else max_bytes
    if needed > most:
        raise ValidationError(
            f"{path}: its arrays must take at most {most} bytes, got {needed} from a file of {size}: "
            "give `max_bytes` if that is meant"
        )


def _array(path: Path, name: str, archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> NDArray[Any]:
    with archive.open(member) as stream:
        shape, in_columns, dtype = _header(stream)  # type: ignore[arg-type]
        if dtype.hasobject:
            raise TraceFormatError(f"{path}: `{name}` holds Python objects, which are not read (allow_pickle=False)")
        needed, there = math.prod(shape) * dtype.itemsize, member.file_size - stream.tell()
        if needed != there or min(shape, default=0) < 0:
            raise TraceFormatError(
                f"{path}: `{name}` must have {needed} bytes as its shape {shape} and dtype {dtype} say, got {there}"
            )
        content = stream.read()
    if len(content) != needed:
        raise TraceFormatError(f"{path}: `{name}` must have {needed} bytes, got {len(content)}")
    if not dtype.itemsize:
        return np.zeros(shape, dtype)
    return np.frombuffer(content, dtype).reshape(shape, order="F" if in_columns else "C")


def _header(stream: BinaryIO) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Shape, whether column by column, and dtype of an array in the format of numpy."""
    version = npy.read_magic(stream)
    if version == (1, 0):
        return npy.read_array_header_1_0(stream)
    if version == (2, 0):
        return npy.read_array_header_2_0(stream)
    raise ValueError(f"version {version} of .npy is not known")
