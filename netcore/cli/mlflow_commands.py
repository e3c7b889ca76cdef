"""`netcore sync` and `netcore ui`: write records to MLflow, and open MLflow in a browser.

`netcore run` syncs by itself: it starts `netcore sync --follow` as a process of its own, which writes each trial to
MLflow while the search trains the next. The plain command is for after MLflow was unreachable.
"""

import sys
from pathlib import Path

import click

from netcore.cli.options import results_option
from netcore.records.folder import find_study
from netcore.tracking.client import shown_uri, tracking_uri
from netcore.tracking.follow import follow, sync
from netcore.tracking.server import Address, links, serve


@click.command("sync")
@click.argument("study")
@results_option
@click.option("--follow", "following", is_flag=True, hidden=True)
def sync_command(study: str, results: Path, following: bool) -> None:
    """Update MLflow from a study's records; running it again changes nothing."""
    folder = find_study(study, results)
    written = follow(folder, sys.stdin) if following else sync(folder)
    click.echo(f"{folder.name}: {written} runs written to {shown_uri()}")


@click.command("ui")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address of this machine to listen on.")
@click.option("--port", default=5000, show_default=True, type=click.IntRange(1, 65535), help="Port to listen on.")
def ui_command(host: str, port: int) -> int:
    """Open the MLflow UI on this machine; Ctrl-C ends it."""
    address = None if tracking_uri().startswith("http") else Address.of(host, port)
    pages = links(address.shown if address else shown_uri())
    if not pages:
        click.echo("MLflow has no study yet; `netcore run digits` makes one")
    for name, page in pages.items():
        click.echo(f"{name}\n  {page}\n")
    if address is None:
        return 0
    if not address.is_loopback:
        warning = "everyone who can reach it can read, change and delete everything in MLflow: it asks for no password"
        click.echo(f"warning: {address.shown}: {warning}", err=True)
    click.echo("Ctrl-C ends the server", err=True)
    return serve(address)
