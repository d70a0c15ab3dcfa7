"""Calibration traces: in memory, in files, gathered batch by batch; and what decisions on their rows come to."""
