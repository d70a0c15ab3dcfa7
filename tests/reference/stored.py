"""Policy files as data: the frame around them, and just as much MessagePack as they have in them."""

from __future__ import annotations

import hashlib
import struct
from typing import Any

MAGIC = b"TTAMER\r\n"
SCHEMA = 4
HEADER = struct.Struct("<8sIQ")
CHECKSUM = 32


class Single(float):
    """A number that is stored in four bytes."""


def opened(data: bytes) -> dict[str, Any]:
    """The fields of a stored policy."""
    magic, schema, length = HEADER.unpack_from(data)
    body, checksum = data[HEADER.size : -CHECKSUM], data[-CHECKSUM:]
    assert (magic, schema, length) == (MAGIC, SCHEMA, len(body))
    assert hashlib.sha256(data[:-CHECKSUM]).digest() == checksum
    fields = read(body)
    assert isinstance(fields, dict)
    return fields


def sealed(fields: dict[str, Any]) -> bytes:
    """A stored policy of these fields, with the header and checksum that belong to them."""
    body = written(fields)
    content = HEADER.pack(MAGIC, SCHEMA, len(body)) + body
    return content + hashlib.sha256(content).digest()


SINGLE = 0xCA
NUMBERS = {SINGLE: ">f", 0xCB: ">d"}
NUMBERS |= {0xCC + at: form for at, form in enumerate([">B", ">H", ">I", ">Q", ">b", ">h", ">i", ">q"])}
BYTES = {0xC4: ">B", 0xC5: ">H", 0xC6: ">I"}
TEXTS = {0xD9: ">B", 0xDA: ">H", 0xDB: ">I"}
LISTS = {0xDC: ">H", 0xDD: ">I"}
MAPS = {0xDE: ">H", 0xDF: ">I"}
CONSTANTS = {0xC0: None, 0xC2: False, 0xC3: True}


def read(data: bytes) -> Any:
    """The one value that these bytes hold."""
    value, end = _read(data, 0)
    assert end == len(data)
    return value


def _read(data: bytes, at: int) -> tuple[Any, int]:
    """The value that begins at `at`, and where it ends."""

    def number(form: str) -> tuple[Any, int]:
        return struct.unpack_from(form, data, at + 1)[0], at + 1 + struct.calcsize(form)

    tag = data[at]
    if tag < 0x80 or tag >= 0xE0:
        return (tag if tag < 0x80 else tag - 0x100), at + 1
    if tag < 0x90:
        return _map(data, at + 1, tag & 0x0F)
    if tag < 0xA0:
        return _list(data, at + 1, tag & 0x0F)
    if tag < 0xC0:
        return data[at + 1 : at + 1 + (tag & 0x1F)].decode(), at + 1 + (tag & 0x1F)
    if tag in CONSTANTS:
        return CONSTANTS[tag], at + 1
    if tag == SINGLE:
        value, end = number(NUMBERS[tag])
        return Single(value), end
    if tag in NUMBERS:
        return number(NUMBERS[tag])
    if tag in TEXTS:
        length, start = number(TEXTS[tag])
        return data[start : start + length].decode(), start + length
    if tag in BYTES:
        length, start = number(BYTES[tag])
        return data[start : start + length], start + length
    length, start = number({**LISTS, **MAPS}[tag])
    return (_list if tag in LISTS else _map)(data, start, length)


def _list(data: bytes, at: int, count: int) -> tuple[list[Any], int]:
    items = []
    for _ in range(count):
        item, at = _read(data, at)
        items.append(item)
    return items, at


def _map(data: bytes, at: int, count: int) -> tuple[dict[str, Any], int]:
    flat, end = _list(data, at, 2 * count)
    return dict(zip(flat[::2], flat[1::2], strict=True)), end


def written(value: Any) -> bytes:
    """In as few bytes as there can be."""
    if value is None or isinstance(value, bool):
        return bytes([{None: 0xC0, False: 0xC2, True: 0xC3}[value]])
    if isinstance(value, float):
        tag = SINGLE if isinstance(value, Single) else 0xCB
        return bytes([tag]) + struct.pack(NUMBERS[tag], value)
    if isinstance(value, int):
        return _whole(value)
    if isinstance(value, bytes):
        return _sized(BYTES, len(value)) + value
    if isinstance(value, str):
        text = value.encode()
        return (bytes([0xA0 | len(text)]) if len(text) < 32 else _sized(TEXTS, len(text))) + text
    count = len(value)
    if isinstance(value, dict):
        items = [part for pair in value.items() for part in pair]
        return (bytes([0x80 | count]) if count < 16 else _sized(MAPS, count)) + b"".join(map(written, items))
    return (bytes([0x90 | count]) if count < 16 else _sized(LISTS, count)) + b"".join(map(written, value))


def _whole(value: int) -> bytes:
    if -32 <= value < 128:
        return struct.pack(">b" if value < 0 else ">B", value)
    forms = [(tag, form) for tag, form in NUMBERS.items() if form[1] in ("bhiq" if value < 0 else "BHIQ")]
    room = value if value >= 0 else -2 * value - 1
    tag, form = next((tag, form) for tag, form in forms if room < 256 ** struct.calcsize(form))
    return bytes([tag]) + struct.pack(form, value)


def _sized(forms: dict[int, str], length: int) -> bytes:
    tag, form = next((tag, form) for tag, form in forms.items() if length < 256 ** struct.calcsize(form))
    return bytes([tag]) + struct.pack(form, length)
