"""What the faults have in common: small studies, netcore processes to be hit, and what must hold of what is left.

A process is forked from one that has the imports behind it, so that a fault costs a second and not four. It is a
process of its own like any other: it runs the command's `main`, starts real workers, and is hit from outside.
"""

import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import IO, NamedTuple, Self

import psutil
from commands import LEAVE
from conftest import Rounds, fingerprint, present

import netcore
import studies
from netcore.check.verify import Check, verify
from netcore.records.folder import StudyFolder
from netcore.records.job import State

SERVER = """
import json, os, signal, sys, traceback
import netcore.cli.train, netcore.run, netcore.terminal, netcore.results.tables, netcore.results.report
import netcore.records.folder
import netcore.results.plots, netcore.tracking.journal, matplotlib.backends.backend_agg, netcore.check.verify
import netcore.tracking.sync, mlflow, netcore.tracking.client
signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job may have it ignored
print("ready", flush=True)

def search(**_):
    netcore.run_study(job["arguments"][1], workers=job["workers"])

def database(**_):
    netcore.tracking.client.connect().search_experiments()

for line in sys.stdin:
    job = json.loads(line)
    if (child := os.fork()) == 0:
        os.setsid()
        os.close(sys.stdin.fileno())
        output = os.open(job["output"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        for stream in (1, 2):
            os.dup2(output, stream)
        os.open(os.devnull, os.O_RDONLY)
        os.chdir(job["cwd"])
        os.environ.update(job["environment"])
        sys.argv = ["netcore", *job["arguments"]]
        netcore.cli.app.commands = {"search": search, "database": database}.get(sys.argv[1], netcore.cli.commands)
        os.kill(os.getpid(), signal.SIGSTOP)
"""
SERVER += (
    LEAVE
    + """
    print(child, flush=True)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""
)
"""Forks a process for each line that it reads. The process stops itself at once, and continues when it is told to."""

CALLS = "write,writev,pwrite64,fsync,fdatasync,ftruncate,rename,renameat,renameat2,link,linkat,mkdir,unlink,sendfile"
"""What changes a disk. Every one is made by the process's main thread, which alone is watched."""

AWAY = {"MLFLOW_TRACKING_URI": "sqlite:///mlflow.db"}
"""MLflow beside the results, where the tests' own environment says nothing else."""


class Ended(NamedTuple):
    """How a process ended."""

    code: int
    said: str
    seconds: float
    """From its start."""
    hit: str = ""
    """The call that was hit, as strace writes it; not the one that was counted where two files changed places."""

    def one_line(self, code: int = 1) -> str:
        """Return what it said: one line, the error, and nothing else."""
        assert self.code == code, self
        (line,) = self.said.splitlines()
        assert line.startswith("error: ")
        return line


class Call(NamedTuple):
    """The n-th call of its name, counted from 1."""

    name: str
    number: int
    text: str
    """As strace writes it."""


class Process:
    """One netcore process, in a session and a process group of its own, with the mark that its children inherit."""

    def __init__(self, answers: IO[str], pid: int, output: Path, mark: str) -> None:
        self._answers, self._began = answers, time.monotonic()
        self.pid, self.output, self.mark = pid, output, mark

    def go(self) -> None:
        """Let it go on from where it stopped itself."""
        self._began = time.monotonic()
        os.kill(self.pid, signal.SIGCONT)

    def signal(self, number: int) -> None:
        """Send a signal to it alone, if it is still there."""
        with suppress(ProcessLookupError):
            os.kill(self.pid, number)

    def interrupt(self) -> None:
        """Press Ctrl-C: SIGINT for the whole process group, as a terminal does."""
        with suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGINT)

    def wait_for(self, there: Callable[[], object], seconds: float = 60) -> None:
        """Wait until something is there, or the process has ended."""
        until = time.monotonic() + seconds
        while not there() and time.monotonic() < until and not _is_dead(self.pid):
            time.sleep(0.005)

    def wait_for_records(self, number: int) -> None:
        """Wait until so many records of the search are there, or the process has ended."""
        trials = self.output.parent / "results" / "tiny" / "trials"
        self.wait_for(lambda: len(list(trials.glob("*.npz"))) >= number)

    def end(self) -> Ended:
        """Wait for its end."""
        code = int(self._answers.readline())
        seconds = time.monotonic() - self._began
        return Ended(code, self.output.read_text(encoding="utf-8"), seconds)

    def survivors(self, seconds: float = 20) -> list[str]:
        """Return the processes that are left of it after some time: those with its mark in their environment."""
        until = time.monotonic() + seconds
        while (left := [*_with(self.mark)]) and time.monotonic() < until:
            time.sleep(0.05)
        return left

    def calls(self) -> list[Call]:
        """Let it go on to its end; return what its main thread asked of the disk."""
        _, lines = self._traced()
        counted: Counter[str] = Counter()
        found = []
        for line in lines:
            if match := re.match(r"(\w+)\(", line):
                counted[match[1]] += 1
                found.append(Call(match[1], counted[match[1]], line))
        return found

    def hit(self, call: Call, fault: str) -> Ended | None:
        """Let it go on until a call, which fails with an error, or at which it is killed; None if it ended before."""
        what = "signal=SIGKILL" if fault == "SIGKILL" else f"error={fault}"
        ended, lines = self._traced(f"--inject={call.name}:{what}:when={call.number}")
        injected = [line for line in lines if "(INJECTED)" in line or line.startswith("+++ killed by SIGKILL")]
        return ended._replace(hit=injected[0]) if injected else None

    def _traced(self, *options: str) -> tuple[Ended, list[str]]:
        """Let it go on to its end under strace; return strace's lines, too."""
        log = self.output.with_name("strace.txt")
        command = ["strace", "--attach", str(self.pid), f"--trace={CALLS}", "--decode-fds=path", "--output", str(log)]
        tracer = subprocess.Popen([*command, *options], stderr=subprocess.PIPE, text=True)
        while "attached" not in (line := present(tracer.stderr).readline()):
            assert line, "strace could not attach"
        try:
            self.go()
            ended = self.end()
        finally:
            with suppress(subprocess.TimeoutExpired):
                tracer.wait(5)
            tracer.kill()
            tracer.communicate()
        return ended, log.read_text(encoding="utf-8", errors="replace").splitlines()


class Forge:
    """A process from which netcore processes are forked, one at a time."""

    def __init__(self) -> None:
        plain = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE")}
        self._server = subprocess.Popen(
            [sys.executable, "-c", SERVER],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**plain, "OPENBLAS_NUM_THREADS": "1"},
        )
        self._answers, self._orders = present(self._server.stdout), present(self._server.stdin)
        assert self._answers.readline() == "ready\n"

    def start(self, *arguments: object, cwd: Path, workers: int = 1, output: str = "said.txt") -> Process:
        """Fork a process that runs a command.

        `search STUDY` is the search, its confirmation and the tables alone; `database` makes MLflow's. The process
        has stopped itself before the first line of netcore: `go` lets it go on.
        """
        mark = uuid.uuid4().hex
        order = {
            "arguments": [str(argument) for argument in arguments],
            "cwd": str(cwd),
            "output": str(cwd / output),
            "workers": workers,
            "environment": {**AWAY, "NETCORE_TEST_MARK": mark},
        }
        self._orders.write(json.dumps(order) + "\n")
        self._orders.flush()
        pid = int(self._answers.readline())
        while psutil.Process(pid).status() != psutil.STATUS_STOPPED:
            time.sleep(0.002)
        return Process(self._answers, pid, cwd / output, mark)

    def run(self, *arguments: object, cwd: Path, **options: object) -> Ended:
        """Run a command to its end."""
        process = self.start(*arguments, cwd=cwd, **options)  # type: ignore[arg-type]
        process.go()
        return process.end()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._orders.close()
        self._server.kill()
        self._server.wait()
        self._answers.close()


def write_study(folder: Path, name: str = "tiny", *, trials: int = 6, seed: int = 1, epochs: int = 4) -> Path:
    """Write a study of which trials finish, diverge and fail, and a confirmation: all kinds of writes in a second."""
    folder.mkdir(parents=True, exist_ok=True)
    return studies.write_study(
        folder / f"{name}.toml",
        "what is left of a study that was hit?",
        study=f"seed = {seed}, trials = {trials}, window = 2, max_failures = {trials}",
        training=f"epochs = {epochs}, batch_size = 10",
        learning_rate="{ low = 1e-3, high = 1e4, log = true }",
        hidden_size="[4, 8, 1_000_000_000_000_000]",
        reg="{ low = 1e-6, high = 1e-1, log = true }",
        stopping="rungs = [2], after = 2",
        confirm="finalists = 1, seeds = 1",
    )


def tables_of(folder: Path, name: str = "tiny") -> str:
    """Hash a study's tables as its records give them, but for times."""
    return str(fingerprint(netcore.load_study(name, results=folder / "results")))


def checked(folder: Path, name: str = "tiny", *, but: tuple[str, ...] = ("optuna.log", "MLflow")) -> list[str]:
    """Return what `netcore verify` finds wrong, but for the journal and MLflow, which a bare search does not make."""
    study = StudyFolder(folder / "results" / name)
    checks = [check for check in verify(study) if isinstance(check, Check)]
    assert len(checks) > 10
    return [f"{check.name}: {problem}" for check in checks if check.name not in but for problem in check.problems]


class Whole(NamedTuple):
    """The small study, run without any fault."""

    empty: Path
    """A folder in which it has not begun."""
    done: Path
    """A copy of that folder in which it is complete."""
    tables: str
    """Their hash."""
    seconds: float
    """How long the command took."""

    @classmethod
    def of(cls, forge: Forge, folder: Path) -> Self:
        """Search it."""
        write_study(folder / "empty")
        done = shutil.copytree(folder / "empty", folder / "done")
        ended = forge.run("search", "tiny.toml", cwd=done, workers=2)
        assert (ended.code, ended.said) == (0, "")
        assert checked(done) == []
        states = set(netcore.load_study("tiny", results=done / "results").trials["state"])
        assert {State.FINISHED, State.DIVERGED, State.FAILED} <= states
        return cls(folder / "empty", done, tables_of(done), ended.seconds)

    def comes_back(self, forge: Forge, folder: Path) -> None:
        """Check that the search, run again, ends well, and that the study in the folder is this one."""
        again = forge.run("search", "tiny.toml", cwd=folder)
        assert (again.code, again.said) == (0, "")
        assert tables_of(folder) == self.tables
        assert checked(folder) == []


def killed_until_done(rounds: Rounds, forge: Forge, whole: Whole, *command: str) -> Iterator[Path]:
    """Kill a command at random moments and resume it until it is done, study after study; yield their folders."""
    moments = random.Random(rounds.number)  # noqa: S311  # moments, not secrets
    kills = studies = 0
    while kills < rounds.number:
        folder = shutil.copytree(whole.empty, rounds.base / str(studies))
        code, killed = -signal.SIGKILL, 0
        while code != 0:
            process = forge.start(*command, cwd=folder, workers=2)
            process.go()
            if kills < rounds.number and killed < 8:
                time.sleep(moments.uniform(0, whole.seconds))
                process.signal(signal.SIGKILL)
            code, said, *_ = process.end()
            assert code in {0, -signal.SIGKILL}, said
            assert "Traceback" not in said, said
            kills, killed = kills + (code != 0), killed + (code != 0)
            assert process.survivors(60) == []
        yield folder
        shutil.rmtree(folder)
        studies += 1
    rounds.tell("injected", kills)
    rounds.tell("measured", f"{studies} studies")


def whole_records(folder: Path) -> None:
    """Check that each record below a folder can be read."""
    for record in folder.rglob("trials/*.npz"):
        StudyFolder(record.parent.parent).read(int(record.stem))  # or it raises


def _with(mark: str) -> Iterator[str]:
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            if process.environ().get("NETCORE_TEST_MARK") == mark and process.status() != psutil.STATUS_ZOMBIE:
                yield " ".join(process.cmdline())


def _is_dead(pid: int) -> bool:
    with suppress(psutil.Error):
        return bool(psutil.Process(pid).status() == psutil.STATUS_ZOMBIE)
    return True
