"""Is a review good or bad? A word list, a small network and a language model under a policy.

usage: python examples/llm_cascade/cascade.py --data FOLDER [--sentences N] [--trace FILE.npz]
       python examples/llm_cascade/cascade.py --recorded FILE.npz [--data FOLDER --serve N]

Asks VADER, MiniLM and Gemma 3 270M behind the server of llama.cpp about sentences of SST-2, writes what they said and
how long that took to a trace, and compares policies with every model alone and with tuned thresholds. Then it serves
some sentences with a policy that was fitted to the others, and holds that against the replay of the trace. README.md
beside this file says what comes out. Exit codes: 69 a package is not installed, 66 the sentences are not there, 65 the
weights have another checksum.
"""

from __future__ import annotations

import argparse
import asyncio
import inspect
import random
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from time import perf_counter, process_time
from typing import Any

import encoder
import gemma
import numpy as np
from judged import table
from needs import NeedError, check_packages, sentences_in

import ttamer_fast as tt
from ttamer_fast._utils.arrays import Floats

STAGES = ("vader", "minilm", "gemma")
TRADEOFFS = (0.95, 0.985, 0.995)
SERVED_AT = 0.985
Stages = list[tt.Stage[str, Any]]


def main(arguments: Sequence[str] | None = None) -> int:
    """Record or read, compare, serve; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", help="folder with sst2_train.tsv and sst2_test.tsv (environment: TTAMER_SST2)")
    parser.add_argument("--sentences", type=int, default=1800, help="how many sentences are recorded (1800)")
    parser.add_argument("--trained-on", type=int, default=4000, help="sentences that train the head of MiniLM (4000)")
    parser.add_argument("--trace", default="llm_cascade.npz", help="where the trace is written (llm_cascade.npz)")
    parser.add_argument("--recorded", help="a trace that was written before: nothing is recorded")
    parser.add_argument("--serve", type=int, help="how many sentences are served (100; of a recorded trace, 0)")
    parser.add_argument("--cache", help="folder for the weights of Gemma, 253 MB (~/.cache/ttamer_fast)")
    options = parser.parse_args(arguments)
    try:
        asyncio.run(run(options))
    except NeedError as error:
        print(error, file=sys.stderr)
        return error.code
    return 0


async def run(options: argparse.Namespace) -> None:
    """What the options ask for."""
    count = options.serve if options.serve is not None else 0 if options.recorded else 100
    if options.recorded:
        trace, (numbers, bias) = tt.read_trace(options.recorded, loss="loss"), read_fitted(options.recorded)
        print_tables(trace)
        if count == 0:
            return
    train, test = (sentences_in(options.data, part) for part in ("train", "test"))
    check_packages()
    from threadpoolctl import threadpool_limits

    sample = random.Random(0).sample(test, trace.n if options.recorded else min(options.sentences, len(test)))
    # More threads only wait for each other in products of this size.
    with threadpool_limits(1), gemma.serving(gemma.joined(options.cache)) as url:
        prompt = gemma.prompt_of(train)
        async with gemma.chat_with(url, prompt) as chat:
            # A first prompt is read as a whole, the next ones from where the examples end: they say the same each time.
            await chat.run("")
            if not options.recorded:
                bias = await gemma.bias_of(chat, train[: gemma.UNLABELLED])
        if not options.recorded:
            numbers = encoder.trained(encoder.Encoder(), train[: options.trained_on])
        async with gemma.chat_with(url, prompt, bias) as chat:
            stages: Stages = [vader(), minilm(encoder.Head(encoder.Encoder(), numbers)), chat]
            if not options.recorded:
                trace = await record(stages, sample, options.trace, {"head": numbers, "bias": np.float64(bias)})
                print_tables(trace)
            await serve(stages, trace, sample[:count])


def vader() -> tt.Stage[str, Any]:
    """A list of words with their moods, and some rules."""
    from vaderSentiment.vaderSentiment import SentimentIntensityAnalyzer

    analyzer = SentimentIntensityAnalyzer()
    return tt.Stage(
        lambda sentence: analyzer.polarity_scores(sentence)["compound"],
        signal=abs,
        prediction=lambda mood: mood > 0.0,
        threads=0,
        name="vader",
    )


def minilm(head: encoder.Head) -> tt.Stage[str, Any]:
    """A small network with a linear head."""
    return tt.Stage(head, signal=abs, prediction=lambda odds: odds > 0.0, threads=0, name="minilm")


async def record(stages: Stages, sample: Sequence[tuple[str, bool]], path: str, fitted: Mapping[str, Any]) -> tt.Trace:
    """Ask every model about every sentence, and write what it said.

    Costs are ms of CPU a sentence. The file also has the seconds that each sentence took in each stage, `latency`
    (n, 3), and what else serving these stages again takes: `fitted`.
    """
    shape = (len(sample), len(stages))
    signal, latency, said = np.empty(shape), np.empty(shape), np.empty(shape, dtype=np.int64)
    spent = np.zeros(len(stages))
    for row, (sentence, _) in enumerate(sample):
        for j, stage in enumerate(stages):
            begun, cpu = perf_counter(), process_time()
            output = stage.run(sentence)
            if inspect.isawaitable(output):
                output = await output
            latency[row, j], spent[j] = perf_counter() - begun, spent[j] + process_time() - cpu
            assert stage.prediction is not None
            signal[row, j], said[row, j] = stage.signal(output), stage.prediction(output)
    truth = np.array([[label] for _, label in sample])
    cost = [float(f"{1e3 * seconds / len(sample):.3g}") for seconds in spent]
    trace = tt.Trace(signal, said != truth, cost, prediction=said, kind="models", stages=STAGES)
    trace.save(path)
    with np.load(path, allow_pickle=False) as saved:
        arrays = dict(saved)
    np.savez_compressed(path, **arrays, latency=latency.astype(np.float32), **fitted)
    for name, ms, seconds in zip(STAGES, cost, latency.T, strict=True):
        p50, p99 = 1e3 * np.quantile(seconds, [0.5, 0.99])
        print(f"{name}: {ms:g} ms of CPU a sentence; latency p50 {p50:.3g} ms, p99 {p99:.3g} ms")
    print(f"written: {Path(path)}", flush=True)
    return trace


def read_fitted(path: str) -> tuple[Floats, float]:
    """The head of MiniLM and the bias of Gemma, of a file that :func:`record` has written."""
    with np.load(path, allow_pickle=False) as saved:
        return saved["head"], float(saved["bias"])


def print_tables(trace: tt.Trace) -> None:
    """What policies are worth, beside every model alone and thresholds."""
    print(f"{trace.n} sentences, 5-fold cross-validation")
    for tradeoff in TRADEOFFS:
        print(f"\nλ = {tradeoff:g}\n{table(trace, tradeoff)}", flush=True)


async def serve(stages: Stages, trace: tt.Trace, sample: Sequence[tuple[str, bool]]) -> None:
    """Serve the first sentences with a policy that was fitted to the others, and hold that against the replay."""
    held_out, others = trace[: len(sample)], trace[len(sample) :]
    policy = tt.fit(others, tradeoff=SERVED_AT)
    assert held_out.prediction is not None
    replay = policy.replay(held_out.signal, held_out.prediction)
    cascade = tt.Cascade(policy, stages, timing=True)
    same, right, spent, gaps = 0, 0, 0.0, [0.0]
    for row, (sentence, label) in enumerate(sample):
        served = await cascade.acall(sentence, deadline=60.0)
        assert served.stage is not None
        asked = np.flatnonzero(replay.consulted[row]).tolist()
        same += served.stage == replay.answer[row] and sorted(served.consulted) == asked
        right += served.prediction[served.stage] == label
        spent += served.cost
        gaps += [abs(served.signal[j] - held_out.signal[row, j]) for j in served.consulted]
    n = len(sample)
    lost = held_out.loss[np.arange(n), replay.answer]
    print(f"\nserved at λ = {SERVED_AT:g}: {same} of {n} with the same stages and answer as in the replay")
    print(f"accuracy {right / n:.3f}, replayed {1.0 - lost.mean():.3f}")
    print(f"cost {spent / n:.4g} ms, replayed {replay.cost.mean():.4g} ms")
    print(f"largest difference of a signal from the trace: {max(gaps):.1e}")


if __name__ == "__main__":
    sys.exit(main())
