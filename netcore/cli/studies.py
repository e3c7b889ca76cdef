"""`netcore list`, `show`, `check`: look at studies, and change nothing.

`list` and `show` read the records in the results folder. `check` reads a study file and its data, as `netcore run`
does before its first trial: a file that `check` accepts is accepted by `run`.
"""

from functools import partial
from pathlib import Path

import click

from netcore.cli.options import results_option
from netcore.data.prepared import prepared
from netcore.errors import InputError, Problem, printable
from netcore.files import is_file
from netcore.question.spec import check_sampler, dataset_of, json_schema, load_spec
from netcore.records.folder import StudyFolder, find_study, studies_in
from netcore.terminal import Tally, print_trial


@click.command("list")
@results_option
def list_command(results: Path) -> None:
    """List the studies in the results folder."""
    if is_file(results):
        raise InputError.at(results, "must be a folder", "a file", "name the results folder with --results")
    folders = studies_in(results)
    if not folders:
        click.echo(printable(f"no studies in {results}; `netcore run digits` makes one"))
    problems: list[Problem] = []
    for folder in folders:
        try:
            folder.refuse_links()
            click.echo(_line(folder))
        except InputError as error:
            problems += error.problems
    if problems:
        raise InputError(*problems)


def _line(folder: StudyFolder) -> str:
    """Return what the list shows of one study."""
    settings = folder.resolved_settings()["settings"]["study"]
    tally = Tally(settings["trials"], settings["metric"])
    for record in folder.committed():
        tally.add(record)
    return f"{folder.name:<20}  {tally.done}/{tally.trials} trials: {tally}"


@click.command("show")
@click.argument("study")
@click.argument("trial", type=click.IntRange(min=0))
@results_option
def show_command(study: str, trial: int, results: Path) -> None:
    """Show one trial: its metrics, or its traceback."""
    folder = find_study(study, results)
    numbers = folder.numbers()
    if trial not in numbers:
        remedy = f"there are {len(numbers)}, the last is {numbers[-1]}" if numbers else "there is none"
        raise InputError.at(f"{folder.name}: trial {trial}", "has no record", remedy=remedy)
    print_trial(folder.read(trial))


@click.command("check")
@click.argument("study", required=False)
@click.option("--schema", is_flag=True, help="Print the JSON Schema of study files, for editors.")
def check_command(study: str | None, schema: bool) -> None:
    """Check a study file, and its data, without running anything."""
    if schema:
        click.echo(json_schema())
        return
    if study is None:
        raise click.UsageError("give a STUDY, or --schema")
    spec = load_spec(study)
    check_sampler(spec)
    with prepared(partial(dataset_of, spec)) as dataset:
        for note in dataset.notes:
            click.echo(f"note: {note}", err=True)
        rows = "{} rows to train, {} to validate, {} to test".format(*map(len, dataset.labels))
        trials = f"{spec.study.trials} trials of {spec.training.epochs} epochs"
        click.echo(f"{spec.name}: {trials} on {dataset.name} ({rows})")
