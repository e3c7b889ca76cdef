"""The command `netcore`: finds the command's module, runs the command, and turns every error into a line and a code.

Exit codes: 0 done, 1 the work failed, 2 the input is wrong, 130 interrupted. `COMMANDS` says where each command is and
what `netcore --help` shows for it, so that neither needs the commands' modules, which import NumPy, Optuna and MLflow.
"""

import errno
import gc
import os
import signal
import sys
from importlib import import_module
from pathlib import Path
from typing import NoReturn

import click

from netcore.errors import NetcoreError, Problem, nearest
from netcore.files import WRONG_PLACE

INTERRUPTED = 130
_MOMENT = 0.05
"""Seconds until an interrupt that was dropped is repeated."""
_print_dropped = sys.unraisablehook
"""Python's own way to report an exception that it drops."""

COMMANDS = {
    "run": ("train", "Run a study, or continue it."),
    "confirm": ("train", "Confirm the best trials with fresh seeds."),
    "audit": ("train", "Train stopped trials to the end."),
    "report": ("train", "Write tables, plots and report again."),
    "list": ("studies", "List the studies in the results folder."),
    "show": ("studies", "Show one trial."),
    "check": ("studies", "Check a study file and its data."),
    "verify": ("checks", "Check that all numbers of a study agree."),
    "replay": ("checks", "Train again and compare to the last bit."),
    "predict": ("rows", "Predict the classes of new rows."),
    "data": ("rows", "List, inspect and fetch data."),
    "sync": ("mlflow_commands", "Update MLflow from a study's records."),
    "ui": ("mlflow_commands", "Open the MLflow UI on this machine."),
}
"""For each command its module in this package, and its line in `netcore --help`."""


class _LazyGroup(click.Group):
    """A group that imports the module of a command only to run that command."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002  # click's signature
        """Return the names of the commands."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command:
        """Return a command; without one of this name, the error names the nearest."""
        if cmd_name not in COMMANDS:
            raise click.UsageError(f"there is no command {cmd_name!r}; {nearest(cmd_name, COMMANDS)}", ctx)
        module = import_module(f"netcore.cli.{COMMANDS[cmd_name][0]}")
        found: click.Command = getattr(module, f"{cmd_name}_command")
        return found

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002  # the same
        """Write the list of commands for `--help`."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in COMMANDS.items()])


@click.group(cls=_LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="netcore")
def commands() -> None:
    """Search for the hyperparameters of a two-layer net: same study file, same numbers, bit for bit."""


def main() -> NoReturn:
    """Run a command and exit; whatever a user can cause ends in one clear line and an exit code."""
    _open_standard_files()
    signal.signal(signal.SIGTERM, _interrupt)
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:  # a shell ignores SIGINT for background jobs
        signal.signal(signal.SIGINT, _interrupt)
    signal.signal(signal.SIGALRM, _interrupt)  # the alarm is our own
    sys.unraisablehook = _repeat_interrupt
    try:
        code = commands(standalone_mode=False)
    except NetcoreError as error:
        code = _failed(error.exit_code, *error.problems)
    except OSError as error:  # a place that the system refuses: no module can name every one
        remedy = "change its permissions" if isinstance(error, PermissionError) else ""
        place, wrong = str(error.filename or "the system"), error.errno in WRONG_PLACE | {errno.ENOENT}
        if error.errno == errno.ENOENT and error.filename is None:  # only the current folder has no name
            place, remedy = "the current folder", "it was deleted: change to another one"
        code = _failed(2 if wrong else 1, Problem(place, str(error.strerror or error), remedy=remedy))
    except MemoryError:
        code = _failed(1, Problem("the system", "no memory is left", remedy="free some memory"))
    except click.ClickException as error:
        error.show()
        code = error.exit_code
    except (KeyboardInterrupt, click.Abort):
        click.echo("interrupted", err=True)
        code = INTERRUPTED
    gc.freeze()  # otherwise Python searches all imported modules for garbage before it exits: a third of a second
    sys.exit(code if isinstance(code, int) else 0)


def _failed(code: int, *problems: Problem) -> int:
    for problem in problems:
        click.echo(f"error: {problem}", err=True)
    return code


def _open_standard_files() -> None:
    """Open the null device in place of closed standard files; the next file opened would take their numbers."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            file = Path(os.devnull).open(mode, encoding="utf-8")  # noqa: SIM115  # open until the process ends
            os.set_inheritable(file.fileno(), True)  # noqa: FBT003  # its only form
            setattr(sys, name, file)


def _interrupt(*_: object) -> NoReturn:
    """End the command. Further signals are ignored, so that cleaning up is not cut short."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt


def _repeat_interrupt(lost: "sys.UnraisableHookArgs") -> None:
    """Interrupt again, a moment later, if Python dropped the exception; print any other dropped exception.

    Python drops an exception that is raised in a weak reference's callback or in `__del__`.
    """
    if isinstance(lost.exc_value, KeyboardInterrupt):
        signal.setitimer(signal.ITIMER_REAL, _MOMENT)
    else:
        _print_dropped(lost)
