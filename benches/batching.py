"""Requests that come one by one, on a device with a fixed cost a call: one by one, in step, and continuously batched.

usage: python benches/batching.py [--requests 2000] [--seconds 0.002] [--row-seconds 0.00002]

The device runs one call at a time, for `seconds` and `row-seconds` a row, on an event loop whose clock is virtual: its
times are exact and cost nothing. Stages are the exits of a synthetic trace. A second table has the CPU time that a
batcher takes a request and stage beside a bare loop, in real time, on stages that do nothing.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

import ttamer_fast as tt
import virtual_loop
from conftest import make_trace
from simulated_device import SimulatedDevice

TRADEOFF = 0.9
BATCH = 32


async def one_by_one(cascade: tt.Cascade[int, int], rows: Sequence[int]) -> list[tt.Served[int]]:
    return [await cascade.acall(row) for row in rows]


async def in_step(cascade: tt.Cascade[int, int], rows: Sequence[int]) -> list[tt.Served[int]]:
    tables = [await cascade.abatch(rows[at : at + BATCH]) for at in range(0, len(rows), BATCH)]
    return [served for table in tables for served in table]


async def continuously(cascade: tt.Cascade[int, int], rows: Sequence[int]) -> list[tt.Served[int]]:
    async with tt.Batcher(cascade, max_batch=BATCH) as batcher:
        return await asyncio.gather(*[batcher(row) for row in rows])
