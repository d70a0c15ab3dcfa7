"""From a calibration trace, or a large model, to a policy."""
