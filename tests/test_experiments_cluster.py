"""A real cluster: PostgreSQL, an MLflow server that uses it, Dask; the tables are those of this machine alone."""

import sys
from pathlib import Path

import cluster
import pytest
from conftest import needs

from studies import write_study


@pytest.mark.slow
def test_a_study_on_the_cluster_is_that_of_this_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Trained by Dask's workers and tracked by the server, it has the same tables, and `netcore verify` agrees."""
    needs("PostgreSQL", there=cluster.postgres_programs() is not None)
    study = write_study(tmp_path / "tiny.toml", study="trials = 6", confirm="finalists = 1, seeds = 1")
    monkeypatch.setattr(sys, "argv", ["cluster.py", str(study), "--workers", "1"])
    with pytest.raises(SystemExit) as end:
        cluster.main()
    said = capfd.readouterr().out
    assert not end.value.code, said
    assert "checks, none failed" in said
    assert "tables equal" in said
