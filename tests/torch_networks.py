"""Networks of PyTorch for tests: one that is trained on digits within seconds, and what the plain modules answer."""

from __future__ import annotations

from functools import cache
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.datasets import load_digits
from torch import nn

__all__ = ["Digits", "K", "counted", "digits", "plain_logits"]

K = 4


class Digits(NamedTuple):
    """A trained network, and images that it has not seen."""

    blocks: tuple[nn.Module, ...]
    heads: tuple[nn.Module, ...]
    images: NDArray[np.float32]
    labels: NDArray[np.int64]


@cache
def digits() -> Digits:
    """Convolutions and a linear layer with four exits; trained on 797 images, with 1000 left over."""
    torch.manual_seed(0)
    pixels, labels = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(labels))
    images = (pixels[order] / 16.0).astype(np.float32).reshape(-1, 1, 8, 8)
    targets = labels[order].astype(np.int64)
    blocks = (
        nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
        nn.Sequential(nn.Conv2d(4, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU()),
        nn.Sequential(nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Dropout(0.2)),
        nn.Sequential(nn.Linear(512, 128), nn.ReLU()),
    )
    heads = (
        nn.Sequential(nn.AvgPool2d(2), nn.Flatten(), nn.Linear(16, 10)),
        nn.Sequential(nn.AvgPool2d(2), nn.Flatten(), nn.Linear(64, 10)),
        nn.Linear(512, 10),
        nn.Linear(128, 10),
    )
    network = nn.ModuleList([*blocks, *heads])
    optimizer = torch.optim.Adam(network.parameters(), lr=0.01)
    x, y = torch.from_numpy(images[:797]), torch.from_numpy(targets[:797])
    for _ in range(12):
        for rows in torch.randperm(len(y)).split(64):
            hidden, loss = x[rows], torch.zeros(())
            for block, head in zip(blocks, heads, strict=True):
                hidden = block(hidden)
                loss = loss + nn.functional.cross_entropy(head(hidden), y[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    network.eval()
    return Digits(blocks, heads, images[797:], targets[797:])


def plain_logits(blocks: Any, heads: Any, inputs: Any) -> list[NDArray[Any]]:
    """Logits of all exits, by the modules alone, row by row of nothing but themselves."""
    found = []
    with torch.no_grad():
        hidden = inputs
        for block, head in zip(blocks, heads, strict=True):
            hidden = block(hidden)
            found.append(head(hidden).numpy())
    return found


class Counted(nn.Module):
    """A module that remembers how many rows it was called with."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module
        self.calls: list[int] = []
        self.train(module.training)

    def forward(self, *values: torch.Tensor) -> Any:
        self.calls.append(len(values[0]))
        return self.module(*values)


def counted(modules: Any) -> list[Counted]:
    """The same modules, each remembering its calls."""
    return [Counted(module) for module in modules]
