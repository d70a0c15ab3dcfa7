"""What `ttamer demo` prints."""

from __future__ import annotations

from ..demo import DemoResult

__all__ = ["demo_text"]


def demo_text(result: DemoResult) -> str:
    """Tables of what the demo found, and the files it wrote."""
    serving = result.serving
    lines = ["stage                 accuracy   latency"]
    for name, accuracy, latency in zip(result.stages, result.accuracy, result.latency_ms, strict=True):
        lines.append(f"{name:<20}  {accuracy:>8.2%}  {latency:>6.3f} ms")
    lines += ["", str(result.comparison), "", f"{serving.requests} held-out requests, served one by one:"]
    lines.append(f"{'way':<22}  accuracy  mean ms   p99 ms  models run")
    for way in serving.ways:
        lines.append(
            f"{way.name:<22}  {way.accuracy:>8.2%}  {way.mean_ms:>7.3f}  {way.p99_ms:>7.3f}  {way.models_run:>10.2f}"
        )
    share = serving.deciding_us / 1e3 / serving["policy"].mean_ms
    lines.append(f"deciding takes the policy {serving.deciding_us:.2f} µs a request, {share:.2%} of its mean latency")
    lines.append(f"the same answers as in a replay: {'yes' if serving.as_replayed else 'NO'}")
    lines += ["", "expected loss over a prophet's, on the instance of T-Tamer's Theorem 3.4:"]
    lines.append("alpha            " + "".join(f"{row.alpha:>9g}" for row in result.prophet))
    lines.append("without recall   " + "".join(f"{row.without_recall:>9.6g}" for row in result.prophet))
    lines.append("with recall      " + "".join(f"{row.with_recall:>9.6g}" for row in result.prophet))
    lines += ["", "written: " + ", ".join(result.files.values())]
    return "\n".join(lines)
