"""What takes in records and writes them: what is counted where threads write at the same time."""

from __future__ import annotations

import threading
from pathlib import Path

from ttamer_fast._core import RecordWriter


def test_what_another_thread_is_about_to_write_is_not_dropped_by_a_close(tmp_path: Path) -> None:
    for number in range(2000):
        writer = RecordWriter(tmp_path, str(number), 1 << 20, 3600.0, 100, 100)
        policy = writer.declare("", ["only"], "exits", [1.0])
        writer.append(policy, "x", [(0, 0.5, 1)], 0, False, 1.0, 0.1, {}, {}, None, 0.0)
        threads = [threading.Thread(target=writer.flush) for _ in range(3)]
        for thread in threads:
            thread.start()
        writer.close()
        for thread in threads:
            thread.join()
        assert writer.counts == (0, 1, 0)
