"""`netcore run`, `confirm`, `audit`: train, then write everything that follows. `report` does only the writing.

    Run.search, .confirm or .audit  ->  derived files  ->  MLflow has caught up  ->  the outcome, printed

`netcore.run` trains and yields each record at its commit; here the progress is shown. A process of its own sends the
records to MLflow meanwhile. The exit code is 1 if MLflow still lacks some at the end: the study itself is complete.
"""

import math
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click

from netcore.cli.app import INTERRUPTED
from netcore.cli.options import dask_option, results_option, workers_option
from netcore.derived import write_derived_files
from netcore.errors import InputError, NetcoreError
from netcore.progress import Notice, Stage
from netcore.question.spec import load_spec
from netcore.records.folder import find_study
from netcore.records.record import Record
from netcore.run import Run
from netcore.terminal import Tally, print_outcome, show_progress
from netcore.tracking.client import shown_uri
from netcore.tracking.follow import Follower


@click.command("run")
@click.argument("study")
@results_option
@click.option("--trials", type=click.IntRange(min=1), help="Trials in total, instead of the file's number.")
@workers_option
@dask_option
@click.option("--fresh", is_flag=True, help="Move the study's old folder aside and start over.")
@click.option("--retrain", is_flag=True, help="Move records that do not match aside, and train their trials again.")
@click.option("--retry-failed", is_flag=True, help="Train failed trials again, and later trials that depend on them.")
@click.option("--no-confirm", is_flag=True, help="Skip the confirmation; `netcore confirm` can do it later.")
def run_command(study: str, trials: int | None, *, no_confirm: bool, **options: Any) -> int:  # noqa: ANN401  # as in Run
    """Run a study, or continue it. STUDY is a TOML file, or the name of one in ./studies."""
    this = Run(load_spec(study).with_trials(trials), **options)
    return _carry_out(this, lambda: this.search(confirm=not no_confirm))


@click.command("confirm")
@click.argument("study")
@results_option
@click.option("--finalists", type=click.IntRange(min=1), help="Number of best trials, instead of the file's.")
@click.option("--seeds", type=click.IntRange(min=1), help="Number of seeds, instead of the file's.")
@workers_option
@dask_option
def confirm_command(**options: Any) -> int:  # noqa: ANN401  # those of `_after_search`
    """Train the best trials of a complete search again with fresh seeds, and read the test set for the winner."""
    this = _after_search(**options)
    return _carry_out(this, this.confirm)


@click.command("audit")
@click.argument("study")
@results_option
@click.option(
    "--share",
    type=click.FloatRange(0, 1, min_open=True),
    default=0.2,
    show_default=True,
    help="Share of the stopped trials.",
)
@workers_option
@dask_option
def audit_command(share: float, **options: Any) -> int:  # noqa: ANN401  # those of `_after_search`
    """Train some of the trials that were stopped early to the end, to see what the stopping rule missed."""
    if math.isnan(share):  # click finds it in every range
        raise click.BadParameter("must be a number, got nan", param_hint="--share")
    this = _after_search(**options)
    return _carry_out(this, lambda: this.audit(share))


@click.command("report")
@click.argument("study")
@results_option
def report_command(study: str, results: Path) -> None:
    """Write a study's tables, plots and report again from its records."""
    folder = find_study(study, results)
    write_derived_files(folder)
    click.echo(f"{folder.report}")


def _after_search(
    study: str,
    results: Path,
    finalists: int | None = None,
    seeds: int | None = None,
    **options: Any,  # noqa: ANN401  # as in Run
) -> Run:
    """Return the run of what follows a search, in the folder of a study that has run."""
    folder = find_study(study, results)
    spec = folder.spec().with_confirm(finalists, seeds)
    if spec.name != folder.name:  # the run would write to another folder
        remedy = "rename it, or name it by its path"
        raise InputError.at(folder.path, f"must be called {spec.name}, like the study in it", folder.name, remedy)
    return Run(spec, results=folder.path.parent, after_search=True, **options)


def _carry_out(this: Run, steps: Callable[[], Iterator[Record | Notice | Stage]]) -> int:
    """Do a run's steps, then write everything that follows from its records; return the exit code."""
    begun = time.monotonic()
    tally = Tally(this.spec.study.trials, this.spec.study.metric)
    with this, Follower(this.folder) as follower:
        failure: NetcoreError | None = None
        try:
            show_progress(steps(), tally)
        except KeyboardInterrupt:
            click.echo(f"interrupted {tally.where}; run the same command again to continue", err=True)
            return INTERRUPTED
        except NetcoreError as error:
            if not this.searched:
                raise
            failure = error  # only the confirmation failed: the search's results are complete and get written
        waiting, why = _write_results(this, follower, begun)
    if failure:
        raise failure
    if waiting:
        click.echo(f"\n{why} ({waiting})", err=True)
    return 1 if waiting else 0


def _write_results(this: Run, follower: Follower, begun: float) -> tuple[str, str]:
    """Write the derived files, wait for MLflow, print the outcome; return what MLflow still lacks, and why."""
    click.echo("writing tables, plots and the report ...", err=True)
    this.folder.add_times(this.seconds)  # the report shows them
    at = time.perf_counter()
    tables = write_derived_files(this.folder)
    drawn = time.perf_counter()
    click.echo("updating MLflow ...", err=True)
    waiting, why = follower.finish(len(tables.trials))
    ended = time.perf_counter()
    this.folder.add_times({"tables, plots, report": drawn - at, "waiting for MLflow": ended - drawn})
    where = f"{len(tables.trials)} trials in {shown_uri()}; `netcore ui` (or `make ui`) shows them"
    print_outcome(this, tables, time.monotonic() - begun, f"{waiting} (see below)" if waiting else where)
    return waiting, why
