"""The processes of the day: the server and the encoder, begun, killed and revived."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

from asking import Asker

__all__ = ["Program", "free_port", "until", "until_there"]

HERE = Path(__file__).parent

LONGEST_WAIT = 60.0
"""Seconds until something that is waited for is an error."""


class Program:
    """A program of this folder in a process of its own.

    Parameters
    ----------
    name : str
        Its file.
    options : str
        Its arguments.
    environment : dict of str to str
        Added to that of this process.
    """

    def __init__(self, name: str, *options: str, **environment: str) -> None:
        self._command = [sys.executable, str(HERE / name), *options]
        self._environment = {**os.environ, **environment}
        self._process: subprocess.Popen[bytes] | None = None

    def begin(self) -> None:
        """In the background."""
        self._process = subprocess.Popen(self._command, env=self._environment)

    def tell(self, number: signal.Signals) -> None:
        """A signal."""
        assert self._process is not None
        self._process.send_signal(number)

    def ended(self) -> int:
        """Its exit status, once it has ended."""
        assert self._process is not None
        return self._process.wait(LONGEST_WAIT)

    def kill(self) -> None:
        """At once; nothing if it does not run."""
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait(LONGEST_WAIT)


def free_port() -> int:
    """A port at which nobody listens."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
        return port


async def until(port: int, path: str, status: int) -> None:
    """Waits until a page of the server has this status.

    Raises
    ------
    TimeoutError
        If it has not within a minute.
    """
    ends = time.monotonic() + LONGEST_WAIT
    ask = Asker(port)
    while time.monotonic() < ends:
        try:
            if (await ask("GET", path)).status == status:
                ask.close()
                return
        except OSError:
            ask.close()
        await asyncio.sleep(0.05)
    raise TimeoutError(f"{path} did not get the status {status}")


async def until_there(path: Path) -> None:
    """Waits until a file is there.

    Raises
    ------
    TimeoutError
        If it is not within a minute.
    """
    ends = time.monotonic() + LONGEST_WAIT
    while not path.exists():
        if time.monotonic() > ends:
            raise TimeoutError(f"{path} did not appear")
        await asyncio.sleep(0.05)
