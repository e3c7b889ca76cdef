"""The summary of a confirmation: the winner, differences, intervals, and what is not claimed."""

import dataclasses

import numpy as np
import pytest
from conftest import present
from tables import CLEAR, NAN, TRAIN, VAL, a_confirmation, a_study, summary_of

from netcore.question.metrics import Metric
from netcore.results.intervals import corrected_mean
from netcore.results.winner import Answer, answer_of, summarised


def test_a_study_without_a_confirmation_has_none() -> None:
    """The table is empty, and the best trial answers the question."""
    assert summarised(a_study(("finished", 0.5, 5))) is None
    assert answer_of(a_study(("finished", 0.5, 5))) == Answer("best trial", 0)
    assert answer_of(a_study(("diverged", NAN, 1))) is None


def test_the_winner_is_the_finalist_with_the_best_mean() -> None:
    """Not the best trial of the search (trial 2), and not a baseline, however good."""
    found = summary_of(CLEAR)
    winner = present(found.winner)
    assert (winner.name, winner.trial, winner.hidden_size) == ("trial 0", 0, 32)
    assert answer_of(a_confirmation(CLEAR)) == Answer("winner", 0)
    assert (found.seeds, found.train_rows, found.val_rows) == (3, TRAIN, VAL)
    names = ["trial 0", "trial 1", "trial 2", "course defaults", "softmax regression"]
    assert [c.name for c in found.candidates] == names


def test_means_and_differences_are_the_corrected_ones() -> None:
    """Means and paired differences to the winner have the interval of Nadeau and Bengio."""
    found = summary_of(CLEAR)
    rows = {"train_rows": TRAIN, "test_rows": VAL}
    softmax, winner = present(found.named("softmax regression")), present(found.winner)
    assert softmax.val_loss == corrected_mean(np.array(CLEAR["softmax regression"]), **rows)
    paired = np.array(CLEAR["softmax regression"]) - np.array(CLEAR["trial 0"])
    assert softmax.difference == corrected_mean(paired, **rows)
    assert winner.difference is None
    assert (winner.search_estimate, softmax.search_estimate) == (0.2, None)


def test_each_metric_has_its_own_mean() -> None:
    """The winner has the best mean of the study's metric, and its means of both metrics are its own."""
    tables = a_confirmation(CLEAR, Metric.VAL_ACCURACY)
    losses = tables.confirmation["val_accuracy"] / 2
    confirmation = tables.confirmation.assign(val_loss=losses)
    winner = present(present(summarised(dataclasses.replace(tables, confirmation=confirmation))).winner)
    assert winner.name == "trial 2"
    assert present(winner.of(Metric.VAL_ACCURACY)).mean == pytest.approx(0.32, abs=1e-9)
    assert present(winner.of(Metric.VAL_LOSS)).mean == pytest.approx(0.16, abs=1e-9)


def test_pairs_are_made_by_seed_and_not_by_place() -> None:
    """The rows of a candidate may come in any order."""
    tables = a_confirmation(CLEAR)
    shuffled = dataclasses.replace(tables, confirmation=tables.confirmation.sample(frac=1, random_state=3))
    found, expected = present(summarised(shuffled)), present(summarised(tables))
    for candidate in expected.candidates:
        again = present(found.named(candidate.name))
        assert (again.difference is None) == (candidate.difference is None)
        if candidate.difference and again.difference:
            assert again.difference.mean == pytest.approx(candidate.difference.mean)
            assert again.difference.half == pytest.approx(candidate.difference.half)


def test_the_smallest_within_the_noise_does_not_win() -> None:
    """The smallest net within the noise is found only if it has fewer units than the winner."""
    found = summary_of(CLEAR)
    assert {c.name for c in found.within_noise} == {"trial 1", "course defaults"}
    assert found.smallest is None
    near = [0.21, 0.22, 0.23]
    found = summary_of(
        {"trial 1": [0.20, 0.22, 0.23], "trial 0": near, "trial 2": [0.9, 0.91, 0.93], "course defaults": near}
    )
    assert (present(found.winner).name, present(found.smallest).name) == ("trial 1", "trial 0")


def test_a_finalist_that_diverged_once_cannot_win() -> None:
    """The best mean over two of three seeds does not win, and is not within the noise either."""
    found = summary_of({**CLEAR, "trial 0": [0.01, NAN, 0.01]})
    assert present(found.winner).name == "trial 1"
    broken = present(found.named("trial 0"))
    assert (broken.finished, broken.seeds, broken.complete) == (2, 3, False)
    assert broken not in found.within_noise


def test_if_no_finalist_is_whole_the_best_of_them_wins() -> None:
    """There is a winner if one finalist finished one seed; pairs are the seeds that both finished."""
    found = summary_of({"trial 0": [0.3, NAN, 0.2], "trial 1": [NAN, 0.4, 0.5], "softmax regression": [NAN, NAN, NAN]})
    winner, softmax = present(found.winner), present(found.named("softmax regression"))
    assert (winner.name, winner.complete) == ("trial 0", False)
    difference = present(present(found.named("trial 1")).difference)
    assert difference.mean == pytest.approx(0.3)
    assert difference.interval is None
    assert (softmax.val_loss, softmax.val_accuracy, softmax.difference) == (None, None, None)


def test_without_a_finished_seed_there_is_no_winner() -> None:
    """All finalists diverged: there are candidates, and no winner to compare them with."""
    found = summary_of({"trial 0": [NAN, NAN], "softmax regression": [0.5, 0.6]})
    assert found.winner is None
    assert (found.within_noise, found.smallest) == ([], None)
    assert all(candidate.difference is None for candidate in found.candidates)


def test_one_seed_claims_no_interval() -> None:
    """One seed gives means and differences, but no interval, so nothing is within the noise."""
    found = summary_of({name: values[:1] for name, values in CLEAR.items()})
    assert found.winner
    for candidate in found.candidates:
        assert present(candidate.val_loss).interval is None
        assert candidate.difference is None or candidate.difference.interval is None
    assert found.within_noise == []
