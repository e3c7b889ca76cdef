"""The environment of a training: everything besides job and data that its numbers may depend on.

Where versions, processor and BLAS are equal, the numbers are equal bit for bit. Every record contains them, so that a
difference can be traced.
"""

import platform
import subprocess
from functools import cache
from importlib.metadata import version
from pathlib import Path

from threadpoolctl import threadpool_info

from netcore.training.step import blas

_PATIENCE = 2.0
_PACKAGES = ("netcore", "llvmlite", "numba", "numpy", "optuna", "scikit-learn", "scipy")


@cache
def environment() -> dict[str, str]:
    """Describe this process: code, package versions, Python, system, processor, BLAS, libc."""
    blas()  # load the BLAS that trains, so that it is among the libraries
    pools = [pool for pool in threadpool_info() if pool["user_api"] == "blas"]
    libraries = ", ".join(
        sorted({f"{pool['internal_api']} {pool['version']} {pool.get('architecture', '')}".strip() for pool in pools})
    )
    return {
        "code": _code(Path(__file__).parents[2]),
        **{package: version(package) for package in _PACKAGES},
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "processor": _processor(),
        "blas": libraries,
        "libc": " ".join(platform.libc_ver()).strip(),
    }


def _processor() -> str:
    """Return the processor's model if the system names it, else its architecture."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def _code(checkout: Path) -> str:
    """Return netcore's version and, in a git checkout, the commit and whether the files are those of the commit.

    Untracked files do not count as a change. Without git, the result is the version alone.
    """
    code, folder = version("netcore"), checkout / ".git"
    if not folder.exists():
        return code
    command = ["git", "--no-optional-locks", f"--git-dir={folder}", f"--work-tree={checkout}"]
    command += ["describe", "--always", "--exclude=*", "--abbrev=10", "--dirty=, changed"]
    try:
        done = subprocess.run(  # noqa: S603  # fixed words and netcore's own folder
            command, capture_output=True, text=True, timeout=_PATIENCE, check=True, stdin=subprocess.DEVNULL
        )
    except (OSError, subprocess.SubprocessError):
        return code
    commit = done.stdout.strip()
    return f"{code}, commit {commit}" if commit.endswith(", changed") else f"{code}, commit {commit}, clean"
