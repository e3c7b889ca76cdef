"""Claims about experiments/peers.py and the start of all scripts."""

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

SCRIPTS = Path(__file__).parents[1] / "experiments"

START = """
import runpy, sys
path, modules = list(sys.path), set(sys.modules)
for script in sys.argv[1:]:
    runpy.run_path(script, run_name="started")
    sys.path[:] = path
    for name in ("measure", "nets"):
        sys.modules.pop(name, None)
"""


def test_every_script_starts_without_its_folder_on_the_path() -> None:
    """With `python -P` each script finds the modules beside it."""
    command = [sys.executable, "-P", "-c", START, *map(str, sorted(SCRIPTS.glob("*.py")))]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_it_compares_with_what_is_installed() -> None:
    """One line names the libraries that are not installed, and the others are compared."""
    command = [sys.executable, str(SCRIPTS / "peers.py"), "--shapes", "64-32-10", "--rounds", "1", "--studies", "0"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    absent = [name for name, module in (("JAX", "jax"), ("PyTorch", "torch")) if find_spec(module) is None]
    lines = [line for line in done.stdout.splitlines() if line.startswith("not installed")]
    assert lines == [f"not installed, so left out: {', '.join(absent)} (the extra `peers` has them)"] * bool(absent)
    header, row = done.stdout.splitlines()[-2:]
    assert all(name in header for name in ("netcore", "NumPy", "scikit-learn"))
    assert not any(name in header for name in absent)
    assert row.startswith("64-32-10 ")


def test_the_plot_shows_every_shape_and_every_stack() -> None:
    """Shapes and stacks are the rows, libraries the marks; a library that was not compared is left out."""
    code = """
from peers import compared
steps = {"64-32-10": {"netcore": 1.0, "NumPy": 2.5, "scikit-learn": 0.6}}
study = {"wall": 10.0, "cpu": 12.0, "times": 1.0}
above, below = compared(steps, {"netcore, 2 workers": study, "Optuna, scikit-learn": study | {"times": 4.0}}, 30).axes
print(*(label.get_text() for axes in (above, below) for label in axes.get_yticklabels()), sep="; ")
print(*sorted(str(line.get_label()) for line in above.lines if not str(line.get_label()).startswith("_")))
print(above.get_xlim()[0] < 0.6, above.get_xlim()[1] > 2.5)
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=SCRIPTS, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [
        "64 → 32 → 10; netcore, 2 workers; Optuna, scikit-learn",
        "NumPy netcore scikit-learn",
        "True True",
    ]
