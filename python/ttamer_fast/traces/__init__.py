"""Requests as data: calibration traces and records of served requests."""
