"""The picture of a tree or forest: which stage opens up which, and above which loss in hand to run each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .colours import short, stage_colour

__all__ = ["MOST_TREE_STAGES", "Tree", "draw_tree"]

MOST_TREE_STAGES = 64
"""Stages that one picture shows."""


class Tree:
    """Where the stages of a tree go: depth from left to right, height from top to bottom."""

    def __init__(self, parent: list[int]) -> None:
        self.depth: list[int] = []
        self.children: dict[int, list[int]] = {v: [] for v in range(-1, len(parent))}
        for v, p in enumerate(parent):
            self.depth.append(0 if p < 0 else self.depth[p] + 1)
            self.children[p].append(v)
        self.levels = max(self.depth) + 1
        self.leaves = sum(not self.children[v] for v in range(len(parent)))

    def heights(self) -> dict[int, float]:
        """Leaves one below the other in depth-first order, each parent halfway between its first and last child."""
        order: list[int] = []
        waiting = self.children[-1][::-1]
        while waiting:
            order.append(waiting.pop())
            waiting += self.children[order[-1]][::-1]
        height = {v: float(place) for place, v in enumerate(v for v in order if not self.children[v])}
        for v in reversed(order):
            if self.children[v]:
                height[v] = 0.5 * (height[self.children[v][0]] + height[self.children[v][-1]])
        return height


def draw_tree(figure: Any, rule: dict[str, Any], stages: Sequence[str], headline: str) -> None:
    """Stages from left to right by depth, a line from each parent, and the range of indices in each box."""
    tree = Tree(rule["parent"])
    depth, height = tree.depth, tree.heights()
    axes = figure.add_subplot()
    for v, p in enumerate(rule["parent"]):
        if p >= 0:
            axes.plot([depth[p], depth[v]], [height[p], height[v]], color="#999999", linewidth=1.2, zorder=1)
        text = f"{short(stages[v])}\n{_index_range(rule['index'][v][:-1])}"
        box = {"boxstyle": "round,pad=0.4", "facecolor": "white", "edgecolor": stage_colour(v), "linewidth": 1.8}
        axes.text(depth[v], height[v], text, ha="center", va="center", fontsize=9, bbox=box, zorder=2)
    axes.set_xlim(-0.55, tree.levels - 0.45)
    axes.set_ylim(tree.leaves - 0.4, -0.6)
    axes.axis("off")
    said = "The open stage with the least index is next, while the loss in hand is above it"
    axes.set_title(f"{headline}\n{said}", loc="left", fontsize=10)


def _index_range(index: list[float | str]) -> str:
    values = sorted({float(x) for x in index})
    if len(values) == 1:
        return f"run above {values[0]:.3g}"
    return f"run above {values[0]:.3g} to {values[-1]:.3g}"
