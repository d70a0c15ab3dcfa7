"""A BERT encoder as ONNX graphs, written from its weights: one block a layer, or the whole of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper
from safetensors.numpy import load_file

__all__ = ["Encoder", "Head"]

Floats = NDArray[np.float32]


class Head(NamedTuple):
    """A linear classifier of the mean of the hidden states: (width, classes) and (classes,)."""

    weight: Floats
    bias: Floats


class Encoder:
    """The weights of an encoder in a folder with `config.json` and `model.safetensors`."""

    def __init__(self, folder: Path) -> None:
        self._weights = load_file(folder / "model.safetensors")
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        self.layers = int(config["num_hidden_layers"])
        self.width = int(config["hidden_size"])
        self.heads = int(config["num_attention_heads"])
        self.epsilon = float(config["layer_norm_eps"])

    def block(self, at: int, head: Head | None = None) -> bytes:
        """Block 0 is the embeddings, block i layer i. It takes `hidden_<i - 1>`, or `input_ids`, and `attention_mask`,
        and gives `hidden_<i>`, but for the last, and `logits`: of the head, or without one the mean that it gets."""
        return self.part(at - 1, at, head)

    def part(self, after: int, to: int, head: Head | None = None) -> bytes:
        """The blocks after one, -1 for all from the first, up to another one, as a single block."""
        graph = _Graph(self)
        if after < 0:
            graph.embeddings("hidden_0")
        else:
            graph.takes(f"hidden_{after}")
        for layer in range(max(after, 0), to):
            graph.layer(layer, f"hidden_{layer}", f"hidden_{layer + 1}")
        if to < self.layers:
            graph.gives(f"hidden_{to}")
        graph.exit(f"hidden_{to}", head)
        return graph.model()

    def whole(self, head: Head) -> bytes:
        """All layers and the last head in one graph, which takes `input_ids` and `attention_mask`."""
        graph = _Graph(self)
        graph.embeddings("hidden_0")
        for layer in range(self.layers):
            graph.layer(layer, f"hidden_{layer}", f"hidden_{layer + 1}")
        graph.exit(f"hidden_{self.layers}", head)
        return graph.model()

    def weight(self, name: str) -> Floats:
        """By its name in the file."""
        found: Floats = self._weights[name]
        return found


class _Graph:
    """A graph in the making."""

    def __init__(self, encoder: Encoder) -> None:
        self._encoder = encoder
        self._nodes: list[Any] = []
        self._held: dict[str, NDArray[Any]] = {}
        self._outputs: list[Any] = []
        self._inputs = [helper.make_tensor_value_info("attention_mask", TensorProto.INT64, ["rows", "tokens"])]

    def takes(self, name: str) -> None:
        """Hidden states as an input."""
        self._inputs.append(self._hidden(name))

    def gives(self, name: str) -> None:
        """Hidden states as an output."""
        self._outputs.append(self._hidden(name))

    def embeddings(self, output: str) -> None:
        """Words and places, normalised."""
        self._inputs.append(helper.make_tensor_value_info("input_ids", TensorProto.INT64, ["rows", "tokens"]))
        weight = self._encoder.weight
        words = weight("embeddings.word_embeddings.weight")
        # All tokens are of the first type: its embedding is added to those of the places.
        places = weight("embeddings.position_embeddings.weight") + weight("embeddings.token_type_embeddings.weight")[0]
        word = self._add("Gather", self._hold("words", words), "input_ids")
        shape = self._add("Shape", "input_ids", start=1, end=2)
        count = self._add("Squeeze", shape, self._hold("first", np.array([0])))
        steps = self._add("Range", self._hold("zero", np.array(0)), count, self._hold("one", np.array(1)))
        place = self._add("Gather", self._hold("places", places), steps)
        self._normalised(self._add("Add", word, place), "embeddings.LayerNorm", output)

    def layer(self, at: int, before: str, after: str) -> None:
        """Attention and a feed-forward network, each added to what it gets and normalised."""
        weight, heads, width = self._encoder.weight, self._encoder.heads, self._encoder.width
        name, size = f"encoder.layer.{at}", width // heads
        parts = [f"{name}.attention.self.{part}" for part in ("query", "key", "value")]
        scale = np.float32(1.0 / np.sqrt(size))
        weights = [weight(f"{part}.weight").T for part in parts]
        biases = [weight(f"{part}.bias") for part in parts]
        weights[0], biases[0] = weights[0] * scale, biases[0] * scale
        joined = self._linear(before, np.concatenate(weights, axis=1), np.concatenate(biases))
        split = [f"{name}.{part}" for part in ("q", "k", "v")]
        self._nodes.append(helper.make_node("Split", [joined], split, axis=-1, num_outputs=3))
        by_head = self._hold("by_head", np.array([0, 0, heads, size]))
        query, key, value = (
            self._add("Transpose", self._add("Reshape", part, by_head), perm=perm)
            for part, perm in zip(split, ([0, 2, 1, 3], [0, 2, 3, 1], [0, 2, 1, 3]), strict=True)
        )
        weighed = self._add("Softmax", self._add("Add", self._add("MatMul", query, key), self._ruled_out()), axis=-1)
        seen = self._add("Transpose", self._add("MatMul", weighed, value), perm=[0, 2, 1, 3])
        flat = self._add("Reshape", seen, self._hold("flat", np.array([0, 0, width])))
        attended = self._dense(flat, f"{name}.attention.output.dense")
        middle = self._normalised(self._add("Add", attended, before), f"{name}.attention.output.LayerNorm")
        wide = self._add("Gelu", self._dense(middle, f"{name}.intermediate.dense"))
        narrow = self._dense(wide, f"{name}.output.dense")
        self._normalised(self._add("Add", narrow, middle), f"{name}.output.LayerNorm", after)

    def exit(self, hidden: str, head: Head | None) -> None:
        """The mean of the hidden states of the words that are there, and the head on it."""
        classes = self._encoder.width if head is None else len(head.bias)
        self._outputs.append(helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["rows", classes]))
        mask = self._add("Unsqueeze", self._mask(), self._hold("last", np.array([-1])))
        words = self._hold("words_axis", np.array([1]))
        total = self._add("ReduceSum", self._add("Mul", hidden, mask), words, keepdims=0)
        count = self._add("ReduceSum", mask, words, keepdims=0)
        if head is None:
            self._add("Div", total, count, output="logits")
            return
        mean = self._add("Div", total, count)
        product = self._add("MatMul", mean, self._hold("head", head.weight))
        self._add("Add", product, self._hold("head_bias", head.bias), output="logits")

    def model(self) -> bytes:
        """The bytes of the model, checked."""
        held = [onnx.numpy_helper.from_array(value, name) for name, value in self._held.items()]
        graph = helper.make_graph(self._nodes, "encoder", self._inputs, self._outputs, held)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)
        onnx.checker.check_model(model)
        return bytes(model.SerializeToString())

    def _hidden(self, name: str) -> Any:
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, ["rows", "tokens", self._encoder.width])

    def _hold(self, name: str, value: NDArray[Any]) -> str:
        self._held[name] = value
        return name

    def _add(self, kind: str, *inputs: str, output: str | None = None, **attributes: Any) -> str:
        name = output or f"{kind.lower()}_{len(self._nodes)}"
        self._nodes.append(helper.make_node(kind, list(inputs), [name], **attributes))
        return name

    def _mask(self) -> str:
        return self._add("Cast", "attention_mask", to=TensorProto.FLOAT)

    def _ruled_out(self) -> str:
        """What is added to the scores of the words that are not there."""
        missing = self._add("Sub", self._hold("there", np.array(1.0, np.float32)), self._mask())
        large = self._add("Mul", missing, self._hold("never", np.array(-1e4, np.float32)))
        return self._add("Unsqueeze", large, self._hold("heads_and_words", np.array([1, 2])))

    def _linear(self, x: str, weight: Floats, bias: Floats) -> str:
        held = f"weight_{len(self._nodes)}"
        product = self._add("MatMul", x, self._hold(held, np.ascontiguousarray(weight)))
        return self._add("Add", product, self._hold(f"{held}.bias", bias))

    def _dense(self, x: str, name: str) -> str:
        return self._linear(x, self._encoder.weight(f"{name}.weight").T, self._encoder.weight(f"{name}.bias"))

    def _normalised(self, x: str, name: str, output: str | None = None) -> str:
        scale = self._hold(f"{name}.weight", self._encoder.weight(f"{name}.weight"))
        shift = self._hold(f"{name}.bias", self._encoder.weight(f"{name}.bias"))
        return self._add("LayerNormalization", x, scale, shift, output=output, axis=-1, epsilon=self._encoder.epsilon)
