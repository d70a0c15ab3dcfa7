"""Exits of a transformer on a GPU: are the answers those of the CPU, what is gained, and what does an exit cost?

usage: python benches/gpu.py [--output benches/gpu.md]        # four minutes or less on a data-centre GPU
       python benches/gpu.py --cpu --smoke                    # a tiny network on the CPU, seconds: does it run?

Needs PyTorch and numpy alone. The network has the size of BERT base: 12 layers of width 768, 128 tokens a request. Its
weights are random, which no timing sees, and what a layer adds gets smaller from layer to layer. All exits share one
head, and an answer is wrong where it is not that of the whole network: hidden states come closer to the last one, so do
answers, and there is something to decide. Nothing is said about any task.

Without a CUDA device, or without PyTorch, it says so and ends with exit code 69.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from time import perf_counter
from typing import Any, NamedTuple

import numpy as np

import ttamer_fast as tt

try:
    import torch
    from torch import nn
except ImportError:
    print('torch is not installed: pip install "ttamer_fast[torch]"', file=sys.stderr)
    sys.exit(69)

UNAVAILABLE = 69
"""Exit code: there is no CUDA device, or no PyTorch (EX_UNAVAILABLE of sysexits.h)."""

CLASSES = 32
TRADEOFF = 0.9
FIRST, DECAY = 4.0, 0.7
"""What the first layer adds, beside its usual start, and by how much less each further one does."""


class Size(NamedTuple):
    """Of the network, of what is asked of it, and how long each timing may take."""

    layers: int
    width: int
    heads: int
    tokens: int
    words: int
    batches: tuple[int, ...]
    calibration: int
    compared: int
    seconds: float


FULL = Size(12, 768, 12, 128, 30_000, (1, 32, 256), 2048, 256, 2.0)
SMOKE = Size(4, 32, 2, 8, 100, (1, 4), 256, 64, 0.05)


class Layer(nn.Module):
    """One layer of a transformer, normalised before; the first one looks its words up."""

    def __init__(self, size: Size, is_first: bool) -> None:
        super().__init__()
        self.words = nn.Embedding(size.words, size.width) if is_first else None
        self.places = nn.Parameter(torch.randn(size.tokens, size.width)) if is_first else None
        self.layer = nn.TransformerEncoderLayer(
            size.width, size.heads, 4 * size.width, dropout=0.0, activation="gelu", batch_first=True, norm_first=True
        )

    def forward(self, x: Any) -> Any:
        """Words (n, t), or hidden states (n, t, width), to hidden states."""
        if self.words is not None:
            x = self.words(x) + self.places
        return self.layer(x)


class Head(nn.Module):
    """The mean of the hidden states, normalised, and a linear layer."""

    def __init__(self, size: Size) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(size.width)
        self.linear = nn.Linear(size.width, CLASSES)
        nn.init.normal_(self.linear.weight, std=4.0 / size.width**0.5)

    def forward(self, x: Any) -> Any:
        """Logits (n, classes)."""
        return self.linear(self.norm(x.mean(1)))


class Network(NamedTuple):
    """Blocks and heads on a device, the exits that they make, and a policy for these."""

    blocks: list[nn.Module]
    head: nn.Module
    exits: tt.stages.TorchExits


def network(size: Size, device: str, dtype: Any) -> Network:
    """The same weights on every device."""
    torch.manual_seed(0)
    layers = [Layer(size, at == 0) for at in range(size.layers)]
    with torch.no_grad():
        for at, layer in enumerate(layers):
            for added in (layer.layer.self_attn.out_proj, layer.layer.linear2):
                added.weight.mul_(FIRST * DECAY**at)
    blocks: list[nn.Module] = [*layers]
    head = Head(size)
    for module in [*blocks, head]:
        module.to(device, dtype).eval()
    return Network(blocks, head, tt.stages.TorchExits(blocks, [head] * size.layers))


def requests_of(size: Size, count: int, seed: int) -> Any:
    """Words (n, t) on the CPU."""
    return np.random.default_rng(seed).integers(0, size.words, (count, size.tokens))


def calibrated(made: Network, size: Size) -> tuple[tt.Policy, tt.Trace]:
    """A policy for these exits: an answer is wrong where it is not that of the last one; every layer costs the same."""
    signal, prediction = made.exits.answers(requests_of(size, size.calibration, 1))
    loss = prediction != prediction[:, -1:]
    trace = tt.Trace(signal, loss, np.ones(size.layers), prediction=prediction, kind="exits")
    return tt.fit(trace, tradeoff=TRADEOFF), trace


def timed(work: Callable[[], object], device: str, seconds: float) -> float:
    """Median milliseconds of a call, the device idle before and after it."""
    for _ in range(3):
        work()
    wait(device)
    found: list[float] = []
    begun = perf_counter()
    while len(found) < 5 or (perf_counter() - begun < seconds and len(found) < 300):
        before = perf_counter()
        work()
        wait(device)
        found.append(1000.0 * (perf_counter() - before))
    return float(np.median(found))


def wait(device: str) -> None:
    """Until the device has done all it was asked to."""
    if device == "cuda":
        torch.cuda.synchronize()


def compared(size: Size, device: str) -> list[str]:
    """Answers of the device beside those of the CPU in 32 bits, and what is served beside the replay."""
    words = requests_of(size, size.compared, 2)
    here, there = network(size, "cpu", torch.float32), network(size, device, torch.float32)
    signal, prediction = here.exits.answers(words, batch=32)
    other_signal, other_prediction = there.exits.answers(words, batch=32)
    policy, _ = calibrated(there, size)
    own = policy.replay(other_signal, other_prediction)
    table = tt.Cascade(policy, there.exits).batch(words)
    return [
        f"{size.compared} requests, float32, TF32 off; answers of all {size.layers} exits.",
        "",
        f"* Largest difference of a signal to the CPU: {np.abs(signal - other_signal).max():.2g}.",
        f"* Predictions that differ from the CPU: {(prediction != other_prediction).sum()} of {prediction.size}.",
        f"* Decisions that differ where the signals of the CPU are replayed: "
        f"{(policy.replay(signal, prediction).answer != own.answer).sum()} of {size.compared}.",
        f"* Served in a batch, beside the replay of the signals of the device: {(table.stage != own.answer).sum()} "
        f"answers differ of {size.compared}, {(table.consulted != own.consulted).any(axis=1).sum()} paths.",
    ]


def gains(size: Size, device: str, dtype: Any) -> list[str]:
    """Whole network and exits, by the size of the batch."""
    made = network(size, device, dtype)
    policy, trace = calibrated(made, size)
    seen = tt.evaluate(policy, trace)
    cascade: tt.Cascade[Any, Any] = tt.Cascade(policy, made.exits)
    lines = [
        f"Policy at λ = {TRADEOFF:g}: by its calibration trace it takes {seen.cost:.1f} of {size.layers} layers, and "
        f"{seen.loss:.1%} of its answers are not those of the whole network.",
        "",
        "| batch | whole network, ms | exits with compaction, ms | gain | layers run a request | all exits asked, ms | "
        "an exit costs, µs |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for batch in size.batches:
        words = requests_of(size, batch, 3)
        pool = [requests_of(size, batch, 10 + i) for i in range(20)]
        turn = [0]

        def served(pool: list[Any] = pool, turn: list[int] = turn) -> None:
            turn[0] += 1
            cascade.batch(pool[turn[0] % len(pool)])

        whole = timed(lambda words=words: whole_network(made, words, device), device, size.seconds)  # type: ignore[misc]
        every = timed(lambda words=words: ask_all(made, policy, words), device, size.seconds)  # type: ignore[misc]
        with_exits = timed(served, device, size.seconds)
        run = np.mean([layers_run(cascade.batch(one).consulted) for one in pool])
        each = 1000.0 * (every - whole) / size.layers
        lines.append(
            f"| {batch} | {whole:.2f} | {with_exits:.2f} | {whole / with_exits:.2f} | {run:.2f} | {every:.2f} | "
            f"{each:.0f} |"
        )
    return lines


def layers_run(consulted: Any) -> float:
    """Mean number of blocks that the rows of a batch went through."""
    last = consulted.shape[1] - consulted[:, ::-1].argmax(axis=1)
    return float(last.mean())


def whole_network(made: Network, words: Any, device: str) -> Any:
    """Classes on the host, by the plain modules."""
    with torch.inference_mode():
        x = torch.from_numpy(words)
        x = x.pin_memory().to(device, non_blocking=True) if device == "cuda" else x
        for block in made.blocks:
            x = block(x)
        return made.head(x).argmax(1).cpu()


def ask_all(made: Network, policy: tt.Policy, words: Any) -> None:
    """Every exit for every request, each with its signals, copy, wait, and one decision of the engine for all rows."""
    requests = [tt.Request(x) for x in words]
    for stage in made.exits:
        assert stage.batch is not None
        answers = stage.batch(requests)
        decide(policy, answers)


def decide(policy: tt.Policy, answers: Any) -> None:
    """Take the answers of an exit as those of the first stage of a batch: one decision a row."""
    batch = policy.start_batch(len(answers))
    stage = int(batch.next[0])
    batch.observe(stage, answers["signal"], answers["prediction"])


def parts(size: Size, device: str, dtype: Any) -> list[str]:
    """What an exit costs beside the blocks, part by part, each with the device idle before it."""
    from ttamer_fast.stages.torch_signals import read
    from ttamer_fast.stages.torch_values import rows_of

    made = network(size, device, dtype)
    policy, _ = calibrated(made, size)
    exits = made.exits
    lines = [
        "| batch | head, µs | signal, prediction, µs | the same, copy and wait, µs | decision, µs | "
        "half of the rows picked out, µs | one layer, µs |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for batch in size.batches:
        with torch.inference_mode():
            hidden = torch.randn(batch, size.tokens, size.width, device=device, dtype=dtype)
            logits = made.head(hidden)
            answers = exits._to_host(torch, read(torch, logits, "max_probability"))
            half = list(range(0, batch, 2))

            def us(work: Callable[[], object], where: str = device) -> float:
                return 1000.0 * timed(work, where, size.seconds / 4)

            row = [
                us(lambda hidden=hidden: made.head(hidden)),  # type: ignore[misc]
                us(lambda logits=logits: read(torch, logits, "max_probability")),  # type: ignore[misc]
                us(lambda logits=logits: exits._to_host(torch, read(torch, logits, "max_probability"))),  # type: ignore[misc]
                us(lambda answers=answers: decide(policy, answers), "cpu"),  # type: ignore[misc]
                us(lambda hidden=hidden, half=half: rows_of(torch, (hidden,), half, exits.device)),  # type: ignore[misc]
                us(lambda hidden=hidden: made.blocks[1](hidden)),  # type: ignore[misc]
            ]
        lines.append(f"| {batch} | " + " | ".join(f"{value:.1f}" for value in row) + " |")
    return lines


def hidden_waits(size: Size) -> list[str]:
    """Does anything but the one event wait for the device, or for another stream, or keep memory?"""
    made = network(size, "cuda", torch.bfloat16)
    policy, _ = calibrated(made, size)
    cascade: tt.Cascade[Any, Any] = tt.Cascade(policy, made.exits)
    words = requests_of(size, max(size.batches), 3)
    cascade.batch(words)
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        failures: Any = cascade.batch(words)[0].failures
    except tt.NoAnswerError as error:
        failures = error.failures
    finally:
        torch.cuda.set_sync_debug_mode("default")
    hidden = "nothing waits but the event" if not failures else f"something waits: {failures}"

    side = torch.cuda.Stream(priority=-1)
    with torch.cuda.stream(side):
        cascade.batch(words)  # its memory on this stream
    matrix = torch.randn(2048, 2048, device="cuda")
    matrix @ matrix
    torch.cuda.synchronize()
    for _ in range(5000):
        matrix @ matrix
    busy = torch.cuda.Event()
    busy.record()
    with torch.cuda.stream(side):
        cascade.batch(words)
    stream = "did not wait for it" if not busy.query() else "waited for it, or it was too short"
    torch.cuda.synchronize()
    del matrix

    before = torch.cuda.memory_allocated()
    for seed in range(5):
        cascade.batch(requests_of(size, max(size.batches), seed))
    left = torch.cuda.memory_allocated() - before
    return [
        f'* `torch.cuda.set_sync_debug_mode("error")` while a batch is served: {hidden}.',
        f"* A batch on a stream of its own, while the default stream was busy: {stream}.",
        f"* Bytes more on the device after five batches than before: {left}.",
    ]


def card(device: str) -> str:
    """What this was measured on."""
    name = torch.cuda.get_device_name() if device == "cuda" else "the CPU"
    return f"{name}, PyTorch {torch.__version__}, Python {sys.version.split()[0]}, {tt.__name__} {tt.__version__}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, and print a report; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cpu", action="store_true", help="on the CPU, whatever else is there")
    parser.add_argument("--smoke", action="store_true", help="a tiny network")
    parser.add_argument("--output", type=Path, help="a file for the report, beside printing it")
    options = parser.parse_args(arguments)
    if not options.cpu and not torch.cuda.is_available():
        print("there is no CUDA device here; --cpu measures the CPU", file=sys.stderr)
        return UNAVAILABLE
    device = "cpu" if options.cpu else "cuda"
    size = SMOKE if options.smoke else FULL
    if options.smoke:
        torch.set_num_threads(1)
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    begun, written = perf_counter(), []

    def section(title: str, lines: Sequence[str]) -> None:
        text = "\n".join([title, "", *lines, ""])
        print(text, flush=True)
        written.append(text)

    section(
        "# Exits of a transformer on a GPU",
        [
            f"Written by `python benches/gpu.py` on: {card(device)}.",
            "",
            f"{size.layers} layers of width {size.width}, {size.tokens} tokens a request, random weights, one head for "
            "all exits; an answer is wrong where it is not that of the whole network. Times are medians, wall clock.",
        ],
    )
    section("## Answers", compared(size, device))
    section("## Whole network and exits, bfloat16", gains(size, device, torch.bfloat16))
    section("## Whole network and exits, float32", gains(size, device, torch.float32))
    section("## What an exit costs beside its block, bfloat16", parts(size, device, torch.bfloat16))
    if device == "cuda":
        section("## Waits, streams, memory", hidden_waits(size))
    section("## Time", [f"All of this took {perf_counter() - begun:.0f} s."])
    if options.output:
        options.output.write_text("\n".join(written), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
