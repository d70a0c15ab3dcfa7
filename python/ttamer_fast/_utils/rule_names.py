"""Names of the rules that are compared, beside the baselines'."""

FIT = "fit"
"""The default fit."""
FIT_NO_RECALL = "fit, no recall"
LAST = "last stage"
"""Always the last stage."""
CLAIRVOYANT = "clairvoyant"
"""The best stage in hindsight: a bound that no rule can reach."""
