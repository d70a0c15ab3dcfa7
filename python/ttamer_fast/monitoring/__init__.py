"""Whether production still looks like the calibration trace."""
