"""Options and arguments that commands share."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer


class Kind(StrEnum):
    """Of a trace."""

    EXITS = "exits"
    MODELS = "models"


class Loss(StrEnum):
    """Which losses of a trace file count."""

    AUTO = "auto"
    CORRECT = "correct"
    LOSS = "loss"


class Graph(StrEnum):
    """Which stage may be next."""

    AUTO = "auto"
    LINE = "line"
    SKIP = "skip"


class Estimator(StrEnum):
    """How indices are fitted."""

    AUTO = "auto"
    PATHWISE = "pathwise"
    MARKOV = "markov"


class Recall(StrEnum):
    """Whether an earlier answer may be returned."""

    AUTO = "auto"
    YES = "yes"
    NO = "no"


TraceFile = Annotated[Path, typer.Argument(help="Trace: .npz, .parquet or .csv.")]
PolicyFile = Annotated[Path, typer.Argument(help="Policy file.")]
KindOption = Annotated[
    Kind | None, typer.Option(help="Default: what the file says, else what the policy says, else exits.")
]
LossOption = Annotated[Loss, typer.Option(help="Which losses of the file count.")]
DefaultLossOption = Annotated[float, typer.Option(help="Of answering with nothing; inf: some stage has to answer.")]
DeadlineOption = Annotated[
    float, typer.Option(help="Seconds that each request has; the trace needs latencies. Default: as many as it takes.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]
