"""Adapters whose runtime is not installed."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import pytest

import ttamer_fast as tt

ADAPTERS: dict[str, tuple[str, str, Callable[[], Any]]] = {
    "Chat": ("httpx2", "chat", lambda: tt.stages.Chat("http://127.0.0.1:9/v1", "small", messages="{x}")),
    "OnnxExits": ("onnxruntime", "onnx", lambda: tt.stages.OnnxExits([b""])),
    "OnnxModel": ("onnxruntime", "onnx", lambda: tt.stages.OnnxModel(b"")),
    "TorchExits": ("torch", "torch", lambda: tt.stages.TorchExits([], [])),
}
"""The module that each one needs, the extra that brings it, and how one is made."""


@pytest.mark.parametrize("name", ADAPTERS)
def test_without_its_runtime_an_adapter_names_the_extra(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    module, extra, make = ADAPTERS[name]
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(tt.MissingExtraError) as raised:
        make()
    assert str(raised.value) == f'{module} is not installed: pip install "ttamer_fast[{extra}]"'


def test_adapters_are_public() -> None:
    assert ADAPTERS.keys() <= set(tt.stages.__all__)
