"""The output of the commands: a progress bar on a terminal, plain lines elsewhere, and the outcome at the end.

Progress and notes go to standard error, results to standard output. Names from outside are shown with their control
characters escaped.
"""

import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, nullcontext
from itertools import count
from typing import TYPE_CHECKING

import click

from netcore.confirm.candidates import SOFTMAX_REGRESSION
from netcore.errors import printable
from netcore.progress import Notice, Stage
from netcore.question.hyperparameters import HYPERPARAMETERS
from netcore.question.metrics import Metric
from netcore.records.job import State
from netcore.records.record import Record, rank

if TYPE_CHECKING:
    from netcore.check.replay import Replayed
    from netcore.check.verify import Check
    from netcore.data import Dataset
    from netcore.results.tables import StudyTables
    from netcore.run import Run


_LINES = 10
_MOST = 5


class Tally:
    """The trials committed so far: counts by state, and the best trial.

    `trials` is the number of trials that the study asks for. Records of a stage that follows the search are not
    counted; `stage` then says how far that stage is.
    """

    def __init__(self, trials: int, metric: Metric) -> None:
        self.trials, self.metric = trials, metric
        self.states: Counter[State] = Counter()
        self.best: Record | None = None
        self.stage = ""

    def add(self, record: Record) -> None:
        """Count one more record."""
        self.states[record.result.state] += 1
        self.trials = max(self.trials, self.done)  # a study may have more trials than are asked for now
        if record.result.state is State.FINISHED and (self.best is None or rank(record) < rank(self.best)):
            self.best = record

    @property
    def done(self) -> int:
        """The number of committed trials."""
        return self.states.total()

    @property
    def where(self) -> str:
        """The progress as text: `after 12 of 100 trials`, or `while confirming, 3 of 53`."""
        return self.stage or f"after {self.done} of {self.trials} trials"

    def __str__(self) -> str:
        """Return counts and best trial in one line."""
        best = f", best {self.metric} {self.best.result.value:.4f} (trial {self.best.number})" if self.best else ""
        return f"{_counts(self.states) or 'no trial yet'}{best}"


def _counts(states: Mapping[State, int]) -> str:
    """Return the number of trials in each state: `90 finished, 10 pruned`."""
    return ", ".join(f"{states[state]} {state}" for state in State if states.get(state))


Show = Callable[[str, int, int, str], None]
"""Shows progress; its arguments are the stage, how many steps are done, of how many, and a remark."""


def show_progress(steps: Iterable[Record | Notice | Stage], tally: Tally) -> None:
    """Run through the steps and show the progress on standard error."""
    stage, done = None, 0
    with _bar("trials") if sys.stderr.isatty() else nullcontext(_line) as show:
        for step in steps:
            if isinstance(step, Notice):
                click.echo(f"note: {step.text}", err=True)
            elif isinstance(step, Stage):
                stage, done = step, 0
                tally.stage = f"while {stage.text}, 0 of {stage.total}"
            elif stage:
                done += 1
                tally.stage = f"while {stage.text}, {done} of {stage.total}"
                show(stage.text, done, stage.total, "")
            else:
                tally.add(step)
                show("trials", tally.done, tally.trials, str(tally))


def _line(stage: str, done: int, total: int, text: str) -> None:
    """Print one line of progress, for about every tenth step."""
    if done % max(1, total // _LINES) == 0 or done == total:
        click.echo(f"{done}/{total} {stage}" + (f": {text}" if text else ""), err=True)


@contextmanager
def _bar(*stages: str) -> Iterator[Show]:
    """Show a bar for each stage if standard error is a terminal, else nothing; `stages` have one from the beginning."""
    from rich.console import Console  # noqa: PLC0415  # only where it may be needed
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn  # noqa: PLC0415
    from rich.table import Column  # noqa: PLC0415

    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=16),
        MofNCompleteColumn(),
        TimeRemainingColumn(compact=True),
        TextColumn("left"),
        TextColumn("{task.fields[text]}", table_column=Column(no_wrap=False)),  # this column wraps on narrow terminals
    )
    with Progress(*columns, console=Console(stderr=True), disable=not sys.stderr.isatty()) as progress:
        tasks = {stage: progress.add_task(stage, total=None, text="") for stage in stages}

        def show(stage: str, done: int, total: int, text: str) -> None:
            if stage not in tasks:
                tasks[stage] = progress.add_task(stage, text="")
            progress.update(tasks[stage], completed=done, total=total, text=text)

        yield show


def print_checks(steps: "Iterable[Check | Stage | Record]") -> bool:
    """Print the result of each check as it ends; return whether all of them hold."""
    failed = made = 0
    with ExitStack() as stack:
        for step in steps:
            if isinstance(step, Stage):
                stage, done, show = step, count(1), stack.enter_context(_bar())
            elif isinstance(step, Record):
                show(stage.text, next(done), stage.total, "")
            else:
                stack.close()  # the bar must not stand between the lines
                made += 1
                failed += bool(step.problems)
                _print_check(step)
    click.echo(f"{failed} of {made} checks FAILED" if failed else f"{made} checks, none failed")
    return not failed


def _print_check(check: "Check") -> None:
    """Print the problems and notices of a check, or, if there are none, its claim."""
    lines: list[tuple[str, object]] = [("FAILED", problem) for problem in check.problems[:_MOST]]
    if len(check.problems) > _MOST:
        lines.append(("FAILED", f"and {len(check.problems) - _MOST} more"))
    lines += [("note", notice) for notice in check.notices]
    for word, text in lines or [("ok", check.claim)]:
        click.echo(f"{word:<6}  {check.name:<12}  {text}")


def print_replays(replays: "Iterable[Replayed]") -> bool:
    """Print of each replayed training whether it equals its record; return whether none differs."""
    counts: Counter[str] = Counter()
    for each in replays:
        result, differ, environment = each.record.result, "; ".join(each.differences), "; ".join(each.environment)
        word, text = "equal", f"{result.state}, {len(result.curve)} epochs, digest {each.record.digest[:12]}…"
        if each.skipped:
            word, text = "skipped", f"it failed ({result.failure}), and failures do not repeat"
        elif differ:
            word, text = "DIFFERS", f"{differ}\n         environment: {environment or 'the same'}"
        counts[word] += 1
        click.echo(f"{word:<7}  {each.name}: {text}")
    ended = (f"{counts[word]} {word}" for word in ("equal", "DIFFERS", "skipped") if counts[word])
    click.echo(", ".join(ended) or "nothing to replay")
    return not counts["DIFFERS"]


def print_outcome(run: "Run", tables: "StudyTables", seconds: float, tracked: str) -> None:
    """Print the outcome of a run: winner or best trial, its metrics, and where the report and MLflow are."""
    from netcore.results.number_format import plus_minus  # noqa: PLC0415  # pandas: only where it is needed
    from netcore.results.stopping_audit import audited  # noqa: PLC0415
    from netcore.results.test_set import reading_of  # noqa: PLC0415
    from netcore.results.winner import answer_of, summarised  # noqa: PLC0415

    counts = _counts(Counter(map(State, tables.trials["state"])))
    click.echo(f"\n{run.spec.name}: {len(tables.trials)} trials ({counts}) in {seconds:.1f} s\n")
    rows: list[tuple[str, str, str]] = []
    answer, metric = answer_of(tables), run.spec.study.metric
    if answer is None:
        click.echo("  no trial finished, so there is no best trial\n")
    else:
        trial = tables.trials.set_index("trial").loc[answer.trial]
        rows.append((answer.kind, f"trial {answer.trial}", f"epoch {trial['best_epoch']} of {trial['epochs']}"))
        rows += [(name, f"{trial[name]:.4g}", "") for name in HYPERPARAMETERS]
        metrics = sorted(Metric, key=lambda each: each is not metric)
        rows += [(name, f"{trial[name]:.4f}", "in the search") for name in metrics]
    confirmation = summarised(tables)
    if confirmation and confirmation.winner:
        baseline = confirmation.named(SOFTMAX_REGRESSION)
        for label, candidate in (("confirmed", confirmation.winner), (SOFTMAX_REGRESSION, baseline)):
            if candidate and candidate.finished:
                seeds = f"{candidate.finished} fresh {_plural('seed', candidate.finished)}"
                rows.append((label, plus_minus(candidate.of(metric), metric), f"{metric}, {seeds}"))
    test = reading_of(tables, run.folder.test_result(), list(run.dataset.class_names))
    if test:
        whose = "" if answer and test.candidate == f"trial {answer.trial}" else f", {test.candidate}"
        rows.append(("test accuracy", f"{test.accuracy:.4f}", f"{test.right} of {test.rows} rows{whose}"))
    if audit := audited(tables):
        pruned = f"{audit.trials} pruned {_plural('trial', audit.trials)}"
        rows.append(("audit", f"{len(audit.wrong)} of {pruned} would have beaten the best trial", ""))
    if run.busy is not None:
        share = f"{run.busy:.0%}" if run.busy >= 0.1 else f"{run.busy:.1%}"  # noqa: PLR2004  # one decimal for small shares
        rows.append(("workers", f"busy {share} of the time", "in the search"))
    rows += [("report", str(run.folder.report), ""), ("MLflow", tracked, "")]
    width = max(len(name) for name, _, _ in rows)
    for name, value, remark in rows:
        click.echo(f"  {name:<{width}}  {value}" + (f"  ({remark})" if remark else ""))


def _plural(what: str, count: int) -> str:
    """Return a noun in the form that a number of things needs."""
    return what if count == 1 else f"{what}s"


def print_trial(record: Record) -> None:
    """Print one trial in full: hyperparameters, result, curve; of a failed trial, the traceback."""
    job, result, provenance = record.job, record.result, record.provenance
    click.echo(f"trial {record.number}: {result.state}, {provenance.seconds:.2f} s, digest {record.digest}")
    for name in HYPERPARAMETERS:
        click.echo(f"  {name:<20} {getattr(job.hyperparameters, name)!r}")
    for epoch, threshold in job.thresholds.items():
        click.echo(f"  threshold at epoch {epoch:<3} {threshold:.6f}")
    if result.best_epoch:
        click.echo(f"  best_epoch           {result.best_epoch}\n  {job.metric:<20} {result.value!r}")
    if result.failure:
        click.echo(printable(f"\n{result.failure}\n{result.traceback}", but="\n"))
    if result.curve:
        click.echo("\n  epoch  learning_rate  train_loss    val_loss  train_accuracy  val_accuracy")
    for e in result.curve:
        click.echo(
            f"  {e.epoch:>5}  {e.learning_rate:>13.6g}  {e.train_loss:>10.5g}  {e.val_loss:>10.5g}"
            f"  {e.train_accuracy:>14.4f}  {e.val_accuracy:>12.4f}"
        )


def print_data(dataset: "Dataset") -> None:
    """Print a data set: rows, inputs, classes, digest, and the rows of each class in each part."""
    shape = f" ({' x '.join(map(str, dataset.image_shape))})" if dataset.image_shape else ""
    train, validation, test = (Counter(y.tolist()) for y in dataset.labels)
    parts = {"train": train, "validation": validation, "test": test}
    if dataset.others:
        parts = {"in folds": train + validation, "test": test}
    total = sum(part.total() for part in parts.values())
    rows = ", ".join(f"{part.total()} {name}" for name, part in parts.items())
    click.echo(printable(dataset.name))
    click.echo(f"  rows      {total}: {rows}")
    if dataset.others:
        each = [_span([len(fold.labels[part]) for fold in dataset.folds]) for part in (0, 1)]
        click.echo(f"  folds     {len(dataset.folds)}, each with {each[0]} rows to train, {each[1]} to validate")
    click.echo(f"  inputs    {dataset.input_size}{shape}, prepared by {dataset.preprocessing.facts['kind']}")
    click.echo(f"  classes   {dataset.classes}")
    click.echo(f"  digest    {dataset.digest}")
    for note in dataset.notes:
        click.echo(f"  note      {note}")
    width = max(map(len, ["class", *map(printable, dataset.class_names)]))
    click.echo(f"\n  {'class':<{width}}  " + "  ".join(f"{name:>10}" for name in parts) + "       share")
    for label, name in enumerate(map(printable, dataset.class_names)):
        numbers = [part[label] for part in parts.values()]
        counts = "  ".join(f"{number:>10}" for number in numbers)
        click.echo(f"  {name:<{width}}  {counts}  {sum(numbers) / total:>10.1%}")


def _span(numbers: list[int]) -> str:
    """Return one number, or the range of several."""
    low, high = min(numbers), max(numbers)
    return f"{low}" if low == high else f"{low} to {high}"
