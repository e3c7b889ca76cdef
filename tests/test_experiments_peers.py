"""Claims about experiments/peers.py: it compares with what is installed, says what is not, and draws what it found."""

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "experiments"))

from peer_figure import compared  # a script, found by its folder

SCRIPTS = Path(__file__).parents[1] / "experiments"


def test_it_compares_with_what_is_there() -> None:
    """One line says which libraries are not installed, and the others are compared."""
    command = [sys.executable, str(SCRIPTS / "peers.py"), "--shapes", "64-32-10", "--rounds", "1", "--studies", "0"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    absent = [name for name, module in (("JAX", "jax"), ("PyTorch", "torch")) if find_spec(module) is None]
    said = [line for line in done.stdout.splitlines() if line.startswith("not compared")]
    assert said == (
        [f"not compared, for it is not installed: {', '.join(absent)} (the extra `peers` has them)"] * bool(absent)
    )
    header, row = done.stdout.splitlines()[-2:]
    assert all(name in header for name in ("netcore", "NumPy", "scikit-learn"))
    assert not any(name in header for name in absent)
    assert row.startswith("64-32-10 ")


def test_the_figure_shows_every_shape_and_every_stack() -> None:
    """Shapes and stacks are the rows, peers the marks; a peer that was not there is left out."""
    steps = {"64-32-10": {"netcore": 1.0, "NumPy": 2.5, "scikit-learn": 0.6}}
    study = {"wall": 10.0, "cpu": 12.0, "times": 1.0}
    figure = compared(steps, {"netcore, 2 workers": study, "Optuna, MLflow, scikit-learn": study | {"times": 4.0}}, 30)
    above, below = figure.axes
    assert [label.get_text() for label in above.get_yticklabels()] == ["64 → 32 → 10"]
    assert [label.get_text() for label in below.get_yticklabels()] == [
        "netcore, 2 workers",
        "Optuna, MLflow, scikit-learn",
    ]
    assert {line.get_label() for line in above.lines if not str(line.get_label()).startswith("_")} == {
        "netcore",
        "NumPy",
        "scikit-learn",
    }
    low, high = above.get_xlim()
    assert low < 0.6, "who is faster than netcore is drawn, too"
    assert high > 2.5
