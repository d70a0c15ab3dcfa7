"""Policies on requests of another domain, before and after `recalibrated`: the figures of docs/research/fitting.md.

usage: python benches/quality/domains.py [FOLDER] [--sizes 200 400 1000] [--draws 4]

Domains: exits of the same network on other texts (each of sst2_minilm and tweets_minilm under the policy of the other),
and for every trace the requests that its first stage gets wrong, three times as frequent. A policy of up to 6,000
requests of the old domain meets the new one; some requests of that recalibrate it, or are fitted by themselves; up to
6,000 others judge. Printed are objectives, times 1000, means over draws; in brackets their change against the policy as
it was, in per cent, ± one standard error over draws.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from recorded import parser_of, traces_of
from small import totals

import ttamer_fast as tt

TRADEOFFS = (0.70, 0.87, 0.95)
MOST = 6_000
"""Requests of the old domain, and those that judge."""
KEPT = 1 / 3
"""Of the requests that the first stage gets right, where the others are more frequent."""
TEXTS = ("sst2_minilm", "tweets_minilm")


def domains(traces: Mapping[str, tt.Trace]) -> Iterator[tuple[str, tt.Trace, tt.Trace]]:
    """Name, requests of the old domain, and of the new one."""
    if traces.keys() >= set(TEXTS):
        for before, after in (TEXTS, TEXTS[::-1]):
            old = traces[before].rows(shuffled(traces[before].n, 0)[:MOST])
            yield f"{before} → {after}", old, traces[after]
    for name, trace in traces.items():
        order = shuffled(trace.n, 0)
        first, rest = order[: trace.n // 2][:MOST], order[trace.n // 2 :]
        is_kept = (trace.loss[rest, 0] > 0.0) | (np.random.default_rng(1).random(len(rest)) < KEPT)
        yield f"{name}, harder", trace.rows(first), trace.rows(rest[is_kept])


def shuffled(n: int, seed: int) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    return np.random.default_rng(seed).permutation(n)


def line(name: str, old: tt.Trace, new: tt.Trace, tradeoff: float, sizes: Sequence[int], draws: int) -> str:
    """A row of the table."""
    policy = tt.fit(old, tradeoff=tradeoff)
    found: dict[str, list[float]] = {}
    for draw in range(draws):
        order = shuffled(new.n, 10 + draw)
        judge = new.rows(order[max(sizes) :][:MOST])

        def add(way: str, which: tt.Policy, judge: tt.Trace = judge) -> None:
            found.setdefault(way, []).append(float(totals(which, judge, tradeoff).mean()))

        add("as it was", policy)
        for size in sizes:
            some = new.rows(order[:size])
            add(f"recalibrated {size}", policy.recalibrated(some))
            add(f"fitted {size}", tt.fit(some, tradeoff=tradeoff))
    before = np.array(found.pop("as it was"))
    cells = [f"{1000 * before.mean():.1f}"]
    for after in found.values():
        change = 100 * (np.array(after) / before - 1)
        error = change.std(ddof=1) / np.sqrt(draws)
        cells.append(f"{1000 * np.mean(after):.1f} ({change.mean():+.1f} ± {error:.1f})")
    return f"| {name} | {tradeoff:g} | {' | '.join(cells)} |"


def main() -> None:
    parser = parser_of(__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=[200, 400, 1000], help="requests of the new domain")
    parser.add_argument("--draws", type=int, default=4, help="draws of these")
    options = parser.parse_args()
    ways = [f"{way}, {size} rows" for size in options.sizes for way in ("recalibrated", "fitted")]
    print(f"| domain | λ | as it was | {' | '.join(ways)} |")
    print("| --- " * (3 + len(ways)) + "|")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", tt.CalibrationWarning)
        for name, old, new in domains(traces_of(parser, options.folder)):
            if new.n >= 2 * max(options.sizes):
                for tradeoff in TRADEOFFS:
                    print(line(name, old, new, tradeoff, options.sizes, options.draws), flush=True)


if __name__ == "__main__":
    main()
