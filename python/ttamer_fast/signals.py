"""How sure a model is, from its logits: signals for stages, all of them larger where the model is surer.

With p = softmax(logits) over the classes:

==================  ==================================================  ==========
`max_probability`   max p                                               (0, 1]
`margin`            the largest p less the second largest               [0, 1]
`negative_entropy`  sum of p log p, in nats                             [-log c, 0]
`energy`            log of the sum of exp(logits)                       any number
`mean_logprob`      mean of the log-probabilities of generated tokens   at most 0
==================  ==================================================  ==========

*What is taken.* Arrays of numpy in any layout, tensors in the memory of the CPU (torch, jax and whatever else has
``__array__`` or speaks DLPack), what has the buffer protocol, data frames, and lists. Floats of 32 and 64 bits are read
where they are, those of 16 bits are converted to 32, integers (scores, counts of votes) to 64. Sums are of 64 bits.

*What rows may hold.* A logit of minus infinity is a class that is ruled out: its probability is 0. A row with a NaN or
with plus infinity, and one without a class that is not ruled out, says nothing: its signal is NaN, which every policy
takes for "no information", and its class is -2**63, which every policy takes for "no prediction". No such row agrees
with another, and as an index the number is an error, as -1 would not be.

*Time and threads.* O(n c) time and O(n) memory; nothing of the size of the logits is made where those of a row lie
side by side, else 16 rows are copied at a time. From 2**15 logits on, other Python threads run meanwhile; from 2**20
on, rows are read on all cores. Any thread may call these functions; the array must not be written to meanwhile. Results
may differ in the last bits between processors that add a product in one step and those that do not.

Examples
--------
>>> import numpy as np, ttamer_fast as tt
>>> logits = np.log([[0.7, 0.2, 0.1], [0.4, 0.4, 0.2]])
>>> tt.signals.max_probability(logits).round(3).tolist()
[0.7, 0.4]
>>> signal, classes = tt.signals.margin(logits, argmax=True)
>>> signal.round(3).tolist(), classes.tolist()
([0.5, 0.0], [0, 0])
>>> round(tt.signals.margin(logits[0]), 3)
0.5
"""

from __future__ import annotations

from typing import Any, Literal, overload

from . import _core

__all__ = ["energy", "margin", "max_probability", "mean_logprob", "negative_entropy"]


@overload
def max_probability(logits: Any, *, argmax: Literal[False] = ...) -> Any: ...
@overload
def max_probability(logits: Any, *, argmax: Literal[True]) -> tuple[Any, Any]: ...
def max_probability(logits: Any, *, argmax: bool = False) -> Any:
    """The largest probability: max p, with p = softmax(logits); at least 1 / c.

    The baseline of Hendrycks and Gimpel (2017, arXiv 1610.02136).

    Parameters
    ----------
    logits : (n, c) or (c,) array-like
        A logit for each of c classes, c at least 1, in any unit; n may be 0.
    argmax : bool
        Whether to give the class with the largest logit too, found in the same pass; the first one of equals.

    Returns
    -------
    (n,) float64, or a float
        One signal a row, NaN for a row that says nothing (see the module).
    (n,) int64, or an int
        With ``argmax=True``, as the second of a pair: the classes, -2**63 for a row that says nothing.

    Raises
    ------
    ValidationError
        If `logits` has no class or not 1 or 2 dimensions, is masked, or is not of real numbers; if it is a tensor that
        is not in the memory of the CPU, requires a gradient, or is of bfloat16 in a package whose bfloat16 numpy does
        not know; if `argmax` is not True or False.

    Examples
    --------
    >>> import ttamer_fast as tt
    >>> tt.signals.max_probability([0.0, 0.0])
    0.5
    >>> tt.signals.max_probability([[1.0, 3.0], [0.0, float("-inf")]], argmax=True)[1].tolist()
    [1, 0]
    """
    return _core.signal_of_logits("max_probability", logits, argmax)


@overload
def margin(logits: Any, *, argmax: Literal[False] = ...) -> Any: ...
@overload
def margin(logits: Any, *, argmax: Literal[True]) -> tuple[Any, Any]: ...
def margin(logits: Any, *, argmax: bool = False) -> Any:
    """The largest probability less the second largest, with p = softmax(logits); max p where there is one class.

    From Scheffer, Decomain and Wrobel (2001, Active hidden Markov models for information extraction). Parameters,
    results, errors and costs as :func:`max_probability`. Close probabilities keep all their digits.

    Examples
    --------
    >>> import ttamer_fast as tt
    >>> tt.signals.margin([2.0, 2.0, -1.0], argmax=True)
    (0.0, 0)
    """
    return _core.signal_of_logits("margin", logits, argmax)


@overload
def negative_entropy(logits: Any, *, argmax: Literal[False] = ...) -> Any: ...
@overload
def negative_entropy(logits: Any, *, argmax: Literal[True]) -> tuple[Any, Any]: ...
def negative_entropy(logits: Any, *, argmax: bool = False) -> Any:
    """The sum of p log p over the classes, in nats, with p = softmax(logits) and 0 log 0 = 0; from -log c to 0.

    Shannon's entropy (1948) with the other sign, by which BranchyNet exits (Teerapittayanon, McDanel and Kung 2016,
    arXiv 1709.01686). Parameters, results, errors and costs as :func:`max_probability`. Rows that are nearly certain
    keep all their digits: where max p is 1 to the last bit, this still tells surer rows from less sure ones.

    Examples
    --------
    >>> import ttamer_fast as tt
    >>> round(tt.signals.negative_entropy([0.0, 0.0]), 6)
    -0.693147
    >>> tt.signals.negative_entropy([60.0, 0.0]) < tt.signals.negative_entropy([70.0, 0.0]) < 0.0
    True
    """
    return _core.signal_of_logits("negative_entropy", logits, argmax)


@overload
def energy(logits: Any, *, argmax: Literal[False] = ...) -> Any: ...
@overload
def energy(logits: Any, *, argmax: Literal[True]) -> tuple[Any, Any]: ...
def energy(logits: Any, *, argmax: bool = False) -> Any:
    """The logarithm of the sum of the exponentials of the logits, which grows by b where all logits grow by b.

    The negative of the free energy of Liu, Wang, Owens and Li (2020, arXiv 2010.03759) at temperature 1. Parameters,
    results, errors and costs as :func:`max_probability`.

    Examples
    --------
    >>> import ttamer_fast as tt
    >>> round(tt.signals.energy([1000.0, 1000.0]), 6)
    1000.693147
    """
    return _core.signal_of_logits("energy", logits, argmax)


def mean_logprob(logprobs: Any) -> Any:
    """The mean log-probability of the tokens of an answer: the sum of the t log-probabilities over t.

    The logarithm of the probability of the answer, normalised by its length (Malinin and Gales 2021, arXiv 2002.07650).

    Parameters
    ----------
    logprobs : (t,) or (n, t) array-like, or a list of n sequences of any lengths
        Natural logarithms of the probabilities of the tokens that were generated, whatever :func:`max_probability`
        takes. NaN is padding; so are None, which some servers give for the first token, and what is masked. None in
        place of a sequence is one without tokens.

    Returns
    -------
    float, or (n,) float64
        NaN where there is no token, or where one has plus infinity; minus infinity where a token had probability 0.

    Raises
    ------
    ValidationError
        If `logprobs` has not 1 or 2 dimensions, or is not of real numbers; if it is a tensor that cannot be read.

    Notes
    -----
    O(n t) time and O(n) memory; threads as in the module.

    Examples
    --------
    >>> import numpy as np, ttamer_fast as tt
    >>> tt.signals.mean_logprob([None, -0.5, -1.0])
    -0.75
    >>> tt.signals.mean_logprob([[-0.5, -1.0], [-2.0], []]).tolist()
    [-0.75, -2.0, nan]
    >>> tt.signals.mean_logprob(np.array([[-0.5, -1.0], [-2.0, np.nan]])).tolist()
    [-0.75, -2.0]
    """
    return _core.mean_logprob(logprobs)
