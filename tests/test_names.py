"""A policy meets a trace by the names of its stages and by its own kind, wherever it is shown one."""

from __future__ import annotations

import pickle
import re
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import ttamer_fast as tt
from conftest import make_trace
from ttamer_fast.cli import main
from ttamer_fast.evaluation.overhead import measure_overhead

pd: Any = pytest.importorskip("pandas")
pa: Any = pytest.importorskip("pyarrow")

NAMES = ["small", "medium", "large", "huge"]
OTHER = [2, 0, 3, 1]
BOTH = r"\['small', 'medium', 'large', 'huge'\], got \['w', 'x', 'y', 'z'\]"


def named(trace: tt.Trace, names: list[str] | None, kind: str | None = None, order: Any = (0, 1, 2, 3)) -> tt.Trace:
    """Columns in some order, with the names that go with them; costs differ from row to row."""
    at = list(order)
    said = trace.prediction
    return tt.Trace(
        trace.signal[:, at],
        trace.loss[:, at],
        np.linspace(1.0, 2.0, trace.n)[:, None] * trace.cost[at],
        None if said is None else said[:, at],
        kind=kind,
        stages=None if names is None else [names[i] for i in at],
        weight=np.linspace(1.0, 3.0, trace.n),
        group=np.arange(trace.n) // 2,
    )


@pytest.fixture(scope="module", params=["exits", "models"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def plain(kind: str) -> tt.Trace:
    return make_trace(n=1200, kind=kind)


@pytest.fixture(scope="module")
def policy(plain: tt.Trace, kind: str) -> tt.Policy:
    return tt.fit(named(plain, NAMES, kind), tradeoff=0.95)


def test_columns_in_another_order_are_the_same_trace(plain: tt.Trace, policy: tt.Policy, kind: str) -> None:
    trace, shuffled = named(plain, NAMES, kind), named(plain, NAMES, kind, OTHER)
    assert shuffled.digest != trace.digest
    matched = shuffled.matching(policy)
    assert matched.digest == trace.digest
    assert matched.stages == policy.stages
    for name in ("signal", "loss", "cost", "prediction", "weight", "group"):
        assert np.array_equal(getattr(matched, name), getattr(trace, name))
    assert trace.matching(policy) is trace
    assert tt.evaluate(policy, shuffled).to_dict() == tt.evaluate(policy, trace).to_dict()


def test_other_stages_are_refused_with_both_lists(plain: tt.Trace, policy: tt.Policy, kind: str) -> None:
    other = named(plain, ["w", "x", "y", "z"], kind)
    for show in (tt.evaluate, tt.DriftMonitor.fit, measure_overhead):
        with pytest.raises(tt.ValidationError, match="`trace` must have the stages " + BOTH):
            show(policy, other)
    fewer = named(plain, NAMES, kind, OTHER[:3])
    with pytest.raises(tt.ValidationError, match=r"got \['large', 'small', 'huge'\]"):
        tt.evaluate(policy, fewer)
    with pytest.raises(tt.ValidationError, match=r"got \['small', 'medium', 'large', 'stage 3'\]"):
        tt.evaluate(policy, named(plain, [*NAMES[:3], "stage 3"], kind))


def test_stages_without_names_are_matched_by_place(plain: tt.Trace, policy: tt.Policy, kind: str) -> None:
    trace, unnamed = named(plain, NAMES, kind), named(plain, None, kind)
    assert tt.evaluate(policy, unnamed).to_dict() == tt.evaluate(policy, trace).to_dict()
    unnamed_policy = tt.fit(unnamed, tradeoff=0.95)
    assert tt.evaluate(unnamed_policy, trace).stages == unnamed_policy.stages
    # Numbered names in another order are names.
    numbered = named(plain, [f"stage {i}" for i in range(4)], kind, OTHER)
    assert tt.evaluate(unnamed_policy, numbered).to_dict() == tt.evaluate(unnamed_policy, unnamed).to_dict()
    with pytest.raises(tt.ValidationError, match=r"got \['stage 0', 'stage 1', 'stage 2'\]"):
        tt.evaluate(policy, make_trace(n=50, k=3, kind=kind))


def test_the_kind_is_that_of_the_policy(plain: tt.Trace, policy: tt.Policy, kind: str) -> None:
    said = tt.evaluate(policy, named(plain, NAMES, kind))
    unsaid = named(plain, NAMES)
    assert unsaid.kind == "exits"
    for one in (unsaid, unsaid.rows(slice(None)), pickle.loads(pickle.dumps(unsaid)), unsaid.weighted(unsaid.weight)):
        assert tt.evaluate(policy, one).to_dict() == said.to_dict()
        assert one.matching(policy).kind == kind
    contrary = "models" if kind == "exits" else "exits"
    for one in (named(plain, NAMES, contrary), named(plain, NAMES, contrary).rows([0, 1, 2])):
        with pytest.raises(tt.ValidationError, match=f"must be of kind '{kind}', as the policy is, got '{contrary}'"):
            tt.evaluate(policy, one)


def test_a_file_that_does_not_say_its_kind(plain: tt.Trace, policy: tt.Policy, kind: str, tmp_path: Path) -> None:
    path = tmp_path / "trace.npz"
    assert plain.prediction is not None
    np.savez(path, signal=plain.signal, loss=plain.loss, cost=plain.cost, prediction=plain.prediction)
    with pytest.warns(tt.CalibrationWarning, match=r"trace\.npz does not say its kind and is taken as 'exits'"):
        read = tt.read_trace(path)
    assert read.kind == "exits"
    want = tt.evaluate(policy, tt.Trace(plain.signal, plain.loss, plain.cost, plain.prediction, kind=kind))
    assert tt.evaluate(policy, read).to_dict() == want.to_dict()
    assert tt.read_trace(path, kind="models").kind == "models"
    one = tmp_path / "one.npz"
    np.savez(one, signal=plain.signal[:, :1], loss=plain.loss[:, :1], cost=plain.cost[:1])
    assert tt.read_trace(one).k == 1


@pytest.mark.filterwarnings("ignore::ttamer_fast.OrderWarning")
def test_a_monitor_matches_names(plain: tt.Trace, policy: tt.Policy, kind: str) -> None:
    trace, shuffled = named(plain, NAMES, kind), named(plain, NAMES, kind, OTHER)
    one, two = tt.DriftMonitor.fit(policy, trace), tt.DriftMonitor.fit(policy, shuffled)
    assert one.to_bytes() == two.to_bytes()
    fresh = make_trace(n=400, kind=kind, seed=5)
    replay = policy.replay(fresh.signal, fresh.prediction)
    one.update_replay(replay, fresh.signal, fresh.prediction)
    columns = [NAMES[i] for i in OTHER]
    signal = pd.DataFrame(fresh.signal, columns=NAMES)[columns]
    prediction = pd.DataFrame(fresh.prediction, columns=NAMES)[columns]
    consulted = pd.DataFrame(replay.consulted, columns=NAMES)[columns]
    two.update_batch(signal, consulted, replay.answer, prediction)
    assert one.to_bytes() == two.to_bytes()
    with pytest.raises(tt.ValidationError, match="`signal` must have the stages " + BOTH):
        two.update_replay(replay, signal.set_axis(["w", "x", "y", "z"], axis=1))


def test_tables_are_replayed_by_the_names_of_their_columns(plain: tt.Trace, policy: tt.Policy) -> None:
    said = plain.prediction
    assert said is not None
    want = policy.replay(plain.signal, said)
    frames = pd.DataFrame(plain.signal, columns=NAMES), pd.DataFrame(said, columns=NAMES)
    columns = [NAMES[i] for i in OTHER]
    for signal, prediction in (frames, tuple(frame[columns] for frame in frames)):
        got = policy.replay(signal, prediction)
        assert np.array_equal(got.answer, want.answer)
        assert np.array_equal(got.consulted, want.consulted)
    numbered = policy.replay(pd.DataFrame(plain.signal), pd.DataFrame(said))
    assert np.array_equal(numbered.answer, want.answer)
    for name, (signal, prediction) in {
        "signal": (frames[0].set_axis(["w", "x", "y", "z"], axis=1), said),
        "prediction": (frames[0], frames[1].set_axis(["w", "x", "y", "z"], axis=1)),
    }.items():
        with pytest.raises(tt.ValidationError, match=f"`{name}` must have the stages {BOTH}"):
            policy.replay(signal, prediction)
    with pytest.raises(tt.ValidationError, match=r"got \['small', 'medium', 'large'\]"):
        policy.replay(frames[0][NAMES[:3]])


def test_traces_of_tables(plain: tt.Trace) -> None:
    columns = [NAMES[i] for i in OTHER]
    signal, loss = pd.DataFrame(plain.signal, columns=NAMES), pd.DataFrame(plain.loss, columns=NAMES)[columns]
    cost = pd.Series(plain.cost, NAMES).sort_index()
    trace = tt.Trace(signal, loss, cost)
    assert trace.stages == tuple(NAMES)
    assert np.array_equal(trace.loss, plain.loss)
    assert trace.cost.tolist() == plain.cost.tolist()
    given = tt.Trace(signal, loss, cost, stages=columns)
    assert given.cost.tolist() == plain.cost[OTHER].tolist()
    assert np.array_equal(given.signal, plain.signal[:, OTHER])
    with pytest.raises(tt.ValidationError, match="`loss` must have the stages " + BOTH):
        tt.Trace(signal, loss.set_axis(["w", "x", "y", "z"], axis=1), cost)
    with pytest.raises(tt.ValidationError, match="`cost` must have the stages"):
        tt.Trace(signal, loss, cost.iloc[:3])


def test_columns_of_arrow_tables_are_found_by_name() -> None:
    from ttamer_fast._core import by_name

    table = pa.table({"b": [1.0], "a": [2.0]})
    assert by_name("signal", table, ["a", "b"]).column_names == ["a", "b"]
    assert by_name("signal", table, ["b", "a"]) is table
    array = np.zeros((1, 2))
    assert by_name("signal", array, ["a", "b"]) is array


def test_builders_have_the_names_and_the_kind_of_their_policy(plain: tt.Trace, policy: tt.Policy, kind: str) -> None:
    builder = tt.TraceBuilder(policy, capacity=2000)
    assert (builder.stages, builder.kind) == (policy.stages, kind)
    columns = [NAMES[i] for i in OTHER]
    signal = pd.DataFrame(plain.signal, columns=NAMES)[columns]
    builder.append(signal, plain.loss, pd.Series(plain.cost, NAMES).sort_index(), plain.prediction)
    built = builder.build()
    assert built.kind == kind
    assert np.array_equal(built.signal, plain.signal)
    assert built.cost.tolist() == plain.cost.tolist()
    contrary = "models" if kind == "exits" else "exits"
    with pytest.raises(tt.ValidationError, match=f"`kind` must be '{kind}', as the policy is, got '{contrary}'"):
        tt.TraceBuilder(policy, contrary)
    # A builder that was not told a kind makes traces that were not told one.
    untold = tt.TraceBuilder(NAMES)
    untold.append(plain.signal, plain.loss, plain.cost, plain.prediction)
    assert untold.kind == "exits"
    assert untold.build().matching(policy).kind == kind


def test_cascades_match_names() -> None:
    trace = named(make_trace(n=400), NAMES, "models")
    policy = tt.fit(trace, tradeoff=0.95)

    def stage(name: str | None, value: float) -> tt.Stage[object, float]:
        return tt.Stage(lambda _: value, signal=float, name=name)

    in_order = [stage(name, 0.1 * i) for i, name in enumerate(NAMES)]
    for stages in (in_order, [in_order[i] for i in OTHER], {one.name or "": one for one in reversed(in_order)}):
        cascade = tt.Cascade(policy, stages)
        assert [one.name for one in cascade.stages] == NAMES
        assert [one.run(None) for one in cascade.stages] == pytest.approx([0.0, 0.1, 0.2, 0.3])
    numbers = {name: partial(round, i) for i, name in enumerate(NAMES[::-1])}
    plain = tt.Cascade(policy, numbers, signal=float)
    assert [one.run(None) for one in plain.stages] == [3, 2, 1, 0]
    partly = [stage(None, 0.0), stage("medium", 0.1), stage(None, 0.2), stage("huge", 0.3)]
    assert [one.name for one in tt.Cascade(policy, partly).stages] == [None, "medium", None, "huge"]
    wanted = re.escape("`stages` must have the stages ['small', 'medium', 'large', 'huge'], got ")
    wrong: list[tuple[Any, str]] = [
        ([stage(None, 0.0), stage("large", 0.1), stage("medium", 0.2), stage(None, 0.3)], r"\['\(no name\)', 'large'"),
        ([stage(name, 0.0) for name in "wxyz"], r"\['w', 'x', 'y', 'z'\]"),
        ({name: stage(None, 0.0) for name in "wxyz"}, r"\['w', 'x', 'y', 'z'\]"),
        (in_order[:3], r"\['small', 'medium', 'large'\]"),
        ([in_order[0], *in_order[:3]], r"\['small', 'small', 'medium', 'large'\]"),
    ]
    for stages, got in wrong:
        with pytest.raises(tt.ValidationError, match=wanted + got):
            tt.Cascade(policy, stages)
    with pytest.raises(tt.ValidationError, match="`stages` entry 'small' must be a Stage of that name, got 'huge'"):
        tt.Cascade(policy, {"small": in_order[3], "medium": in_order[1], "large": in_order[2], "huge": in_order[0]})
    # Stages of a policy without names are in its order; keys cannot be compared.
    unnamed = tt.fit(make_trace(n=400), tradeoff=0.95)
    assert [one.name for one in tt.Cascade(unnamed, in_order).stages] == NAMES
    with pytest.raises(tt.ValidationError, match="`stages` must have the stages"):
        tt.Cascade(unnamed, dict(zip(NAMES, in_order, strict=True)))


def test_certified_policies_too() -> None:
    plain = make_trace(n=3000)
    trace = tt.Trace(plain.signal, plain.loss, plain.cost, stages=NAMES)
    certified = tt.fit_certified(trace, max_loss=0.4)
    other = tt.Trace(trace.signal[:, OTHER], trace.loss[:, OTHER], trace.cost[OTHER], stages=[NAMES[i] for i in OTHER])
    assert tt.evaluate(certified, other).to_dict() == tt.evaluate(certified, trace).to_dict()


def test_the_command_line(plain: tt.Trace, kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    trace = tt.Trace(plain.signal, plain.loss, plain.cost, plain.prediction, kind=kind, stages=NAMES)
    said = plain.prediction
    assert said is not None
    arrays = {"signal": plain.signal, "loss": plain.loss, "prediction": said}
    columns = {f"{name}:{NAMES[i]}": array[:, i] for name, array in arrays.items() for i in range(4)}
    columns |= {f"cost:{name}": np.full(plain.n, cost) for name, cost in zip(NAMES, plain.cost, strict=True)}
    path, by_name, policy, contrary = (str(tmp_path / name) for name in ("t.npz", "sorted.csv", "policy", "other.npz"))
    trace.save(path)
    pd.DataFrame(dict(sorted(columns.items()))).to_csv(by_name, index=False)
    assert main(["fit", path, "--tradeoff", "0.95", "-o", policy]) == 0
    capsys.readouterr()
    shown = []
    for file in (path, by_name):
        assert main(["evaluate", policy, file]) == 0
        shown.append(capsys.readouterr())
    assert shown[0] == shown[1]
    assert shown[1].err == ""
    assert main(["drift", policy, path, by_name]) == 0
    assert main(["drift", policy, by_name, path]) == 0
    assert "no drift" in capsys.readouterr().out
    other = "models" if kind == "exits" else "exits"
    tt.Trace(plain.signal, plain.loss, plain.cost, said, kind=other, stages=NAMES).save(contrary)
    for command in (
        ["evaluate", policy, contrary],
        ["drift", policy, path, contrary],
        ["drift", policy, contrary, path],
    ):
        assert main(command) == 2
        assert f"must be of kind '{kind}', as the policy is, got '{other}'" in capsys.readouterr().err
    assert main(["fit", by_name, "--tradeoff", "0.95", "-o", policy]) == 0
    assert "does not say its kind and is taken as 'exits'" in capsys.readouterr().err
    assert main(["fit", by_name, "--tradeoff", "0.95", "-o", policy, "--kind", kind]) == 0
    assert capsys.readouterr().err == ""
