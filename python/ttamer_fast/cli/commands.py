"""The commands of `ttamer` (extra `cli`)."""

from __future__ import annotations

import math
import os
import sys
import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Annotated, Any, cast

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TaskProgressColumn, TextColumn, TimeElapsedColumn

from .._core import Policy, PolicyFamily, TTamerError, ValidationError, build_info
from ..demo import DemoSettings, run_demo
from ..evaluation.comparison import compare
from ..evaluation.evaluate import evaluate
from ..evaluation.frontier import frontier
from ..evaluation.overhead import measure_overhead
from ..evaluation.summary import summarize
from ..fitting.certification import fit_certified
from ..fitting.family import fit_family
from ..fitting.fit import fit
from ..monitoring.drift import DriftMonitor
from ..monitoring.order import OrderWarning, order_findings
from ..plotting.canvas import picture_path
from ..traces.files import read_trace, trace_in
from ..traces.trace import Trace
from .demo_text import demo_text
from .difference import diff_command
from .family_text import family_summary, family_text, load_either, tradeoffs_of
from .gates import Check, at_most, check_limit, check_output, no_drift, no_simple_rule_is_better
from .options import (
    DeadlineOption,
    DefaultLossOption,
    Estimator,
    Graph,
    JsonOption,
    KindOption,
    Loss,
    LossOption,
    PolicyFile,
    Recall,
    TraceFile,
)
from .policy_text import policy_summary, policy_text
from .showing import CHECK_FAILED, PIPE_CLOSED, show
from .terminal import terminal, write

__all__ = ["app", "run"]

app = typer.Typer(
    name="ttamer",
    help="Policies with recall for early-exit networks and model cascades.",
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

OK, USAGE, SOFTWARE, INTERRUPTED = 0, 2, 70, 130
UsageError = cast("type[Exception]", typer.BadParameter.__mro__[1])
"""Of the command line itself; its base class, whatever package it is in."""

_debug: ContextVar[bool] = ContextVar("debug", default=False)


def run(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code.

    0: all went well. 1: a check that was asked for failed. 2: wrong usage, bad input, or the system refused a file; one
    line on stderr says what. 70: a fault of this program. 130: interrupted. 141: the reader of the output went away.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    _debug.set(bool(os.environ.get("TTAMER_DEBUG")))
    with terminal():
        try:
            command = typer.main.get_command(app)
            code = command.main(args=given or ["--help"], prog_name="ttamer", standalone_mode=False)
        except SystemExit as end:  # the reader of a help text went away
            return PIPE_CLOSED if end.code == CHECK_FAILED else int(end.code or OK)
        except (KeyboardInterrupt, typer.Abort):
            return INTERRUPTED
        except UsageError as error:
            return _failed(error, _usage_text(error), USAGE)
        except OSError as error:
            return _failed(error, f"{error.filename}: {error.strerror}" if error.filename else str(error), USAGE)
        except TTamerError as error:
            return _failed(error, str(error), USAGE)
        except BaseException as error:  # a fault of this program, a panic of its core included
            text = " ".join(f"{type(error).__name__}: {error}".split())
            return _failed(error, f"{text} (a fault of ttamer; --debug before the command shows where)", SOFTWARE)
    return (code if isinstance(code, int) else OK) if given else USAGE


def _failed(error: BaseException, text: str, code: int) -> int:
    if _debug.get():
        traceback.print_exception(error)
    print(f"error: {text}", file=sys.stderr)
    return code


def _usage_text(error: Any) -> str:
    """One line for a mistake on the command line."""
    text = " ".join(error.format_message().split()).rstrip(".")
    path = "ttamer" if error.ctx is None else error.ctx.command_path
    return f"{text[:1].lower()}{text[1:]} (see {path} --help)"


def _show_version(wanted: bool) -> None:
    if wanted:
        raise typer.Exit(OK if write(f"ttamer {build_info['version']}") else PIPE_CLOSED)


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version.")
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show where an error comes from (or TTAMER_DEBUG=1).")] = False,
) -> None:
    """Policies with recall for early-exit networks and model cascades."""
    if debug:
        _debug.set(True)


@app.command("demo")
def demo_command(
    output: Annotated[Path, typer.Option(help="Folder for the trace, the policy and two pictures.")] = Path(
        "demo-output"
    ),
    tradeoff: Annotated[float, typer.Option(help="Weight of the loss against the cost.")] = DemoSettings.tradeoff,
    images: Annotated[int | None, typer.Option(help="Use only so many images.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Train a cascade on handwritten digits, fit a policy, and serve held-out images through it."""
    settings = DemoSettings(images=images, tradeoff=tradeoff)
    with _progress("starting") as bar:
        result = run_demo(output, settings, bar)
    same = result.serving.as_replayed
    check = Check("replay", same, f"requests served one by one get {'the' if same else 'other'} answers of a replay")
    show(result.to_dict(), demo_text(result), as_json, [check])


@app.command("fit")
def fit_command(
    trace: TraceFile,
    output: Annotated[Path, typer.Option("--output", "-o", help="Where to write the policy.")],
    tradeoff: Annotated[float | None, typer.Option(help="Weight of the loss against the cost, 0 to 1.")] = None,
    tradeoffs: Annotated[
        str | None, typer.Option(help="Several, with commas, or auto: writes a family of policies.")
    ] = None,
    max_cost: Annotated[float | None, typer.Option(help="Largest mean cost, in the trace's unit.")] = None,
    max_loss: Annotated[
        str | None, typer.Option(help="Largest mean loss, or last+X: X above the last stage's.")
    ] = None,
    certify: Annotated[
        str | None,
        typer.Option(help="Largest mean loss, or STAGE+X: X above a stage's, with probability 1 - delta."),
    ] = None,
    delta: Annotated[float | None, typer.Option(help="Of --certify: how likely it may fail (default: 0.05).")] = None,
    binary: Annotated[
        bool, typer.Option("--binary", help="Of --certify: losses can only be 0 or the largest one.")
    ] = False,
    largest_loss: Annotated[
        float | None, typer.Option(help="Of --certify: what no loss can exceed (default: 1).")
    ] = None,
    graph: Annotated[Graph, typer.Option(help="Which stage may be next.")] = Graph.AUTO,
    order: Annotated[
        str, typer.Option(help="auto, given, or the stages that may run, in order: numbers or names, with commas.")
    ] = "auto",
    estimator: Annotated[Estimator, typer.Option(help="How indices are fitted.")] = Estimator.AUTO,
    recall: Annotated[Recall, typer.Option(help="May an earlier answer be returned?")] = Recall.AUTO,
    default_loss: DefaultLossOption = math.inf,
    deadline: Annotated[
        bool, typer.Option("--deadline", help="Decide by the time that is left, too; the trace needs latencies.")
    ] = False,
    known_cost: Annotated[
        bool, typer.Option("--known-cost", help="Decide by what each request costs, too; the trace needs costs by row.")
    ] = False,
    seed: Annotated[int, typer.Option(help="Same trace, options and seed: same bytes.")] = 0,
    summary: Annotated[bool, typer.Option(help="Say what the policy is worth on rows held back.")] = True,
    summary_deadline: Annotated[
        float, typer.Option(help="In what is said of rows held back: seconds that each request has.")
    ] = math.inf,
    kind: KindOption = None,
    loss: LossOption = Loss.AUTO,
    as_json: JsonOption = False,
) -> None:
    """Fit a policy to a trace, write it to a file, and say what it is worth on rows held back."""
    if not summary and summary_deadline != math.inf:
        raise ValidationError("`--summary-deadline` must come without `--no-summary`")
    check_output("--output", output, trace)
    read = read_trace(trace, loss=loss, kind=kind)
    options: dict[str, Any] = {
        "graph": graph,
        "order": _order(order),
        "recall": "auto" if recall is Recall.AUTO else recall is Recall.YES,
        "default_loss": default_loss,
        "seed": seed,
    }
    if tradeoffs is not None:
        if (tradeoff, max_cost, max_loss, certify) != (None, None, None, None):
            raise ValidationError("`--tradeoffs` must be the only goal")
        options |= {"deadline": deadline, "known_cost": known_cost}
        family = fit_family(read, tradeoffs_of(tradeoffs), estimator=estimator, **options)
        family.save(output)
        written = {"file": str(output)}
        return show(family_summary(family) | written, f"{family_text(family)}\nwritten to {output}", as_json)
    promised = _number_or_text(certify)
    if promised is None:
        if binary or delta is not None or largest_loss is not None:
            raise ValidationError("`--delta`, `--binary` and `--largest-loss` must come with `--certify`")
        policy = fit(
            read,
            tradeoff=tradeoff,
            max_cost=max_cost,
            max_loss=_number_or_text(max_loss),
            estimator=estimator,
            deadline=deadline,
            known_cost=known_cost,
            **options,
        )
    else:
        others = (tradeoff, max_cost, max_loss) != (None, None, None)
        if others or estimator is Estimator.MARKOV or deadline or known_cost:
            allowed = "the only goal, with the estimator 'pathwise', without `--deadline` and `--known-cost`"
            raise ValidationError(f"`--certify` must be {allowed}")
        policy = fit_certified(
            read,
            max_loss=promised,
            delta=0.05 if delta is None else delta,
            largest_loss=1.0 if largest_loss is None else largest_loss,
            binary=binary,
            **options,
        )
    policy.save(output)
    content, text = policy_summary(policy) | {"file": str(output)}, f"{policy_text(policy)}\nwritten to {output}"
    if summary:
        held_out, sentence = _held_out(policy, read, summary_deadline)
        content, text = content | {"held_out": held_out}, f"{text}\n{sentence}"
    show(content, text, as_json)


@app.command("evaluate")
def evaluate_command(
    policy: PolicyFile,
    trace: TraceFile,
    tradeoff: Annotated[float | None, typer.Option(help="Default: the one the policy was fitted for.")] = None,
    max_loss: Annotated[float | None, typer.Option(help="Exit with 1 if the mean loss is larger.")] = None,
    max_cost: Annotated[float | None, typer.Option(help="Exit with 1 if the mean cost is larger.")] = None,
    default_loss: DefaultLossOption = math.inf,
    deadline: DeadlineOption = math.inf,
    kind: KindOption = None,
    loss: LossOption = Loss.AUTO,
    as_json: JsonOption = False,
) -> None:
    """Replay a policy on a trace: loss, cost and objective with 95 % intervals."""
    check_limit("--max-loss", max_loss)
    check_limit("--max-cost", max_cost)
    # What a file does not say of its kind, the policy says.
    judged = trace_in(trace, loss, kind)[0]
    result = evaluate(Policy.load(policy), judged, tradeoff, default_loss=default_loss, deadline=deadline)
    checks = at_most("--max-loss", "mean loss", result.loss, max_loss)
    checks += at_most("--max-cost", "mean cost", result.cost, max_cost)
    show(result.to_dict(), str(result), as_json, checks)


@app.command("compare")
def compare_command(
    trace: TraceFile,
    tradeoff: Annotated[float, typer.Option(help="Weight of the loss against the cost, 0 to 1.")] = 0.95,
    folds: Annotated[int, typer.Option(help="Of the cross-validation.")] = 5,
    seed: Annotated[int, typer.Option(help="Of the folds.")] = 0,
    check: Annotated[bool, typer.Option("--check", help="Exit with 1 if a simple rule is clearly better.")] = False,
    default_loss: DefaultLossOption = math.inf,
    deadline: DeadlineOption = math.inf,
    kind: KindOption = None,
    loss: LossOption = Loss.AUTO,
    as_json: JsonOption = False,
) -> None:
    """Every rule, cross-validated: is a cascade worth it here, and is recall?"""
    read = read_trace(trace, loss=loss, kind=kind)
    with _progress("comparing") as bar:
        result = compare(
            read,
            tradeoff,
            folds,
            seed,
            progress=lambda share: bar("comparing", share),
            default_loss=default_loss,
            deadline=deadline,
        )
    show(result.to_dict(), str(result), as_json, [no_simple_rule_is_better(result)] if check else [])


@app.command("frontier")
def frontier_command(
    trace: TraceFile,
    folds: Annotated[int, typer.Option(help="Of the cross-validation.")] = 5,
    seed: Annotated[int, typer.Option(help="Of the folds.")] = 0,
    picture: Annotated[Path | None, typer.Option(help="Draw loss against cost: .png, .svg or .pdf.")] = None,
    chosen: Annotated[float | None, typer.Option(help="Trade-off whose fit is ringed in the picture.")] = None,
    loss_unit: Annotated[str, typer.Option(help="Of the loss in the picture.")] = "unit of the trace",
    cost_unit: Annotated[str, typer.Option(help="Of the cost in the picture.")] = "unit of the trace",
    default_loss: DefaultLossOption = math.inf,
    deadline: DeadlineOption = math.inf,
    kind: KindOption = None,
    loss: LossOption = Loss.AUTO,
    as_json: JsonOption = False,
) -> None:
    """Mean loss and cost of every rule at ten trade-offs, cross-validated."""
    if picture is not None:
        check_output("--picture", picture_path(picture), trace)
    read = read_trace(trace, loss=loss, kind=kind)
    with _progress("tracing") as bar:
        result = frontier(
            read,
            folds=folds,
            seed=seed,
            progress=lambda share: bar("tracing", share),
            default_loss=default_loss,
            deadline=deadline,
        )
    if picture is not None:
        result.plot(picture, chosen=chosen, loss_unit=loss_unit, cost_unit=cost_unit)
    show(result.to_dict(), str(result), as_json)


@app.command("drift")
def drift_command(
    policy: PolicyFile,
    reference: Annotated[Path, typer.Argument(help="Trace of requests that the policy was not fitted on.")],
    stream: Annotated[Path, typer.Argument(help="Trace of the requests to watch, in order.")],
    alpha: Annotated[float, typer.Option(help="Probability of ever raising a false alarm.")] = 0.01,
    seed: Annotated[int, typer.Option(help="Of the random order of equal values.")] = 0,
    kind: KindOption = None,
    loss: LossOption = Loss.AUTO,
    as_json: JsonOption = False,
) -> None:
    """Do the requests of a stream still look like those of a reference? Exits with 1 on an alarm."""
    loaded = Policy.load(policy)
    # What files do not say of their kind, the policy says.
    before = trace_in(reference, loss, kind)[0].matching(loaded, "reference")
    watched = trace_in(stream, loss, kind)[0].matching(loaded, "stream")
    with warnings.catch_warnings():
        # What is said of the order of rows stands below the report.
        warnings.simplefilter("ignore", OrderWarning)
        monitor = DriftMonitor.fit(loaded, before, alpha=alpha, seed=seed)
        replay = loaded.replay(watched.signal, watched.prediction)
        monitor.update_replay(replay, watched.signal, watched.prediction)
    report = monitor.report()
    hints = [
        f"{file}: {finding.text}"
        for file, trace, is_stream in ((reference, before, False), (stream, watched, True))
        for finding in order_findings(
            trace.signal, trace.prediction, trace.group, stages=trace.stages, is_stream=is_stream
        )
    ]
    text = "\n".join([str(report), *(f"hint: rows are not in a random order: {hint}" for hint in hints)])
    show(report.to_dict() | {"hints": hints}, text, as_json, [no_drift(report)])


app.command("diff")(diff_command)


@app.command("inspect")
def inspect_command(
    policy: PolicyFile,
    picture: Annotated[Path | None, typer.Option(help="Draw what the policy does: .png, .svg or .pdf.")] = None,
    trace: Annotated[Path | None, typer.Option(help="Trace whose requests are counted in the picture.")] = None,
    as_json: JsonOption = False,
) -> None:
    """What is in a file of a policy, or of a family: stages, rule, provenance, size."""
    if picture is not None:
        check_output("--picture", picture_path(picture), policy, trace)
    loaded = load_either(policy)
    if isinstance(loaded, PolicyFamily):
        if picture is not None:
            raise ValidationError("`--picture` must be of one policy, got a family")
        return show(family_summary(loaded), family_text(loaded), as_json)
    if picture is not None:
        from ..plotting.policy import plot_policy

        plot_policy(loaded, picture, None if trace is None else trace_in(trace)[0])
    show(policy_summary(loaded) | {"describe": loaded.describe()}, policy_text(loaded), as_json)


@app.command("bench")
def bench_command(
    policy: Annotated[Path | None, typer.Argument(help="Policy file; default: fitted to the trace.")] = None,
    trace: Annotated[Path | None, typer.Option(help="Trace file; default: a synthetic one with 6 stages.")] = None,
    max_call_ratio: Annotated[
        float | None, typer.Option(help="Exit with 1 if a call takes more than so many Python function calls.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """What deciding costs on this machine, beside what limits it: call, batch, replay.

    Everything is done in turns. Says so where the machine is too busy for the figures to mean anything."""
    check_limit("--max-call-ratio", max_call_ratio)
    result = measure_overhead(
        None if policy is None else Policy.load(policy), None if trace is None else trace_in(trace)[0]
    )
    checks = at_most("--max-call-ratio", "function calls a call takes as long as", result.call_ratio, max_call_ratio)
    show(result.to_dict(), str(result), as_json, checks)


def _held_out(policy: Policy, trace: Trace, deadline: float) -> tuple[dict[str, Any] | None, str]:
    """What a policy is worth on rows held back, if there are rows enough to hold any back."""
    try:
        found = summarize(policy, trace, deadline=deadline)
    except ValidationError as error:
        return None, f"what it is worth on new requests is not known: {error}"
    return found.to_dict(), str(found)


def _order(value: str) -> str | list[int | str]:
    """`auto`, `given`, or stages by number or name."""
    if value in ("auto", "given"):
        return value
    return [int(stage) if stage.isdecimal() else stage for stage in (part.strip() for part in value.split(","))]


def _number_or_text(value: str | None) -> float | str | None:
    """A number given as an option, or the text itself where it is none."""
    if value is None:
        return None
    try:
        return float(value)
    except ValueError:
        return value


@contextmanager
def _progress(first: str) -> Iterator[Callable[[str, float], None]]:
    """Progress bars on stderr, one for each step; nothing where stderr is no terminal."""
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal) as bars:
        tasks: dict[str, TaskID] = {}

        def advance(step: str, share: float) -> None:
            if step not in tasks:
                for task in tasks.values():
                    bars.update(task, completed=1.0)
                tasks[step] = bars.add_task(step, total=1.0)
            bars.update(tasks[step], completed=share)

        advance(first, 0.0)
        yield advance
        for task in tasks.values():
            bars.update(task, completed=1.0)
