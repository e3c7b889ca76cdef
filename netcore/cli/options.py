"""Options that several commands share."""

from pathlib import Path

import click

results_option = click.option(
    "--results",
    envvar="NETCORE_RESULTS",
    default="results",
    show_default=True,
    type=click.Path(path_type=Path),
    help="Folder that contains the studies' folders (or NETCORE_RESULTS).",
)
workers_option = click.option(
    "--workers", type=click.IntRange(min=1), help="Number of worker processes.  [default: one per usable core]"
)
dask_option = click.option(
    "--dask", metavar="ADDRESS", help="Train on the workers of the Dask cluster with this scheduler address."
)
