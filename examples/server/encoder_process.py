"""The encoder in a process of its own, behind a Unix socket; it can be killed.

A line of JSON comes in, which exit of which sentences is asked for, and a line goes out, log-odds of "positive".
Sentences are known by keys: a later exit goes on from where the earlier one has left a sentence.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from collections import OrderedDict
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from feeling import LAYERS, LONGEST_LINE
from numpy.typing import NDArray

import ttamer_fast as tt

sys.path.insert(0, str(Path(__file__).parent.parent / "sentiment_exits"))

__all__ = ["Kept", "exits_of"]

MOST_KEPT = 4096
"""Sentences whose states are kept: far more than are under way at one time."""


class Kept:
    """Sentences that have been begun, the last ones.

    Parameters
    ----------
    exits : OnnxExits
        Of the encoder.
    tokenizer : tokenizers.Tokenizer
        What makes tokens of text.
    """

    def __init__(self, exits: tt.stages.OnnxExits, tokenizer: Any) -> None:
        self._exits = exits
        self._tokenizer = tokenizer
        self._requests: OrderedDict[str, tt.Request[dict[str, Any]]] = OrderedDict()

    def odds(self, at: int, sentences: list[tuple[str, str]]) -> list[float]:
        """Log-odds of "positive" at one exit."""
        new = [(key, text) for key, text in sentences if key not in self._requests]
        if new:
            tokens = self._tokenizer.encode_batch([text for _, text in new])
            for (key, _), one in zip(new, tokens, strict=True):
                self._requests[key] = tt.Request({"input_ids": one.ids, "attention_mask": one.attention_mask})
        batch = self._exits[at].batch
        assert batch is not None
        logits: NDArray[Any] = np.asarray(batch([self._requests[key] for key, _ in sentences]))
        while len(self._requests) > MOST_KEPT:
            self._requests.popitem(last=False)
        found: list[float] = (logits[:, 1] - logits[:, 0]).tolist()
        return found


def exits_of(folder: Path) -> tt.stages.OnnxExits:
    """The exits in a folder that was prepared."""
    return tt.stages.OnnxExits([folder / f"layer_{layer}.onnx" for layer in LAYERS], pad=0, intra_op_threads=1)


async def listen(folder: Path, socket: Path) -> None:
    """Answers until it is killed."""
    from sentences import tokenizer_of
    from sentiment import weights

    kept = Kept(exits_of(folder), tokenizer_of(weights()))
    kept.odds(len(LAYERS) - 1, [("", "a first sentence, so that all is loaded")])

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        line = await reader.readline()
        if line:
            asked = json.loads(line)
            writer.write(json.dumps(kept.odds(asked["exit"], asked["sentences"])).encode() + b"\n")
            with suppress(ConnectionError):  # who asked had no time left to wait
                await writer.drain()
        writer.close()

    socket.unlink(missing_ok=True)
    server = await asyncio.start_unix_server(answer, socket, limit=LONGEST_LINE)
    await server.serve_forever()


def main() -> None:
    """As the command line says."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--folder", type=Path, required=True, help="with the exits and the policy, as day.py makes it")
    parser.add_argument("--socket", type=Path, required=True, help="where to listen")
    options = parser.parse_args()
    asyncio.run(listen(options.folder, options.socket))


if __name__ == "__main__":
    main()
