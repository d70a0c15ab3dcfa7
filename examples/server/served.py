"""The server: the cascade behind HTTP, with all that an operator needs switched on.

TTAMER_TOKEN=... python examples/server/served.py --folder FOLDER --socket SOCKET --port PORT
"""

from __future__ import annotations

import argparse
import math
import os
import time
from pathlib import Path

import feeling

import ttamer_fast as tt

__all__ = ["Watch"]

SECONDS = 0.2
"""Between two looks at a file."""


class Watch:
    """Looks for drift under the policy in service: an observer, with a monitor that belongs to one policy.

    Parameters
    ----------
    path : Path
        The file of the monitor. It is read where requests come that another policy has decided, as
        often as other files are looked at.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._monitor: tt.DriftMonitor | None = None
        self._looked = -math.inf

    def present(self) -> tt.DriftMonitor | None:
        """The monitor at present, None before there is one."""
        return self._monitor

    def __call__(self, record: tt.Record) -> None:
        """One request is decided."""
        if self._monitor is None or record.digest != self._monitor.policy_digest:
            self._look()
        if self._monitor is not None and record.digest == self._monitor.policy_digest:
            self._monitor.update_record(record)

    def _look(self) -> None:
        now = time.monotonic()
        if now - self._looked > SECONDS and self._path.exists():
            self._looked = now
            self._monitor = tt.DriftMonitor.load(self._path)


def main() -> None:
    """Serves until a signal ends it."""
    import uvicorn

    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--folder", type=Path, required=True, help="with the exits and the policy, as day.py makes it")
    parser.add_argument("--socket", type=Path, required=True, help="where the encoder listens")
    parser.add_argument("--port", type=int, required=True, help="where to listen")
    parser.add_argument("--explore", type=float, default=0.02, help="share of requests that are run through")
    options = parser.parse_args()
    folder: Path = options.folder

    watch = Watch(folder / "monitor.ttamer")
    log = tt.RecordLog(folder / "records", flush_seconds=0.5)
    cascade = tt.Cascade(
        tt.PolicySlot(folder / "policy.ttamer", watch=SECONDS),
        feeling.stages(options.socket),
        timing=True,
        record=log,
        explore=options.explore,
        shadow=tt.PolicySlot(folder / "shadow.ttamer", watch=SECONDS),
        observers=[watch],
    )
    devices = dict.fromkeys(feeling.NAMES[1:], "encoder") | {feeling.NAMES[0]: "here"}
    application = tt.integrations.asgi.app(
        cascade,
        feeling.decode,
        feeling.encode,
        token=os.environ.get("TTAMER_TOKEN"),
        batcher={"max_batch": 16, "devices": devices},
        deadline=5.0,
        monitor=watch.present,
    )
    try:
        uvicorn.run(application, host="127.0.0.1", port=options.port, log_level="warning", access_log=False)
    finally:
        log.close()


if __name__ == "__main__":
    main()
