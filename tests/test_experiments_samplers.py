"""Claims about experiments/samplers.py: it searches as netcore does, and stopping follows from full curves."""

from pathlib import Path

import numpy as np
import pytest
import samplers
from conftest import WITHOUT_STOPPING, write_mixed
from threadpoolctl import threadpool_limits

import netcore
from netcore.question.hyperparameters import HYPERPARAMETERS
from netcore.question.sections import StoppingSection
from netcore.question.spec import StudySpec, dataset_of, load_spec


def searched(spec: StudySpec) -> samplers.Search:
    """Search as the experiment does."""
    with threadpool_limits(1):
        return samplers.Search.of(list(samplers.search(spec, dataset_of(spec))))


def spec_of(folder: Path, sampler: str, *, stopping: bool = True) -> StudySpec:
    """Return a study in which trials finish, are pruned and diverge."""
    changes = {", 1_000_000_000_000_000": "", "window = 4": f"window = 4, sampler = '{sampler}'"}
    return load_spec(write_mixed(folder, changes=changes if stopping else changes | WITHOUT_STOPPING))


@pytest.mark.slow
def test_it_searches_as_netcore_does(tmp_path: Path) -> None:
    """Hyperparameters, states, lengths and losses are those of a run, to the last bit."""
    spec = spec_of(tmp_path, "tpe")
    found = searched(spec)
    tables = netcore.run_study(spec, results=tmp_path / "results", workers=2, confirm=False)
    assert {"finished", "pruned", "diverged"} == set(found.states)
    assert found.states.tolist() == tables.trials["state"].tolist()
    assert found.hyperparameters.tolist() == tables.trials[[*HYPERPARAMETERS]].to_numpy().tolist()
    curves = tables.curves.pivot_table(index="trial", columns="epoch", values="val_loss", dropna=False).to_numpy()
    assert np.array_equal(curves, found.losses, equal_nan=True)
    assert found.epochs.tolist() == tables.curves.groupby("trial").size().tolist()


@pytest.mark.parametrize("sampler", ["random", "qmc"])
def test_stopping_follows_from_full_curves(tmp_path: Path, sampler: str) -> None:
    """Where proposals depend on no result, the rule applied to full curves gives the same as a search with it."""
    whole, spec = searched(spec_of(tmp_path, sampler, stopping=False)), spec_of(tmp_path, sampler)
    section = spec.stopping
    assert isinstance(section, StoppingSection)
    for one, other in zip(samplers.stopped(whole, section, spec.study.window), searched(spec), strict=True):
        assert np.array_equal(one, other, equal_nan=one.dtype.kind == "f")
    assert "pruned" not in whole.states


def made_up(values: list[float], epochs: int = 10) -> samplers.Search:
    """Make a search of finished trials with these values."""
    losses, lengths = np.repeat(np.array(values)[:, None], epochs, 1), np.full(len(values), epochs)
    return samplers.Search(losses, lengths, np.full(len(values), "finished"), np.zeros((len(values), 4)))


def test_epochs_per_hit_count_searches_without_a_hit() -> None:
    """Two searches of three reach the loss, after 20 and 10 epochs; the third's 30 count too."""
    searches = [made_up([3, 1, 2]), made_up([1, 2, 3]), made_up([3, 2, 2])]
    times = samplers.until_hit(searches, 1.5)
    assert times.tolist() == [[20, 1], [10, 1], [30, 0]]
    assert samplers.epochs_per_hit(times) == (20 + 10 + 30) / 2
    assert samplers.epochs_per_hit(samplers.until_hit(searches, 0.5)) == np.inf


def test_only_finished_trials_can_be_best() -> None:
    """A pruned trial's loss is no result, even if it is the lowest."""
    search = made_up([0.5, 2, 1])._replace(states=np.array(["pruned", "finished", "finished"]))
    assert search.best.tolist() == [np.inf, 2, 1]


def test_a_ratio_pairs_the_seeds() -> None:
    """Half the epochs on every seed is a ratio of a half in every sample of seeds; other seeds do not count."""
    other = {seed: made_up([3.0] * (2 * seed + 1) + [1.0]) for seed in range(5)}
    one = {seed: made_up([3.0] * seed + [1.0]) for seed in range(7)}
    assert samplers.ratio(one, other, 1.5) == (0.5, 0.5, 0.5)


def test_a_name_is_a_strategy() -> None:
    """Options of the stopping rule and the window are read from the name; the others are the sampler's arguments."""
    strategy = samplers.Strategy.of("tpe keep=0.5 rungs=1,3 window=4 n_ei_candidates=96")
    assert strategy == ("tpe", {"rungs": [1, 3], "keep": 0.5}, 4, {"n_ei_candidates": 96})
    assert samplers.Strategy.of("random") == ("random", None, 8, {})
