"""The commands. Each imports what it needs when it runs, so that `netcore --help` is instant.

Exit codes: 0 done, 1 the work failed, 2 the input is wrong, 130 interrupted.
"""

import gc
import math
import signal
import sys
import time
from collections import namedtuple
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import click

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from netcore.records.folder import StudyFolder
    from netcore.records.record import Record
    from netcore.results.tables import StudyTables
    from netcore.run import Run
    from netcore.search.loop import Notice, Stage

INTERRUPTED = 130

results_option = click.option(
    "--results",
    envvar="NETCORE_RESULTS",
    default="results",
    show_default=True,
    type=click.Path(path_type=Path),
    help="Folder that holds the studies' folders (or NETCORE_RESULTS).",
)

workers_option = click.option(
    "--workers", type=click.IntRange(min=1), help="Worker processes.  [default: one per usable core]"
)
dask_option = click.option(
    "--dask", metavar="ADDRESS", help="Train on the workers of the Dask cluster whose scheduler is there."
)


def main() -> NoReturn:
    """Run a command; whatever a user can cause ends in one clear line and an exit code."""
    from netcore.errors import NetcoreError, Problem  # noqa: PLC0415

    signal.signal(signal.SIGTERM, _end)
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:  # as a shell leaves it to what runs in the background
        signal.signal(signal.SIGINT, _end)
    try:
        code = commands(standalone_mode=False)
    except NetcoreError as error:
        for problem in error.problems:
            click.echo(f"error: {problem}", err=True)
        code = error.exit_code
    except PermissionError as error:
        problem = Problem(str(error.filename or "the system"), str(error.strerror), remedy="change its permissions")
        click.echo(f"error: {problem}", err=True)
        code = 2
    except click.ClickException as error:
        error.show()
        code = error.exit_code
    except (KeyboardInterrupt, click.Abort):
        click.echo("interrupted", err=True)
        code = INTERRUPTED
    # If an interrupt hit text that an import ran, as a namedtuple does, CPython ends `python -m` by SIGINT, whatever
    # was made of the interrupt since; unless other text has run well after it.
    namedtuple("_Text", "")  # noqa: PYI024
    gc.freeze()  # else Python, before it ends, goes through all that was imported once more: a third of a second
    sys.exit(code if isinstance(code, int) else 0)


def _a_number(value: float) -> float:
    """Refuse NaN, which lies in every range of click's."""
    if math.isnan(value):
        raise click.BadParameter("must be a number, got nan")
    return value


def _end(*_: object) -> NoReturn:
    """End the command; who asks again finds the end on its way and cannot cut it short, or it would leave a mess."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="netcore")
def commands() -> None:
    """Search the hyperparameters of a two-layer net: same study file, same numbers, bit for bit."""


@commands.command()
@click.argument("study")
@results_option
@click.option("--trials", type=click.IntRange(min=1), help="Trials in all, instead of the file's number.")
@workers_option
@dask_option
@click.option("--fresh", is_flag=True, help="Move the study's old folder aside and begin anew.")
@click.option("--retrain", is_flag=True, help="Move records that do not match what is asked aside, and train again.")
@click.option("--retry-failed", is_flag=True, help="Try failed trials again, and what was proposed knowing of them.")
@click.option("--no-confirm", is_flag=True, help="Leave out the confirmation; `netcore confirm` makes it later.")
def run(  # noqa: PLR0913, PLR0917  # what may be asked for
    study: str,
    results: Path,
    trials: int | None,
    workers: int | None,
    dask: str | None,
    fresh: bool,
    retrain: bool,
    retry_failed: bool,
    no_confirm: bool,
) -> int:
    """Run a study, or go on with it: STUDY is a TOML file, or the name of one in ./studies."""
    from netcore.question.spec import load_spec  # noqa: PLC0415

    spec = load_spec(study).with_trials(trials)  # a mistake in the file is said before anything heavy is imported

    from netcore.run import Run  # noqa: PLC0415

    options = {"fresh": fresh, "retrain": retrain, "retry_failed": retry_failed}
    this = Run(spec, results=results, workers=workers, dask=dask, **options)
    return _see_through(this, lambda: this.search(confirm=not no_confirm))


@commands.command()
@click.argument("study")
@results_option
@click.option("--finalists", type=click.IntRange(min=1), help="How many of the best trials, instead of the file's.")
@click.option("--seeds", type=click.IntRange(min=1), help="How many seeds, instead of the file's number.")
@workers_option
@dask_option
def confirm(
    study: str, results: Path, finalists: int | None, seeds: int | None, workers: int | None, dask: str | None
) -> int:
    """Train the best trials of a complete search again with fresh seeds, and read the test set for the winner."""
    this = _after_search(study, results, workers, dask, finalists=finalists, seeds=seeds)
    return _see_through(this, this.confirm)


@commands.command()
@click.argument("study")
@results_option
@click.option(
    "--share",
    type=click.FloatRange(0, 1, min_open=True),
    callback=lambda _context, _option, share: _a_number(share),
    default=0.2,
    show_default=True,
    help="Which part of the stopped trials.",
)
@workers_option
@dask_option
def audit(study: str, results: Path, share: float, workers: int | None, dask: str | None) -> int:
    """Train some of the trials that were stopped early to the end, to see what the stopping rule missed."""
    this = _after_search(study, results, workers, dask)
    return _see_through(this, lambda: this.audit(share))


@commands.command()
@click.argument("study")
@results_option
@click.option("--follow", is_flag=True, hidden=True)
def sync(study: str, results: Path, follow: bool) -> None:
    """Bring MLflow to what a study's records say; run it as often as you like."""
    from netcore.records.folder import find_study  # noqa: PLC0415
    from netcore.tracking import follow as following  # noqa: PLC0415
    from netcore.tracking.client import shown_uri  # noqa: PLC0415

    folder = find_study(study, results)
    written = following.follow(folder, sys.stdin) if follow else following.sync(folder)
    click.echo(f"{folder.name}: {written} runs written to {shown_uri()}")


@commands.command()
@click.argument("study")
@results_option
def report(study: str, results: Path) -> None:
    """Make a study's tables, figures and report again from its records."""
    from netcore.records.folder import find_study  # noqa: PLC0415

    folder = find_study(study, results)
    _write_views(folder)
    click.echo(f"{folder.report}")


@commands.command()
@click.argument("study")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), help="CSV file to write.  [default: standard output]")
@results_option
def predict(study: str, file: Path, out: Path | None, results: Path) -> None:
    """Say which class new rows belong to: FILE holds them as they come (.csv, .parquet, .npy, .npz or IDX)."""
    from netcore.final.model import MODEL, read_model  # noqa: PLC0415
    from netcore.final.prediction import as_csv, ignored, predict, read_rows, refuse_place, write_csv  # noqa: PLC0415
    from netcore.records.folder import find_study  # noqa: PLC0415

    model = read_model(find_study(study, results).path / MODEL)
    if out is not None:
        refuse_place(out, file)
    rows = read_rows(file, model)
    text = as_csv(model, predict(model, rows, file))
    if left := ignored(model, rows):
        click.echo(f"note: not looked at: {', '.join(map(repr, left))}", err=True)
    if out is None:
        click.echo(text, nl=False)
    else:
        write_csv(out, text)
        click.echo(f"{out}: {len(rows)} rows")


@commands.command()
@click.argument("study")
@results_option
@click.option("--fix", is_flag=True, help="Make tables, figures, report, optuna.log and MLflow anew, and check again.")
@click.option("--quick", is_flag=True, help="Leave out asking the sampler again: a minute for a thousand trials.")
def verify(study: str, results: Path, fix: bool, quick: bool) -> int:
    """Check that all numbers of a study agree: records, study file, data, proposals, tables, MLflow, optuna.log."""
    from netcore.check.verify import mend, verify  # noqa: PLC0415
    from netcore.errors import NetcoreError  # noqa: PLC0415
    from netcore.records.folder import find_study  # noqa: PLC0415
    from netcore.terminal import say_checks  # noqa: PLC0415
    from netcore.tracking.follow import sync as send  # noqa: PLC0415

    folder = find_study(study, results)
    hold = say_checks(verify(folder, quick=quick))
    if hold or not fix:
        return 0 if hold else 1
    click.echo("\nmaking all that is made from records again ...", err=True)
    try:
        _write_views(folder)
        mend(folder)
        send(folder)
    except NetcoreError as error:
        for problem in error.problems:
            click.echo(f"error: {problem}", err=True)
        return 1
    return 0 if say_checks(verify(folder, quick=quick)) else 1


@commands.command()
@click.argument("study", required=False)
@click.argument("trials", nargs=-1, type=click.IntRange(min=0), metavar="[TRIAL]...")
@results_option
@click.option("--best", is_flag=True, help="The best trial.")
@click.option("--sample", type=click.IntRange(min=1), metavar="K", help="K trials, chosen by the study's seed.")
@click.option("--all", "every", is_flag=True, help="All trials.")
@click.option("--confirmed", is_flag=True, help="The trainings of the confirmation.")
@click.option("--run", "run_id", metavar="RUN_ID", help="What this MLflow run tells of, and no results folder.")
@workers_option
@dask_option
def replay(  # noqa: PLR0913, PLR0917  # what may be asked for
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
    """Train again what the records tell of, and compare to the last bit."""
    given = [bool(trials), best, sample is not None, every, confirmed, run_id is not None]
    if sum(given) != 1 or (study is None) is (run_id is None):
        message = "give a STUDY and one of TRIAL..., --best, --sample, --all, --confirmed; or --run alone"
        raise click.UsageError(message)

    from netcore.check import replay as replaying  # noqa: PLC0415
    from netcore.terminal import say_replays  # noqa: PLC0415

    if study is None or run_id is not None:
        from netcore.check.run_record import asked_of_run  # noqa: PLC0415  # MLflow takes 1.3 s to import

        spec, one = asked_of_run(run_id or "")
        return 0 if say_replays(replaying.replay(spec, [one], workers, dask)) else 1

    from netcore.records.folder import find_study  # noqa: PLC0415

    folder = find_study(study, results)
    if best:
        asked = replaying.best_of(folder)
    elif sample is not None:
        asked = replaying.sample_of(folder, sample)
    elif every:
        asked = replaying.all_of(folder)
    else:
        asked = replaying.confirmation_of(folder) if confirmed else replaying.trials_of(folder, trials)
    return 0 if say_replays(replaying.replay(folder.spec(), asked, workers, dask)) else 1


@commands.command(name="list")
@results_option
def list_studies(results: Path) -> None:
    """List the studies in the results folder."""
    from netcore.errors import InputError, Problem, printable  # noqa: PLC0415
    from netcore.files import is_file  # noqa: PLC0415
    from netcore.records.folder import studies_in  # noqa: PLC0415
    from netcore.terminal import Tally  # noqa: PLC0415

    if is_file(results):
        raise InputError.at(results, "must be a folder", "a file", "name the results folder with --results")

    folders = studies_in(results)
    if not folders:
        click.echo(printable(f"no studies in {results}; `netcore run digits` makes one"))
    problems: list[Problem] = []
    for folder in folders:
        try:
            settings = folder.resolved_settings()["settings"]["study"]
            tally = Tally(settings["trials"], settings["metric"])
            for record in folder.committed():
                tally.add(record)
        except InputError as error:
            problems += error.problems
        else:
            click.echo(f"{folder.name:<20}  {tally.done}/{tally.trials} trials: {tally}")
    if problems:
        raise InputError(*problems)


@commands.command()
@click.argument("study")
@click.argument("trial", type=click.IntRange(min=0))
@results_option
def show(study: str, trial: int, results: Path) -> None:
    """Show one trial: its figures, or its traceback."""
    from netcore.errors import InputError  # noqa: PLC0415
    from netcore.records.folder import find_study  # noqa: PLC0415
    from netcore.terminal import say_trial  # noqa: PLC0415

    folder = find_study(study, results)
    numbers = folder.numbers()
    if trial not in numbers:
        there = f"there are {len(numbers)}, the last is {numbers[-1]}" if numbers else "there is none"
        raise InputError.at(f"{folder.name}: trial {trial}", "has no record", remedy=there)
    say_trial(folder.read(trial))


@commands.command()
@click.argument("study", required=False)
@click.option("--schema", is_flag=True, help="Print the JSON Schema of study files, for editors.")
def check(study: str | None, schema: bool) -> None:
    """Check a study file, and its data, without running anything."""
    from netcore.data.prepared import through_cache  # noqa: PLC0415
    from netcore.question.spec import check_sampler, dataset_of, json_schema, load_spec  # noqa: PLC0415

    if schema:
        click.echo(json_schema())
    elif study is None:
        message = "give a STUDY, or --schema"
        raise click.UsageError(message)
    else:
        spec = load_spec(study)
        check_sampler(spec)
        dataset = through_cache(partial(dataset_of, spec))
        rows = "{} rows to train, {} to validate, {} to test".format(*map(len, dataset.labels))
        for note in dataset.notes:
            click.echo(f"note: {note}", err=True)
        click.echo(
            f"{spec.name}: {spec.study.trials} trials of {spec.training.epochs} epochs on {dataset.name} ({rows})"
        )


@commands.group()
def data() -> None:
    """Look at data: which sources there are, and what is in one; fetch image sets."""


@data.command(name="list")
def list_sources() -> None:
    """List the sources that a study file may name, and the image sets that are in the data folder."""
    from netcore.data.image_sets import IMAGE_SETS, present  # noqa: PLC0415
    from netcore.data.sources import MEANINGS, data_folder  # noqa: PLC0415

    for name, meaning in MEANINGS.items():
        click.echo(f"{name:<14} {meaning}")
    folder = data_folder()
    click.echo(f"\nfiles are looked for beside the study file, then in {folder} (or NETCORE_DATA), which has")
    for name, images in IMAGE_SETS.items():
        there, files = present(images, folder), len(images.files)
        remedy = f"; `netcore data fetch {name}` brings the rest" if there < files else ""
        click.echo(f"{images.folder:<20} {there} of {files} files{remedy}")


@data.command(name="fetch")
@click.argument("name")
def fetch_images(name: str) -> None:
    """Bring an image set into the data folder: NAME is cifar10, mnist or fashion-mnist."""
    from netcore.data.fetch import fetch  # noqa: PLC0415
    from netcore.data.image_sets import IMAGE_SETS  # noqa: PLC0415
    from netcore.data.sources import data_folder  # noqa: PLC0415
    from netcore.errors import InputError, nearest  # noqa: PLC0415

    if name not in IMAGE_SETS:
        raise InputError.at(ascii(name), "there is no such image set", remedy=nearest(name, IMAGE_SETS))
    images, folder = IMAGE_SETS[name], data_folder()
    click.echo(f"{name}: looking for its files in {folder / images.folder}, fetching what is missing ...", err=True)
    fetched, files = fetch(images, folder), len(images.files)
    click.echo(f"{name}: {files} files in {folder / images.folder}, {fetched} of them new")


@data.command()
@click.argument("source")
@click.option("--path", help="The files, of a source that has any.")
@click.option("--target", help="The column that holds the classes, of a table.")
@click.option("--drop", multiple=True, help="A column of a table to leave out; may be given several times.")
@click.option("--train-limit", type=int, help="The first so many training rows, of cifar10.")
def info(source: str, path: str | None, target: str | None, drop: tuple[str, ...], train_limit: int | None) -> None:
    """Say what is in a source, and how it will be split: SOURCE is one of `data list`, or the path of a study file."""
    from netcore.data import SOURCES, load_dataset  # noqa: PLC0415
    from netcore.data.prepared import through_cache  # noqa: PLC0415
    from netcore.question.spec import checked_data, load_spec  # noqa: PLC0415

    given = {"path": path, "target": target, "drop": list(drop), "train_limit": train_limit}
    if source in SOURCES or not source.endswith(".toml"):
        keys = checked_data({"source": source, **{key: value for key, value in given.items() if value}})
        prepare = partial(load_dataset, **keys)
    else:
        spec = load_spec(source)
        prepare = partial(load_dataset, **spec.data.model_dump(), dtype=spec.training.dtype, folder=spec.folder)

    from netcore.terminal import say_data  # noqa: PLC0415

    say_data(through_cache(lambda put: prepare(put=put)))  # they may be larger than the memory


@commands.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Address of this machine to listen on.")
@click.option("--port", default=5000, show_default=True, type=click.IntRange(1, 65535), help="Port to listen on.")
def ui(host: str, port: int) -> int:
    """Open MLflow's pages on this machine; Ctrl-C ends them."""
    from netcore.tracking.client import shown_uri, tracking_uri  # noqa: PLC0415
    from netcore.tracking.server import Address, links, serve  # noqa: PLC0415

    address = None if tracking_uri().startswith("http") else Address.of(host, port)
    pages = links(address.shown if address else shown_uri())
    if not pages:
        click.echo("MLflow has no study yet; `netcore run digits` makes one")
    for name, page in pages.items():
        click.echo(f"{name}\n  {page}\n")
    if address is None:
        return 0
    if not address.is_loopback:
        warning = "whoever can reach it can read, change and delete everything in MLflow: it asks for no password"
        click.echo(f"warning: {address.shown}: {warning}", err=True)
    click.echo("Ctrl-C ends the server", err=True)
    return serve(address)


def _after_search(
    study: str,
    results: Path,
    workers: int | None,
    dask: str | None,
    *,
    finalists: int | None = None,
    seeds: int | None = None,
) -> "Run":
    """Make the run of what comes after a search, in the folder of a study that has run."""
    from netcore.errors import InputError  # noqa: PLC0415
    from netcore.records.folder import find_study  # noqa: PLC0415
    from netcore.run import Run  # noqa: PLC0415

    folder = find_study(study, results)
    spec = folder.spec().with_confirm(finalists, seeds)
    if spec.name != folder.name:  # else another folder would be written to
        remedy = "rename it, or name it by its path"
        raise InputError.at(folder.path, f"must be called {spec.name}, as the study in it is", folder.name, remedy)
    return Run(spec, results=folder.path.parent, workers=workers, dask=dask, after_search=True)


def _see_through(this: "Run", steps: "Callable[[], Iterator[Record | Notice | Stage]]") -> int:
    """Do what a run does, then make everything that follows from its records; say how it went."""
    from netcore.errors import NetcoreError  # noqa: PLC0415
    from netcore.terminal import Tally, say_outcome, show_progress  # noqa: PLC0415
    from netcore.tracking.client import shown_uri  # noqa: PLC0415
    from netcore.tracking.follow import Follower  # noqa: PLC0415

    begun = time.monotonic()
    tally = Tally(this.spec.study.trials, this.spec.study.metric)
    with this, Follower(this.folder) as follower:
        failure: NetcoreError | None = None
        try:
            show_progress(steps(), tally)
        except KeyboardInterrupt:
            click.echo(f"interrupted {tally.where}; the same command goes on", err=True)
            return INTERRUPTED
        except NetcoreError as error:
            if not this.searched:
                raise
            failure = error  # of the confirmation: the search is complete, and so is what follows from it
        click.echo("making tables, figures and the report ...", err=True)
        at = time.perf_counter()
        tables = _write_views(this.folder)
        drawn = time.perf_counter()
        click.echo("bringing MLflow up to date ...", err=True)
        waiting, why = follower.finish(len(tables.trials))
        this.seconds |= {"tables, figures, report": drawn - at, "waiting for MLflow": time.perf_counter() - drawn}
        this.folder.add_times(this.seconds)
        where = f"{len(tables.trials)} trials in {shown_uri()}; `netcore ui` (or `make ui`) shows them"
        say_outcome(this, tables, time.monotonic() - begun, f"{waiting} (see below)" if waiting else where)
    if failure:
        raise failure
    if waiting:
        click.echo(f"\n{why} ({waiting})", err=True)
    return 1 if waiting else 0


def _write_views(folder: "StudyFolder") -> "StudyTables":
    """Make everything that is made from records, but for MLflow."""
    from netcore.results.plots import draw_all  # noqa: PLC0415
    from netcore.results.report import write_report  # noqa: PLC0415
    from netcore.results.tables import write_tables  # noqa: PLC0415
    from netcore.run import tables_there  # noqa: PLC0415
    from netcore.tracking.journal import write_journal  # noqa: PLC0415

    tables = tables_there(folder)
    write_tables(tables, folder)
    write_journal(folder.committed(), folder)
    write_report(tables, folder, draw_all(tables, folder))
    return tables
