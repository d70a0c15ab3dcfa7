"""What is made before the server starts: exits trained, a trace recorded, policies fitted."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
from encoder_process import exits_of
from feeling import COST, LAYERS, NAMES, word_list
from numpy.typing import NDArray

import ttamer_fast as tt

__all__ = ["Prepared", "Sizes", "prepare", "trace_of"]


class Sizes(NamedTuple):
    """How many sentences there are for what."""

    heads: int
    """To train the exits."""
    policy: int
    """To fit policies to."""
    monitor: int
    """That a drift monitor compares with."""


class Prepared(NamedTuple):
    """What is not in the folder."""

    trace: tt.Trace
    """What the policy was fitted to."""
    monitor: tt.DriftMonitor
    """Of the policy."""
    sentences: list[tuple[str, int]]
    """That nothing has seen, with their labels."""


def prepare(data: Path, folder: Path, sizes: Sizes) -> Prepared:
    """Writes the exits and a policy into a folder."""
    from bert_blocks import Encoder
    from sentences import FILES, read, tokenized
    from sentiment import trained, weights

    parts = [read(data / name) for name in FILES]
    texts = [text for part in parts for text in part.texts]
    label = np.concatenate([part.label for part in parts])
    order = np.random.default_rng(0).permutation(len(texts))
    texts, label = [texts[at] for at in order], label[order]

    encoder = Encoder(weights())
    train = type(parts[0])(texts[: sizes.heads], label[: sizes.heads])
    heads = trained(encoder, tokenized(weights(), train), train.label, 1)
    for after, layer in zip((-1, *LAYERS), LAYERS, strict=False):
        (folder / f"layer_{layer}.onnx").write_bytes(encoder.part(after, layer, heads[layer]))

    used = sizes.heads + sizes.policy + sizes.monitor
    trace = trace_of(folder, texts[sizes.heads : used], label[sizes.heads : used])
    fitted = trace[: sizes.policy]
    policy = tt.fit(fitted, tradeoff=0.95)
    policy.save(folder / "policy.ttamer")
    policy.save(folder / "shadow.ttamer")
    monitor = tt.DriftMonitor.fit(policy, trace[sizes.policy :])
    return Prepared(fitted, monitor, list(zip(texts[used:], label[used:].tolist(), strict=True)))


def trace_of(folder: Path, texts: list[str], label: NDArray[np.int64]) -> tt.Trace:
    """What all stages say of sentences."""
    from sentences import Sentences, tokenized
    from sentiment import weights

    analyzer = word_list()
    moods = np.array([analyzer.polarity_scores(text)["compound"] for text in texts])
    logits = exits_of(folder).logits(tokenized(weights(), Sentences(texts, label)), batch=32)
    odds = np.stack([moods, *[one[:, 1] - one[:, 0] for one in logits]], axis=1)
    said = (odds > 0.0).astype(np.int64)
    return tt.Trace(np.abs(odds), said != label[:, None], COST, said, kind="exits", stages=NAMES)
