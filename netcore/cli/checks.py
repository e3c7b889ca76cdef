"""`netcore verify` and `netcore replay`: compare a study with its records, and its records with new trainings.

`netcore.check` does both and returns what it finds; here it is printed. The exit code is 1 if anything differs. Nothing
is written, unless `verify --fix` rebuilds the derived files.
"""

from collections.abc import Callable
from pathlib import Path

import click

from netcore.check import replay
from netcore.check.verify import verify
from netcore.cli.options import dask_option, results_option, workers_option
from netcore.derived import write_derived_files
from netcore.records.folder import StudyFolder, find_study
from netcore.terminal import print_checks, print_replays
from netcore.tracking.follow import sync
from netcore.tracking.run_record import record_of_run


@click.command("verify")
@click.argument("study")
@results_option
@click.option("--fix", is_flag=True, help="Rebuild tables, plots, report, optuna.log and MLflow, then check again.")
@click.option("--quick", is_flag=True, help="Do not ask the sampler again (that takes a minute for 1,000 trials).")
def verify_command(study: str, results: Path, fix: bool, quick: bool) -> int:
    """Check that all numbers of a study agree: records, study file, data, proposals, tables, MLflow, optuna.log."""
    folder = find_study(study, results)
    hold = print_checks(verify(folder, quick=quick))
    if hold or not fix:
        return 0 if hold else 1
    click.echo("\nrebuilding everything that is made from records ...", err=True)
    write_derived_files(folder)
    sync(folder, deep=True)
    return 0 if print_checks(verify(folder, quick=quick)) else 1


@click.command("replay")
@click.argument("study", required=False)
@click.argument("trials", nargs=-1, type=click.IntRange(min=0), metavar="[TRIAL]...")
@results_option
@click.option("--best", is_flag=True, help="The best trial.")
@click.option("--sample", type=click.IntRange(min=1), metavar="K", help="K trials, chosen by the study's seed.")
@click.option("--all", "every", is_flag=True, help="All trials.")
@click.option("--confirmed", is_flag=True, help="The trainings of the confirmation.")
@click.option("--run", "run_id", metavar="RUN_ID", help="This MLflow run, without a results folder.")
@workers_option
@dask_option
def replay_command(  # noqa: PLR0913, PLR0917  # one argument per option
    study: str | None,
    trials: tuple[int, ...],
    results: Path,
    best: bool,
    sample: int | None,
    every: bool,
    confirmed: bool,
    run_id: str | None,
    workers: int | None,
    dask: str | None,
) -> int:
    """Train recorded trials again, and compare to the last bit."""
    choices: list[tuple[bool, Callable[[StudyFolder], list[replay.Asked]]]] = [
        (bool(trials), lambda folder: replay.trials_of(folder, trials)),
        (best, replay.best_of),
        (sample is not None, lambda folder: replay.sample_of(folder, sample or 1)),
        (every, lambda folder: replay.trials_of(folder, folder.numbers())),
        (confirmed, replay.confirmation_of),
    ]
    chosen = [choose for given, choose in choices if given]
    if len(chosen) + (run_id is not None) != 1 or (study is None) is (run_id is None):
        raise click.UsageError("give a STUDY and one of TRIAL..., --best, --sample, --all, --confirmed; or --run alone")
    if study is None:
        spec, name, record = record_of_run(run_id or "")
        asked = [replay.Asked(name, record)]
    else:
        folder = find_study(study, results)
        asked, spec = chosen[0](folder), folder.spec()
    return 0 if print_replays(replay.replay(spec, asked, workers, dask)) else 1
