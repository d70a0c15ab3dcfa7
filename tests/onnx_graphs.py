"""Small ONNX models, and what they give, worked out with numpy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

WORDS, WIDTH, CLASSES = 20, 4, 3
"""Of the network of blocks."""

Shape = Sequence[int | str]
Weights = Mapping[str, NDArray[Any]]


def tensor(name: str, shape: Shape | None, dtype: str = "FLOAT") -> Any:
    from onnx import TensorProto, helper

    return helper.make_tensor_value_info(name, getattr(TensorProto, dtype), shape)


def model(inputs: Sequence[Any], outputs: Sequence[Any], nodes: Sequence[Any], weights: Weights) -> bytes:
    """The bytes of a model; nodes are (operator, inputs, outputs, attributes)."""
    import onnx
    from onnx import helper

    made = [helper.make_node(kind, takes, gives, **more) for kind, takes, gives, more in nodes]
    held = [onnx.numpy_helper.from_array(value, name) for name, value in weights.items()]
    graph = helper.make_graph(made, "graph", inputs, outputs, held)
    whole = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.checker.check_model(whole)
    return bytes(whole.SerializeToString())


def linear(weight: NDArray[Any], rows: int | str = "rows", output: str = "logits") -> bytes:
    """x (rows, d) to x @ weight."""
    d, c = weight.shape
    ends = [tensor("x", [rows, d])], [tensor(output, [rows, c])]
    return model(*ends, [("MatMul", ["x", "w"], [output], {})], {"w": weight.astype(np.float32)})


def slow(steps: int = 10_000_000, takes: str = "x", logits: str = "logits", passes: str | None = None) -> bytes:
    """x (rows, 2) to itself, after so many small steps: some seconds a million."""
    from onnx import TensorProto, helper

    body = helper.make_graph(
        [helper.make_node("Identity", ["go"], ["still"]), helper.make_node("Mul", ["v", "one"], ["next"])],
        "body",
        [tensor("i", [], "INT64"), tensor("go", [], "BOOL"), tensor("v", ["rows", 2])],
        [tensor("still", [], "BOOL"), tensor("next", ["rows", 2])],
        [helper.make_tensor("one", TensorProto.FLOAT, [], [1.0])],
    )
    nodes: list[Any] = [("Loop", ["steps", "yes", takes], [logits], {"body": body})]
    outputs = [tensor(logits, ["rows", 2])]
    if passes is not None:
        nodes.append(("Identity", [logits], [passes], {}))
        outputs.append(tensor(passes, ["rows", 2]))
    return model([tensor(takes, ["rows", 2])], outputs, nodes, {"steps": np.array(steps), "yes": np.array(True)})


class Network:
    """Words and a mask, k blocks that mix the words of a text, each with an exit; padding changes nothing."""

    def __init__(self, k: int = 4, seed: int = 0) -> None:
        rng = np.random.default_rng(seed)
        self.k = k
        self.words = rng.normal(size=(WORDS, WIDTH)).astype(np.float32)
        self.mix = rng.normal(size=(k, WIDTH, WIDTH)).astype(np.float32)
        self.head = 2.0 * rng.normal(size=(k, WIDTH, CLASSES)).astype(np.float32)

    def block(self, at: int) -> bytes:
        """Takes `ids` and `mask`, or `h<at>` and `mask`; gives `logits` and, but for the last, `h<at + 1>`."""
        before, after = f"h{at}", f"h{at + 1}"
        hidden: Shape = ["rows", "tokens", WIDTH]
        mask, logits = tensor("mask", ["rows", "tokens"]), tensor("logits", ["rows", CLASSES])
        first = tensor(before, hidden) if at else tensor("ids", ["rows", "tokens"], "INT64")
        nodes: list[Any] = [] if at else [("Gather", ["words", "ids"], [before], {})]
        nodes += [
            ("Unsqueeze", ["mask", "last"], ["wide"], {}),
            ("Mul", [before, "wide"], ["masked"], {}),
            ("ReduceSum", ["masked", "middle"], ["pooled"], {"keepdims": 1}),
            ("Add", [before, "pooled"], ["mixed"], {}),
            ("MatMul", ["mixed", "mix"], ["turned"], {}),
            ("Tanh", ["turned"], [after], {}),
            ("Mul", [after, "wide"], ["seen"], {}),
            ("ReduceSum", ["seen", "middle"], ["sum"], {"keepdims": 0}),
            ("MatMul", ["sum", "head"], ["logits"], {}),
        ]
        weights = {"mix": self.mix[at], "head": self.head[at], "last": np.array([-1]), "middle": np.array([1])}
        outputs = [logits, tensor(after, hidden)] if at + 1 < self.k else [logits]
        return model([first, mask], outputs, nodes, weights if at else weights | {"words": self.words})

    def blocks(self) -> list[bytes]:
        return [self.block(at) for at in range(self.k)]

    def logits(self, ids: Sequence[int]) -> NDArray[np.float64]:
        """(k, c) of one text, by numpy."""
        state = self.words[np.asarray(ids, np.int64)].astype(np.float64)
        said = []
        for mix, head in zip(self.mix, self.head, strict=True):
            state = np.tanh((state + state.sum(axis=0)) @ mix)
            said.append(state.sum(axis=0) @ head)
        return np.array(said)


def texts(n: int, seed: int = 0, longest: int = 9) -> list[dict[str, Any]]:
    """n texts of different lengths, as a tokenizer gives them."""
    rng = np.random.default_rng(seed)
    ids = [rng.integers(0, WORDS, rng.integers(1, longest + 1)).tolist() for _ in range(n)]
    return [{"ids": one, "mask": [1] * len(one)} for one in ids]
