"""The ranking of trials: only finished ones can be the best, in the direction of the metric."""

import numpy as np
from tables import NAN, STUDIES, a_study

from netcore.question.metrics import Metric


def test_ranking_puts_finished_trials_first_and_the_earlier_of_equals() -> None:
    """Only finished trials can win, however good a pruned one was; of equal values the earlier is the better."""
    tables = a_study(
        ("pruned", 0.1, 2), ("failed", NAN, 0), ("finished", 0.3, 5), ("finished", 0.3, 5), ("diverged", NAN, 1)
    )
    assert tables.ranked()["trial"].tolist() == [2, 3, 0, 4, 1]
    assert tables.best_trial() == 2
    assert STUDIES["all pruned"].best_trial() is None
    assert (STUDIES["mixed"].best_trial(), STUDIES["accuracy"].best_trial()) == (4, 0)


def test_best_so_far_counts_finished_trials_alone() -> None:
    """The step line starts at the first finished trial and ignores what pruned trials reached."""
    trials = (
        ("pruned", 0.1, 2),
        ("finished", 0.5, 5),
        ("diverged", NAN, 1),
        ("finished", 0.7, 5),
        ("finished", 0.4, 5),
    )
    assert a_study(*trials).best_so_far()[1:].tolist() == [0.5, 0.5, 0.5, 0.4]
    assert np.isnan(a_study(*trials).best_so_far()[0])
    assert a_study(*trials, metric=Metric.VAL_ACCURACY).best_so_far()[1:].tolist() == [0.5, 0.5, 0.7, 0.7]
