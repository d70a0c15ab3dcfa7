"""What every rule decides, written a second time: slow, readable, from the documents alone.

The engine's run, batch and replay share one implementation of every rule, so that comparing them with each other cannot
show a wrong rule. This package shares nothing with them. It reads a stored policy as data (`stored.py`) and decides
from the whole history of a request, in plain Python: one class a rule, with `begin`, `observe`,
`expected_loss` and `alone`.

    policy = reference.policy_of(tt.Policy.to_bytes(...))
    request = policy.start()
    while request.next is not None:
        request.observe(signal[request.next], prediction[request.next])
"""

from reference.policy import BAR, FAIL, OBSERVE, STOP, TURNS, Policy, Request, policy_of, take_turn
from reference.rule import NO_PREDICTION, Choice, Report, Rule
from reference.stored import opened, sealed

__all__ = [
    "BAR",
    "FAIL",
    "NO_PREDICTION",
    "OBSERVE",
    "STOP",
    "TURNS",
    "Choice",
    "Policy",
    "Report",
    "Request",
    "Rule",
    "opened",
    "policy_of",
    "sealed",
    "take_turn",
]
