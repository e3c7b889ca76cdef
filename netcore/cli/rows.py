"""`netcore predict` and `netcore data`: rows of data, in files.

`predict` takes unprepared rows and prints their classes, by the final model of a study. `data` lists the sources that a
study file may name, shows what one contains and how it is split, and downloads image sets.
"""

from functools import partial
from pathlib import Path
from typing import Any

import click

from netcore.cli.options import results_option
from netcore.data import SOURCES, load_dataset
from netcore.data.fetch import fetch
from netcore.data.image_sets import IMAGE_SETS, present
from netcore.data.prepared import prepared
from netcore.data.sources import data_folder
from netcore.errors import InputError, nearest
from netcore.files import write_atomically
from netcore.final.model import MODEL, read_model
from netcore.final.prediction import as_csv, ignored, predict, read_rows, refuse_place
from netcore.question.spec import checked_data, load_spec
from netcore.records.folder import find_study
from netcore.terminal import print_data


@click.command("predict")
@click.argument("study")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), help="CSV file to write.  [default: standard output]")
@results_option
def predict_command(study: str, file: Path, out: Path | None, results: Path) -> None:
    """Predict the classes of new rows: FILE has them unprepared (.csv, .parquet, .npy, .npz or IDX)."""
    model = read_model(find_study(study, results).path / MODEL)
    if out is not None:
        refuse_place(out, file)
    rows = read_rows(file, model)
    text = as_csv(model, predict(model, rows, file))
    if left := ignored(model, rows):
        click.echo(f"note: ignored: {', '.join(map(repr, left))}", err=True)
    if out is None:
        click.echo(text, nl=False)
    else:
        write_atomically(out, text, "choose another place with --out, or change its permissions")
        click.echo(f"{out}: {len(rows)} rows")


@click.group("data")
def data_command() -> None:
    """List the data sources, inspect one, or fetch an image set."""


@data_command.command("list")
def list_sources() -> None:
    """List the sources that a study file may name, and the image sets in the data folder."""
    for name, source in SOURCES.items():
        click.echo(f"{name:<14} {source.meaning}")
    folder = data_folder()
    click.echo(f"\nnetcore looks for files beside the study file, then in {folder} (or NETCORE_DATA), which has")
    for name, images in IMAGE_SETS.items():
        there, files = present(images, folder), len(images.files)
        remedy = f"; `netcore data fetch {name}` gets the rest" if there < files else ""
        click.echo(f"{images.folder:<20} {there} of {files} files{remedy}")


@data_command.command("fetch")
@click.argument("name")
def fetch_images(name: str) -> None:
    """Download an image set into the data folder: NAME is cifar10, mnist or fashion-mnist."""
    if name not in IMAGE_SETS:
        raise InputError.at(ascii(name), "there is no such image set", remedy=nearest(name, IMAGE_SETS))
    images, folder = IMAGE_SETS[name], data_folder()
    click.echo(f"{name}: checking {folder / images.folder}, downloading what is missing ...", err=True)
    fetched, files = fetch(images, folder), len(images.files)
    click.echo(f"{name}: {files} files in {folder / images.folder}, {fetched} of them new")


@data_command.command("info")
@click.argument("source")
@click.option("--path", help="The files, for a source that has any.")
@click.option("--target", help="The column with the classes, for a table.")
@click.option("--drop", multiple=True, help="A column of a table to leave out; may be given several times.")
@click.option("--train-limit", type=int, help="Use only the first rows of the training set, for cifar10.")
def info(source: str, **given: Any) -> None:  # noqa: ANN401  # keys of [data]
    """Show what a source contains, and how it will be split: SOURCE is one of `data list`, or a study file's path."""
    if source in SOURCES or not source.endswith(".toml"):
        keys = checked_data({"source": source, **{key: value for key, value in given.items() if value}})
        prepare = partial(load_dataset, **keys)
    else:
        spec = load_spec(source)
        prepare = partial(load_dataset, **spec.data.model_dump(), dtype=spec.training.dtype, folder=spec.folder)
    with prepared(lambda put: prepare(put=put)) as dataset:  # the data may be larger than the memory
        print_data(dataset)
