"""What users install is the built wheel, not this checkout."""

import site
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from conftest import write_mixed

ROOT = Path(__file__).parent.parent


def run(*command: object, cwd: Path) -> str:
    """Run a command, which must succeed; return what it printed."""
    done = subprocess.run([*map(str, command)], cwd=cwd, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the wheel."""
    folder = tmp_path_factory.mktemp("wheel")
    run(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder, cwd=ROOT)
    (built,) = folder.glob("*.whl")
    return built


def test_netcore_is_the_only_top_level_name(wheel: Path) -> None:
    """The wheel brings one package and its metadata, nothing else; types and template are in it."""
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.split("/")[0] for name in names if ".dist-info/" not in name} == {"netcore"}
    assert {"netcore/py.typed", "netcore/results/report.html.jinja", "netcore/results/plots.mplstyle"} <= set(names)


@pytest.mark.slow
def test_the_wheel_runs_a_study_elsewhere(wheel: Path, tmp_path: Path) -> None:
    """Installed into an environment that does not see the checkout, `netcore run` runs a study file elsewhere."""
    environment = tmp_path / "env"
    run(sys.executable, "-m", "venv", "--without-pip", environment, cwd=tmp_path)
    python = environment / "bin" / "python"
    install = ("install", "--no-deps", "--no-index", "-q", wheel)
    run(sys.executable, "-m", "pip", "--python", python, *install, cwd=tmp_path)
    # Third-party packages are borrowed. A .pth in a borrowed folder is not read, so the checkout is not seen.
    (library,) = (environment / "lib").glob("python*/site-packages")
    (library / "borrowed.pth").write_text("\n".join(site.getsitepackages()), encoding="utf-8")
    work = tmp_path / "work"
    work.mkdir()
    study = write_mixed(work, 8)
    found = run(python, "-c", "import netcore; print(netcore.__file__)", cwd=work)
    assert Path(found.strip()).is_relative_to(environment)
    assert "8 trials in sqlite:///mlflow.db" in run(environment / "bin" / "netcore", "run", study.name, cwd=work)
    made = {path.name for path in (work / "results" / "mixed").iterdir()}
    assert {"report.html", "plots", "trials.parquet", "optuna.log", "test.json"} <= made
