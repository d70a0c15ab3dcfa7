"""Policies with recall for early-exit networks and model cascades.

Fit a policy to a calibration trace, ask it after every stage whether to stop or which stage to run next, and return
the best answer in hand.

Examples
--------
>>> import numpy as np, ttamer_fast as tt
>>> rng = np.random.default_rng(0)
>>> signal = rng.random((1000, 3))
>>> trace = tt.Trace(signal, rng.random((1000, 3)) > signal, cost=[1.0, 2.0, 4.0])
>>> run = tt.fit(trace, tradeoff=0.9).start()
>>> while run.next is not None:
...     _ = run.observe(0.95)
>>> run.answer
0
"""

from __future__ import annotations

import importlib
import typing
import warnings

from . import baselines, signals
from ._core import (
    Batch,
    Certificate,
    FormatError,
    Model,
    Policy,
    PolicyFamily,
    PolicyFormatError,
    Replay,
    Run,
    RunFinishedError,
    TTamerError,
    ValidationError,
    build_info,
    solve,
    verify,
)
from ._utils.errors import TraceFormatError
from ._utils.extras import MissingExtraError
from ._utils.warnings import (
    CalibrationWarning,
    CensoredTraceWarning,
    EvaluationWarning,
    HeavyTailWarning,
    RecordsWarning,
    ServingWarning,
    TTamerWarning,
)
from .evaluation.comparison import Compared, Comparison, compare
from .evaluation.difference import DiffFact, DiffOnTrace, MeanDifference, PolicyDiff, diff
from .evaluation.evaluate import Evaluation, evaluate
from .evaluation.frontier import Frontier, FrontierPoint, frontier
from .evaluation.risk_coverage import RiskCoverage, risk_coverage
from .evaluation.summary import Saving, Summary, summarize
from .fitting.aggregation import Aggregated, aggregate
from .fitting.anytime import LossCertificate, certify
from .fitting.calibration import Calibration, calibrate
from .fitting.certification import fit_certified
from .fitting.family import fit_family
from .fitting.fit import fit
from .monitoring.drift import DriftMonitor
from .monitoring.order import OrderFinding, OrderWarning, order_findings
from .monitoring.promotion import Promotion, promote
from .monitoring.report import Drift, DriftReport
from .records.chunk import RecordChunk, RecordedPolicy, RecordedRequest
from .records.log import RecordLog
from .records.reading import RecordCounts, Records, read_records
from .serving.batcher import Batcher, OverloadedError
from .serving.breaker import Breaker
from .serving.cascade import Cascade
from .serving.exploration import Exploration, ExplorationReport
from .serving.failures import NoAnswerError, PermanentError
from .serving.governor import BudgetGovernor, GovernorReport
from .serving.queues import StageStats
from .serving.request import Request
from .serving.served import Served
from .serving.served_batch import ServedBatch
from .serving.shadow import ShadowReport
from .serving.slot import PolicySlot, SlotChange
from .serving.stage import Stage
from .serving.time_left import time_left
from .traces.builder import TraceBuilder
from .traces.class_losses import class_losses
from .traces.explanation import Explanation
from .traces.files import read_trace
from .traces.record import Record
from .traces.trace import Trace

if typing.TYPE_CHECKING:
    from . import integrations, stages

__all__ = [
    "Aggregated",
    "Batch",
    "Batcher",
    "Breaker",
    "BudgetGovernor",
    "Calibration",
    "CalibrationWarning",
    "Cascade",
    "CensoredTraceWarning",
    "Certificate",
    "Compared",
    "Comparison",
    "DiffFact",
    "DiffOnTrace",
    "Drift",
    "DriftMonitor",
    "DriftReport",
    "Evaluation",
    "EvaluationWarning",
    "Explanation",
    "Exploration",
    "ExplorationReport",
    "FormatError",
    "Frontier",
    "FrontierPoint",
    "GovernorReport",
    "HeavyTailWarning",
    "LossCertificate",
    "MeanDifference",
    "MissingExtraError",
    "Model",
    "NoAnswerError",
    "OrderFinding",
    "OrderWarning",
    "OverloadedError",
    "PermanentError",
    "Policy",
    "PolicyDiff",
    "PolicyFamily",
    "PolicyFormatError",
    "PolicySlot",
    "Promotion",
    "Record",
    "RecordChunk",
    "RecordCounts",
    "RecordLog",
    "RecordedPolicy",
    "RecordedRequest",
    "Records",
    "RecordsWarning",
    "Replay",
    "Request",
    "RiskCoverage",
    "Run",
    "RunFinishedError",
    "Saving",
    "Served",
    "ServedBatch",
    "ServingWarning",
    "ShadowReport",
    "SlotChange",
    "Stage",
    "StageStats",
    "Summary",
    "TTamerError",
    "TTamerWarning",
    "Trace",
    "TraceBuilder",
    "TraceFormatError",
    "ValidationError",
    "__version__",
    "aggregate",
    "baselines",
    "build_info",
    "calibrate",
    "certify",
    "class_losses",
    "compare",
    "diff",
    "evaluate",
    "fit",
    "fit_certified",
    "fit_family",
    "frontier",
    "integrations",
    "load",
    "order_findings",
    "promote",
    "read_records",
    "read_trace",
    "risk_coverage",
    "signals",
    "solve",
    "stages",
    "summarize",
    "time_left",
    "verify",
]

__version__ = build_info["version"]

load = Policy.load

if not typing.TYPE_CHECKING:

    def __getattr__(name: str) -> typing.Any:
        if name not in ("integrations", "stages"):
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return importlib.import_module(f"{__name__}.{name}")


if build_info["profile"] != "release":
    warnings.warn(
        f"ttamer_fast was built with profile {build_info['profile']!r}: decisions are many times slower than in a "
        "release build",
        RuntimeWarning,
        stacklevel=2,
    )
