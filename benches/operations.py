"""What it costs to be able to see, doubt and undo: everything on against everything off.

usage: python benches/operations.py [--requests 20000] [--repeats 15] [--through-server 0]

Prints a markdown table: microseconds of CPU time a request of `cascade(x)`, all threads included, with nothing on, with
each part by itself, and with all of them; the least of several repeats, taken in turns. Stages look up what they say,
so that what is measured is the rest.

With --through-server, so many requests go through a server in a process of its own, by `hey`, with all of it on, in
ten rounds; a second table has the memory of that process before and after each round.
"""

from __future__ import annotations

import argparse
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import urlopen

import prometheus_client

import ttamer_fast as tt
from records import in_turns, looked_up, print_beyond_the_first, synthetic

SHARE = 0.02
ROUNDS = 10
CALLERS = 16
LONGEST_START = 60.0


def cascades(trace: tt.Trace, folder: Path) -> dict[str, tt.Cascade[Any, Any]]:
    """With nothing on, with each part, and with all of them."""
    policy, second, stages = tt.fit(trace, tradeoff=0.9), tt.fit(trace, tradeoff=0.7), looked_up(trace, batched=False)

    def log(name: str) -> tt.RecordLog:
        return tt.RecordLog(folder / name)

    ways: dict[str, tt.Cascade[Any, Any]] = {
        "nothing": tt.Cascade(policy, stages),
        "a slot": tt.Cascade(tt.PolicySlot(policy), stages),
        "metrics": tt.Cascade(policy, stages),
        "a shadow": tt.Cascade(policy, stages, shadow=second),
        "a log": tt.Cascade(policy, stages, record=log("log")),
        f"a log, {SHARE:.0%} run through": tt.Cascade(policy, stages, record=log("explored"), explore=SHARE),
        "all of it": tt.Cascade(
            tt.PolicySlot(policy), stages, record=log("all"), explore=SHARE, shadow=tt.PolicySlot(second)
        ),
    }
    for name in ("metrics", "all of it"):
        tt.integrations.prometheus.register(ways[name], prometheus_client.CollectorRegistry())
    return ways


def overhead(requests: int, repeats: int) -> None:
    """The first table."""
    with tempfile.TemporaryDirectory() as folder:
        ways = cascades(synthetic(), Path(folder))
        served = {name: [cascade(row) for row in range(200)] for name, cascade in ways.items()}
        plain = [(one.stage, one.consulted, one.cost) for one in served["nothing"]]
        for name, found in served.items():
            assert [(one.stage, one.consulted, one.cost) for one in found] == plain, name
        least = in_turns(ways, requests, repeats)
        for cascade in ways.values():
            if cascade._recorder is not None:
                cascade._recorder.log.close()
    print("| on | µs of CPU a request | beyond nothing |\n| --- | --- | --- |")
    print_beyond_the_first(least)


def serve(port: int, folder: Path) -> None:
    """The server, until a signal ends it."""
    import uvicorn

    trace = synthetic()
    policy, second = tt.fit(trace, tradeoff=0.9), tt.fit(trace, tradeoff=0.7)
    made = looked_up(trace, batched=False)
    stages = [tt.Stage(awaited(one.run), signal=one.signal, prediction=one.prediction, name=one.name) for one in made]
    monitor = tt.DriftMonitor.fit(policy, trace)
    slot = tt.PolicySlot(policy)
    with tt.RecordLog(folder) as log:
        cascade = tt.Cascade(
            slot, stages, record=log, explore=SHARE, shadow=second, observers=[monitor.update_record], timing=True
        )
        application = tt.integrations.asgi.app(cascade, int, lambda served: {"stage": served.stage}, monitor=monitor)
        uvicorn.run(application, host="127.0.0.1", port=port, log_level="warning", access_log=False)


def awaited(run: Any) -> Any:
    """The same as a coroutine function, so that no threads are needed."""

    async def runs(x: int) -> Any:
        return run(x)

    return runs


def through_server(requests: int) -> None:
    """The second table."""
    hey = shutil.which("hey")
    if hey is None:
        sys.exit("operations: needs hey, a load generator: apt-get install hey")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, __file__, "--serve", str(port), "--folder", folder]
        server = subprocess.Popen(command)
        try:
            wait(f"{url}/v2/health/ready")
            run_hey(hey, url, 2000)
            print("| requests | MiB of the process | requests a second |\n| --- | --- | --- |")
            print(f"| 0 | {resident(server.pid):.1f} | |")
            each = requests // ROUNDS
            for number in range(1, ROUNDS + 1):
                began = time.monotonic()
                run_hey(hey, url, each)
                rate = each / (time.monotonic() - began)
                print(f"| {number * each:,} | {resident(server.pid):.1f} | {rate:.0f} |", flush=True)
        finally:
            server.terminate()
            server.wait(30.0)


def run_hey(hey: str, url: str, requests: int) -> None:
    """So many requests, all of which are to be answered."""
    options = ["-n", str(requests), "-c", str(CALLERS), "-m", "POST", "-d", "17", f"{url}/predict"]
    said = subprocess.run([hey, *options], capture_output=True, text=True, check=True).stdout
    asked = requests // CALLERS * CALLERS
    if f"[200]\t{asked} responses" not in said:
        sys.exit(f"operations: not all of {asked} requests were answered:\n{said}")


def resident(process: int) -> float:
    """MiB of memory that a process has."""
    pages = int(Path(f"/proc/{process}/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def wait(url: str) -> None:
    """Until a page is there."""
    ends = time.monotonic() + LONGEST_START
    while time.monotonic() < ends:
        try:
            with urlopen(url):
                return
        except (URLError, ConnectionError):
            time.sleep(0.1)
    sys.exit(f"operations: {url} is not there")


def main() -> None:
    """As the command line says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=20_000)
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--through-server", type=int, default=0)
    parser.add_argument("--serve", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve is not None:
        serve(options.serve, options.folder)
        return
    overhead(options.requests, options.repeats)
    if options.through_server:
        print()
        through_server(options.through_server)


if __name__ == "__main__":
    main()
