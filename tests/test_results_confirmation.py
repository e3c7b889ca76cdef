"""The confirmation and the audit: who wins, by how much, and what is not claimed."""

import dataclasses
from typing import Any

import numpy as np
import pandas as pd
import pytest
from test_results_figures import a_study

from netcore.question.metrics import Metric
from netcore.results.statistics import corrected_mean, wilson
from netcore.results.stopping_cost import audited, epochs_saved
from netcore.results.tables import AUDIT, CONFIRMATION, StudyTables
from netcore.results.winner import Confirmation, confirmed

NAN = float("nan")
TRAIN, VAL = 60, 20
FINALISTS = {"trial 2": 64, "trial 0": 32, "trial 1": 128}
BASELINES = {"softmax regression": 0, "course defaults": 50}


def a_confirmation(figures: dict[str, list[float]], metric: str = "val_loss") -> StudyTables:
    """Give a study of three trials whose candidates had these figures, by seed; NaN where a seed diverged."""
    rows: list[dict[str, Any]] = []
    for name, values in figures.items():
        for seed, value in enumerate(values):
            rows.append(
                {
                    "candidate": name,
                    "kind": "finalist" if name in FINALISTS else "baseline",
                    "trial": int(name.split()[1]) if name in FINALISTS else pd.NA,
                    "seed": seed,
                    "state": "diverged" if np.isnan(value) else "finished",
                    "learning_rate": 0.1,
                    "hidden_size": {**FINALISTS, **BASELINES}[name],
                    "reg": 0.0,
                    "learning_rate_decay": 1.0,
                    "epochs": 5,
                    **dict.fromkeys(("train_loss", "val_loss", "train_accuracy", "val_accuracy"), value),
                    "train_rows": TRAIN,
                    "val_rows": VAL,
                    "seconds": 0.1,
                    "digest": f"{name} {seed}",
                }
            )
    tables = a_study(("finished", 0.2, 5), ("finished", 0.25, 5), ("finished", 0.1, 5), metric=metric)
    frame = pd.DataFrame(rows, columns=list(CONFIRMATION)).astype(CONFIRMATION)
    return dataclasses.replace(tables, confirmation=frame)


def of(figures: dict[str, list[float]], metric: str = "val_loss") -> Confirmation:
    """Sum such a confirmation up."""
    found = confirmed(a_confirmation(figures, metric))
    assert found is not None
    return found


CLEAR = {
    "trial 2": [0.30, 0.32, 0.34],
    "trial 0": [0.20, 0.22, 0.23],
    "trial 1": [0.21, 0.22, 0.23],
    "softmax regression": [0.50, 0.53, 0.54],
    "course defaults": [0.19, 0.25, 0.21],
}


def test_a_study_without_a_confirmation_has_none() -> None:
    """The table is empty, and nothing is claimed."""
    assert confirmed(a_study(("finished", 0.5, 5))) is None


def test_the_winner_is_the_finalist_with_the_best_mean() -> None:
    """Not the search's best (trial 2), and not a baseline, however good: the means decide among finalists."""
    found = of(CLEAR)
    assert found.winner is not None
    assert (found.winner.name, found.winner.trial, found.winner.hidden_size) == ("trial 0", 0, 32)
    assert (found.seeds, found.train_rows, found.val_rows) == (3, TRAIN, VAL)
    assert [c.name for c in found.candidates] == [
        "trial 0",
        "trial 1",
        "trial 2",
        "course defaults",
        "softmax regression",
    ]


def test_baselines_never_win() -> None:
    """A baseline with the best mean of all stays a baseline."""
    winner = of({"trial 0": [0.5, 0.6], "course defaults": [0.1, 0.1]}).winner
    assert winner is not None
    assert winner.name == "trial 0"


def test_more_accuracy_wins() -> None:
    """The study's metric says which end is the better one."""
    winner = of(CLEAR, "val_accuracy").winner
    assert winner is not None
    assert winner.name == "trial 2"


def test_means_and_differences_are_the_corrected_ones() -> None:
    """Each candidate's figures, and its paired difference to the winner, have Nadeau and Bengio's interval."""
    found = of(CLEAR)
    rows = {"train_rows": TRAIN, "test_rows": VAL}
    softmax = found.named("softmax regression")
    assert softmax is not None
    assert found.winner is not None
    assert softmax.val_loss == corrected_mean(np.array(CLEAR["softmax regression"]), **rows)
    paired = np.array(CLEAR["softmax regression"]) - np.array(CLEAR["trial 0"])
    assert softmax.difference == corrected_mean(paired, **rows)
    assert found.winner.difference is None


def test_pairs_are_made_by_seed_and_not_by_place() -> None:
    """The rows of a candidate may come in any order."""
    tables = a_confirmation(CLEAR)
    shuffled = dataclasses.replace(tables, confirmation=tables.confirmation.sample(frac=1, random_state=3))
    found, expected = confirmed(shuffled), confirmed(tables)
    assert found is not None
    assert expected is not None
    for candidate in expected.candidates:
        again = found.named(candidate.name)
        assert again is not None
        assert (again.difference is None) == (candidate.difference is None)
        if candidate.difference and again.difference:
            assert again.difference.mean == pytest.approx(candidate.difference.mean)
            assert again.difference.half == pytest.approx(candidate.difference.half)


def test_the_gap_is_what_the_search_promised_too_much() -> None:
    """Trial 0 promised 0.2 and gave 0.2167; of an accuracy, less is the worse. Baselines promised nothing."""
    for metric, sign in (("val_loss", 1), ("val_accuracy", -1)):
        found = of(CLEAR, metric)
        first, defaults = found.named("trial 0"), found.named("course defaults")
        assert first is not None
        assert defaults is not None
        assert first.promised == 0.2
        assert first.gap(Metric(metric)) == pytest.approx(sign * (0.65 / 3 - 0.2))
        assert (defaults.promised, defaults.gap(Metric(metric))) == (None, None)


def test_the_smallest_within_the_noise_is_named_and_does_not_win() -> None:
    """Trial 1 and the defaults cannot be told from trial 0; none of them has fewer units than it."""
    found = of(CLEAR)
    assert {c.name for c in found.within_noise} == {"trial 1", "course defaults"}
    assert found.smallest is None
    found = of({"trial 1": [0.20, 0.22, 0.23], "trial 0": [0.21, 0.22, 0.23], "trial 2": [0.9, 0.91, 0.93]})
    assert found.winner is not None
    assert found.smallest is not None
    assert (found.winner.name, found.smallest.name) == ("trial 1", "trial 0")


def test_a_finalist_that_diverged_once_cannot_win() -> None:
    """The best mean over two of three seeds is passed over, and is not called as good either."""
    found = of({**CLEAR, "trial 0": [0.01, NAN, 0.01]})
    assert found.winner is not None
    assert found.winner.name == "trial 1"
    broken = found.named("trial 0")
    assert broken is not None
    assert (broken.finished, broken.seeds, broken.whole) == (2, 3, False)
    assert broken not in found.within_noise


def test_where_none_is_whole_the_best_of_them_wins() -> None:
    """There is a winner as long as one finalist finished one seed; pairs are those that both finished."""
    found = of({"trial 0": [0.3, NAN, 0.2], "trial 1": [NAN, 0.4, 0.5], "softmax regression": [NAN, NAN, NAN]})
    assert found.winner is not None
    assert (found.winner.name, found.winner.whole) == ("trial 0", False)
    other, softmax = found.named("trial 1"), found.named("softmax regression")
    assert other is not None
    assert softmax is not None
    assert other.difference is not None
    assert other.difference.mean == pytest.approx(0.3)
    assert other.difference.interval is None
    assert (softmax.val_loss, softmax.val_accuracy, softmax.difference) == (None, None, None)


def test_without_a_finished_seed_there_is_no_winner() -> None:
    """All finalists diverged: there are candidates, and nothing to compare them with."""
    found = of({"trial 0": [NAN, NAN], "softmax regression": [0.5, 0.6]})
    assert found.winner is None
    assert (found.within_noise, found.smallest) == ([], None)
    assert all(candidate.difference is None for candidate in found.candidates)


def test_one_seed_claims_no_interval() -> None:
    """A single seed gives means and differences, no interval, and so nothing that is within the noise."""
    found = of({name: values[:1] for name, values in CLEAR.items()})
    assert found.winner is not None
    for candidate in found.candidates:
        assert candidate.val_loss is not None
        assert candidate.val_loss.interval is None
        assert candidate.difference is None or candidate.difference.interval is None
    assert found.within_noise == []


def an_audit(*trials: tuple[str, float], metric: str = "val_loss") -> StudyTables:
    """Give a study with a best value of 0.5 and two pruned trials, and such audited trials."""
    tables = a_study(("finished", 0.5, 5), ("pruned", 0.9, 2), ("pruned", 0.9, 1), metric=metric)
    rows = [
        {"trial": n, "stopped_at": 2, "state": state, "value": value, "best_epoch": pd.NA, "epochs": 5, "seconds": 0.1}
        for n, (state, value) in enumerate(trials, start=1)
    ]
    return dataclasses.replace(tables, audit=pd.DataFrame(rows, columns=list(AUDIT)).astype(AUDIT))


def test_wrongly_stopped_is_what_would_have_won() -> None:
    """Strictly better than the best finished trial: an equal value is no mistake, nor is a divergence."""
    audit = audited(an_audit(("finished", 0.4), ("finished", 0.5), ("diverged", NAN), ("finished", 0.6)))
    assert audit == (4, 0, [1], 0.25, wilson(1, 4))
    audit = audited(an_audit(("finished", 0.4), ("finished", 0.5), ("finished", 0.6), metric="val_accuracy"))
    assert audit is not None
    assert audit.wrong == [3]


def test_a_failed_audit_tells_nothing() -> None:
    """It counts neither for the rule nor against it; where all failed there is no rate."""
    assert audited(an_audit(("failed", NAN), ("finished", 0.6))) == (1, 1, [], 0.0, wilson(0, 1))
    assert audited(an_audit(("failed", NAN))) == (0, 1, [], None, None)
    assert audited(a_study(("finished", 0.5, 5))) is None


def test_whoever_finishes_beats_nobody() -> None:
    """Where no trial of the search finished, each audited trial that finishes would have won."""
    tables = an_audit(("finished", 9.0), ("diverged", NAN))
    pruned = dataclasses.replace(tables, trials=tables.trials[tables.trials["state"] == "pruned"])
    audit = audited(pruned)
    assert audit is not None
    assert audit.wrong == [1]


def test_epochs_saved_are_those_of_pruned_trials() -> None:
    """Two trials stopped after 2 and 1 of 5 epochs save 7; a divergence saves nothing by the rule."""
    assert epochs_saved(an_audit(), 5) == 7
    assert epochs_saved(a_study(("diverged", NAN, 1)), 5) == 0
