"""`tt.stages.TorchExits`: what it refuses, signals read on the device, and what blocks may take and return."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import ttamer_fast as tt

torch = pytest.importorskip("torch", reason='needs torch: pip install "ttamer_fast[torch]"')
from torch import nn

pytestmark = pytest.mark.extra("torch")

NO_PREDICTION = -(2**63)


def linear(inputs: int = 2, outputs: int = 2) -> nn.Module:
    return nn.Linear(inputs, outputs).eval()


def exits_of(blocks: Any, heads: Any, **more: Any) -> Any:
    return tt.stages.TorchExits(blocks, heads, **more)


def requests_for(*inputs: Any) -> list[tt.Request[Any]]:
    return [tt.Request(x) for x in inputs]


REFUSED = [
    (lambda: exits_of([], []), "`blocks` must be a sequence of at least 1 torch.nn.Module, got []"),
    (lambda: exits_of(7, []), "`blocks` must be a sequence of at least 1 torch.nn.Module, got 7"),
    (
        lambda: exits_of([linear(), len], []),
        "`blocks[1]` must be a torch.nn.Module, got builtin_function_or_method",
    ),
    (lambda: exits_of([linear()], [linear()] * 2), "`heads` must have 1 entries, one a block, got 2"),
    (
        lambda: exits_of([linear(), nn.Linear(2, 2)], []),
        "`blocks[1]` must be in eval mode, but it is in training mode",
    ),
    (
        lambda: exits_of([linear()], [nn.Sequential(linear(), nn.Dropout()).eval().append(nn.Dropout())]),
        "`heads[0]` must be in eval mode, but module '2' of it is in training mode",
    ),
    (
        lambda: exits_of([linear(), linear().to("meta")], [linear()] * 2),
        "`blocks[1]` must be on cpu, as the others are, got 'weight' on meta",
    ),
    (
        lambda: exits_of([linear()], [linear()], device="cuda"),
        "`blocks[0]` must be on cuda, as the others are, got 'weight' on cpu",
    ),
    (
        lambda: exits_of([linear()], [nn.BatchNorm1d(2, affine=False).eval().to("meta")]),
        "`heads[0]` must be on cpu, as the others are, got 'running_mean' on meta",
    ),
    (
        lambda: exits_of([linear().to("meta")], [linear().to("meta")]),
        "`device` must be a CPU or a CUDA device, got meta",
    ),
    (lambda: exits_of([linear()], [linear()], device="gpu"), "`device` must be a device of PyTorch, got 'gpu'"),
    (
        lambda: exits_of([linear()], [linear().double()]),
        "`heads[0]` must be of torch.float32, as the others are, got 'weight' of torch.float64",
    ),
    (
        lambda: exits_of([linear()], [linear()], signal="max"),
        "`signal` must be one of ['max_probability', 'margin', 'negative_entropy', 'energy'] or callable, got 'max'",
    ),
    (
        lambda: exits_of([linear()], [linear()], names=["a", "b"]),
        "`names` must have 1 entries, one a block, got ['a', 'b']",
    ),
    (lambda: exits_of([linear()], [linear()], names=[1]), "`name` must be a string or None, got int"),
    (lambda: exits_of([linear()], [linear()], collate=1), "`collate` must be callable or None, got int"),
    (
        lambda: exits_of([linear()], [linear()]).answers([[1, 2]], batch=0),
        "`batch` must be an integer of at least 1, got 0",
    ),
    (
        lambda: exits_of([linear()], [linear()]).answers("ab"),
        "`xs` must be a list, an array or a dict of arrays, got str",
    ),
]


@pytest.mark.parametrize(("make", "message"), REFUSED, ids=[message[:60] for _, message in REFUSED])
def test_bad_arguments_are_refused_when_it_is_made(make: Any, message: str) -> None:
    with pytest.raises(tt.ValidationError) as refused:
        make()
    assert str(refused.value) == message


def by_hand(signal: str, logits: Any) -> Any:
    """As `ttamer_fast.signals` defines them, in 64 bits."""
    with np.errstate(all="ignore"):
        logits = np.asarray(logits, np.float64)
        best = logits.max(axis=1, keepdims=True)
        chances = np.exp(logits - best)
        total = chances.sum(axis=1, keepdims=True)
        chances /= total
        ordered = np.sort(chances, axis=1)[:, ::-1]
        if signal == "max_probability":
            return ordered[:, 0]
        if signal == "margin":
            return ordered[:, 0] - (ordered[:, 1] if logits.shape[1] > 1 else 0.0)
        if signal == "negative_entropy":
            return np.where(chances > 0.0, chances * np.log(chances), 0.0).sum(axis=1)
        return (best + np.log(total))[:, 0]


class Given(nn.Module):
    """A head that returns its input, in some dtype."""

    def __init__(self, dtype: Any = torch.float32) -> None:
        super().__init__()
        self.dtype = dtype
        self.eval()

    def forward(self, x: Any) -> Any:
        return x.to(self.dtype)


@pytest.mark.parametrize("signal", ["max_probability", "margin", "negative_entropy", "energy"])
@pytest.mark.parametrize("classes", [1, 2, 10])
def test_signals_are_those_of_their_definition(signal: str, classes: int) -> None:
    logits = np.random.default_rng(0).normal(scale=4.0, size=(200, classes))
    logits[0, 1:] = -np.inf
    logits[1] = 3.0
    for dtype, close in ((torch.float64, 1e-12), (torch.float32, 2e-6), (torch.bfloat16, 2e-6)):
        rounded = torch.from_numpy(logits).to(dtype)
        exits = exits_of([Given(dtype)], [Given(dtype)], signal=signal)
        found, said = exits.answers(rounded)
        wanted = by_hand(signal, rounded.double().numpy())
        np.testing.assert_allclose(found[:, 0], wanted, atol=close, rtol=close)
        assert said[:, 0].tolist() == rounded.double().numpy().argmax(axis=1).tolist()


@pytest.mark.parametrize("signal", ["max_probability", "margin", "negative_entropy", "energy"])
def test_rows_that_say_nothing(signal: str) -> None:
    nan, inf = np.nan, np.inf
    rows = np.array([[1.0, nan], [inf, 0.0], [-inf, -inf], [0.0, 1.0], [inf, inf]], np.float32)
    found, said = exits_of([Given()], [Given()], signal=signal).answers(rows)
    assert np.isnan(found[:, 0]).tolist() == [True, True, True, False, True]
    assert said[:, 0].tolist() == [NO_PREDICTION] * 3 + [1, NO_PREDICTION]


def test_classes_are_those_of_the_logits_where_probabilities_are_equal() -> None:
    rows = np.array([[1e-9, 2e-9, 0.0], [0.0, 0.0, 3e-9]], np.float32)
    found, said = exits_of([Given()], [Given()]).answers(rows)
    assert found[:, 0].tolist() == pytest.approx([1 / 3] * 2)
    assert said[:, 0].tolist() == [1, 2]


def test_an_exit_that_is_called_by_itself_takes_a_request() -> None:
    exit = exits_of([nn.Linear(2, 2).eval()], [nn.Linear(2, 2).eval()])[0]
    with pytest.raises(tt.ValidationError, match=r"an exit must be given a Request, got ndarray: call `exit\.run\("):
        exit.run(np.ones(2, np.float32))
    assert exit.run(tt.Request(np.ones(2, np.float32))).dtype.names == ("signal", "prediction")


def test_a_signal_of_ones_own() -> None:
    rows = np.arange(8.0, dtype=np.float32).reshape(4, 2)
    found, said = exits_of([Given()], [Given()], signal=lambda logits: logits[:, 0]).answers(rows)
    assert found[:, 0].tolist() == rows[:, 0].tolist()
    assert said[:, 0].tolist() == [1] * 4
    for signal, given in ((lambda logits: logits, r"shape \(4, 2\)"), (lambda logits: 0.5, "float")):
        with pytest.raises(ValueError, match=rf"`signal` must return a tensor of shape \(4,\), got {given}"):
            exits_of([Given()], [Given()], signal=signal).answers(rows)


class Masked(nn.Module):
    """Adds one to what is not masked; returns a tuple or a dict, as it was called."""

    def __init__(self, named: bool) -> None:
        super().__init__()
        self.named = named
        self.eval()

    def forward(self, x: Any, mask: Any) -> Any:
        x = x + mask
        return {"x": x, "mask": mask} if self.named else (x, mask)


class Summed(nn.Module):
    def forward(self, x: Any, mask: Any) -> Any:
        return torch.stack([x.sum(1), mask.sum(1).float()], 1)


@pytest.mark.parametrize("named", [False, True])
def test_states_of_several_tensors(named: bool) -> None:
    exits = exits_of([Masked(named) for _ in range(3)], [Summed().eval()] * 3, signal="energy")
    x = np.arange(12, dtype=np.float32).reshape(4, 3)
    mask = np.array([[1, 1, 1], [1, 1, 0], [1, 0, 0], [0, 0, 0]])
    inputs = [{"x": a, "mask": b} if named else (a, b) for a, b in zip(x, mask, strict=True)]
    wanted = np.stack([by_hand("energy", np.stack([(x + j * mask).sum(1), mask.sum(1)], 1)) for j in (1, 2, 3)], axis=1)
    np.testing.assert_allclose(exits.answers(inputs)[0], wanted, rtol=1e-6)
    if named:
        np.testing.assert_allclose(exits.answers({"x": x, "mask": mask})[0], wanted, rtol=1e-6)
    requests = requests_for(*inputs)
    exits[0].batch(requests[:2])
    exits[1].batch(requests[2:])
    np.testing.assert_allclose(exits[2].batch(requests[::-1])["signal"], wanted[::-1, 2], rtol=1e-6)


class Embedded(nn.Module):
    """Mean of embeddings over positions that are not padded; keeps its length, so that states differ in shape."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(10, 3)
        self.eval()

    def forward(self, ids: Any) -> Any:
        return self.table(ids)


class Pooled(nn.Module):
    def forward(self, x: Any) -> Any:
        return x.mean(1)


def test_inputs_of_different_lengths_go_apart_or_are_collated() -> None:
    torch.manual_seed(0)
    embedded = Embedded()
    blocks, heads = [embedded, nn.Tanh().eval()], [Pooled().eval(), Pooled().eval()]
    texts = [[1, 2, 3], [4, 5], [6, 7, 8], [9]]
    exits = exits_of(blocks, heads)
    requests = requests_for(*[np.array(text) for text in texts])
    exits[0].batch(requests[:3])
    together = exits[1].batch(requests)
    alone = [exits[1].run(request) for request in requests_for(*[torch.tensor(text) for text in texts])]
    np.testing.assert_allclose(together["signal"], [one["signal"] for one in alone], atol=1e-6)
    seen: list[int] = []

    def padded(xs: list[list[int]]) -> Any:
        seen.append(len(xs))
        return nn.utils.rnn.pad_sequence([torch.tensor(x) for x in xs], batch_first=True)

    table = exits_of(blocks, heads, collate=padded)[0].batch(requests_for(*texts))
    wanted = embedded.table(padded(texts)).mean(1).argmax(1).tolist()
    assert table["prediction"].tolist() == wanted
    assert seen == [4, 4]


def test_floats_take_the_dtype_of_the_network_and_integers_stay() -> None:
    seen: list[Any] = []

    class Seen(nn.Module):
        def __init__(self, dtype: Any) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.ones(1, dtype=dtype))
            self.eval()

        def forward(self, x: Any, ids: Any) -> Any:
            seen.append((x.dtype, ids.dtype))
            return torch.stack([x * self.weight, ids * self.weight], 1)

    for dtype in (torch.float32, torch.float64, torch.bfloat16):
        exits_of([Seen(dtype)], [nn.Identity().eval()]).answers([(np.float64(1.5), 3), (np.float64(2.5), 4)])
    assert [x for x, _ in seen] == [torch.float32, torch.float64, torch.bfloat16]
    assert {ids for _, ids in seen} == {torch.int64}


RETURNS: list[tuple[Any, Any, str]] = [
    (lambda x: 7, lambda x: x, "block 0 must return tensors, got int"),
    (lambda x: x[0], lambda x: x, r"block 0 must return tensors of 3 rows, got shape \(2,\)"),
    (lambda x: x.sum(), lambda x: x, r"block 0 must return tensors of 3 rows, got shape \(\)"),
    (lambda x: (), lambda x: x, "block 0 must return tensors, got none"),
    (lambda x: x, lambda x: x[:, 0], r"head 0 must return logits of shape \(3, classes\), got \(3,\)"),
    (lambda x: x, lambda x: x[:, :0], r"head 0 must return logits of shape \(3, classes\), got \(3, 0\)"),
    (lambda x: x, lambda x: [1.0], r"head 0 must return logits of shape \(3, classes\), got list"),
    (lambda x: x, lambda x: x.long(), "head 0 must return logits of a floating dtype, got torch.int64"),
]


class Function(nn.Module):
    def __init__(self, function: Any) -> None:
        super().__init__()
        self.function = function
        self.eval()

    def forward(self, *values: Any) -> Any:
        return self.function(*values)


@pytest.mark.parametrize(("block", "head", "message"), RETURNS, ids=[message[:40] for _, _, message in RETURNS])
def test_what_a_module_returns_amiss_is_said(block: Any, head: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        exits_of([Function(block)], [Function(head)]).answers(np.ones((3, 2), np.float32))


def test_a_block_that_returns_what_it_was_given_is_a_step_of_its_own() -> None:
    same = Function(lambda *values: values)
    more = Function(lambda x: x + 1)
    exits = exits_of([more, same, same, more], [nn.Identity().eval()] * 4, signal=lambda logits: logits[:, 0])
    requests = requests_for(*np.zeros((4, 2), np.float32))
    exits[0].batch(requests)
    exits[1].batch(requests[:3])
    exits[2].batch(requests[:2])
    assert exits[3].batch(requests)["signal"].tolist() == [2.0] * 4
