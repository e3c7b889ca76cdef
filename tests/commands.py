"""netcore's commands as a user runs them: each in a process of its own.

`netcore_command` starts Python. `quick` forks the process from one that has already imported the libraries, which
takes a twentieth of the time.
"""

import atexit
import json
import os
import subprocess
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

Done = subprocess.CompletedProcess[str]
Command = Callable[..., Done]

LEAVE = """
        code = 70
        try:
            netcore.cli.main()
        except SystemExit as end:
            code = end.code
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)
"""
"""How a forked process ends: it runs the command, and gives its exit code."""

LONG = 120
"""Seconds after which a forked command is interrupted: it hangs."""

SERVER = f"""
import json, os, signal, sys, tempfile, traceback
import pandas, pyarrow.parquet, sklearn.datasets, sklearn.impute, sklearn.model_selection
import netcore.cli.studies, netcore.cli.train, netcore.cli.rows
for line in sys.stdin:
    job = json.loads(line)
    outputs = [tempfile.TemporaryFile("w+"), tempfile.TemporaryFile("w+")]
    if (child := os.fork()) == 0:
        os.dup2(outputs[0].fileno(), 1)
        os.dup2(outputs[1].fileno(), 2)
        os.chdir(job["cwd"])
        os.environ.clear()
        os.environ.update(job["environment"])
        signal.alarm({LONG})
        sys.argv = ["netcore", *job["arguments"]]
{LEAVE}    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    for output in outputs:
        output.seek(0)
    print(json.dumps([code, *(output.read() for output in outputs)]), flush=True)
"""


def netcore_command(*arguments: object, cwd: Path, **options: Any) -> Done:  # noqa: ANN401  # those of `run`
    """Run a netcore command as a user does."""
    line = [sys.executable, "-m", "netcore", *map(str, arguments)]
    return subprocess.run(line, cwd=cwd, capture_output=True, text=True, check=False, **options)


@cache
def server() -> "subprocess.Popen[str]":
    """Start the process that commands are forked from; it ends with the tests."""
    pipe = subprocess.PIPE
    process = subprocess.Popen([sys.executable, "-c", SERVER], stdin=pipe, stdout=pipe, text=True)
    atexit.register(process.communicate)
    return process


def quick(*arguments: object, cwd: Path, **environment: str) -> Done:
    """Do the same in a forked process; `environment` holds further variables."""
    words = list(map(str, arguments))
    job = {"arguments": words, "cwd": str(cwd), "environment": {**os.environ, **environment}}
    stdin, stdout = server().stdin, server().stdout
    assert stdin is not None
    assert stdout is not None
    stdin.write(json.dumps(job) + "\n")
    stdin.flush()
    code, out, err = json.loads(stdout.readline())
    return subprocess.CompletedProcess(words, code, out, err)


def refused(done: Done) -> str:
    """Return the line with which a command was refused, after checking that there is one line and exit code 2."""
    assert done.returncode == 2, done.stderr
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: ")
    assert line.isprintable()
    return line.removeprefix("error: ")
