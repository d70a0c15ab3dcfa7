"""A real cascade from raw images to served requests, on scikit-learn's handwritten digits (extra `demo`)."""

from .prophet import ProphetRatio, prophet_ratios
from .run import DemoResult, DemoSettings, run_demo
from .serve import ServedWay, ServingResult

__all__ = [
    "DemoResult",
    "DemoSettings",
    "ProphetRatio",
    "ServedWay",
    "ServingResult",
    "prophet_ratios",
    "run_demo",
]
