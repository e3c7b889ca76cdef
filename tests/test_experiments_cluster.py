"""A real cluster: PostgreSQL, an MLflow server that uses it, Dask; the tables are those of this machine alone."""

import sys
from pathlib import Path

import cluster
import pytest
from conftest import needs

STUDY = """
study = { trials = 6 }
data = { source = "iris" }
training = { epochs = 3, batch_size = 20 }
confirm = { finalists = 1, seeds = 1 }
[space]
learning_rate = { low = 1e-2, high = 1.0, log = true }
hidden_size = 8
reg = 1e-4
learning_rate_decay = 0.95
"""


@pytest.mark.slow
def test_a_study_on_the_cluster_is_that_of_this_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Trained by Dask's workers and tracked by the server, it has the same tables, and `netcore verify` agrees."""
    needs("PostgreSQL", there=cluster.postgres_programs() is not None)
    (tmp_path / "tiny.toml").write_text(STUDY)
    monkeypatch.setattr(sys, "argv", ["cluster.py", str(tmp_path / "tiny.toml"), "--workers", "1"])
    with pytest.raises(SystemExit) as end:
        cluster.main()
    said = capfd.readouterr().out
    assert not end.value.code, said
    assert "checks, none failed" in said
    assert "tables equal" in said
