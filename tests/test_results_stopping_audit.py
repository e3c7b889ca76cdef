"""The audit of the stopping rule: how often it was wrong, and how many epochs it saved."""

import dataclasses

from conftest import present
from tables import NAN, a_study, an_audit

from netcore.question.metrics import Metric
from netcore.results.intervals import wilson
from netcore.results.stopping_audit import audited, epochs_saved


def test_wrongly_pruned_is_what_would_have_won() -> None:
    """Strictly better than the best trial: an equal value is no mistake, nor is a divergence."""
    audit = audited(an_audit(("finished", 0.4), ("finished", 0.5), ("diverged", NAN), ("finished", 0.6)))
    assert audit == (4, 0, [1], wilson(1, 4))
    audit = audited(an_audit(("finished", 0.4), ("finished", 0.5), ("finished", 0.6), metric=Metric.VAL_ACCURACY))
    assert present(audit).wrong == [3]


def test_a_failed_audit_tells_nothing() -> None:
    """It counts neither for the rule nor against it; if all failed there is no rate."""
    assert audited(an_audit(("failed", NAN), ("finished", 0.6))) == (1, 1, [], wilson(0, 1))
    assert audited(an_audit(("failed", NAN))) == (0, 1, [], None)
    assert audited(a_study(("finished", 0.5, 5))) is None


def test_without_a_best_trial_every_finished_one_would_have_won() -> None:
    """If no trial of the search finished, each audited trial that finishes would have been the best."""
    tables = an_audit(("finished", 9.0), ("diverged", NAN))
    pruned = dataclasses.replace(tables, trials=tables.trials[tables.trials["state"] == "pruned"])
    assert present(audited(pruned)).wrong == [1]


def test_epochs_saved_are_those_of_pruned_trials() -> None:
    """Two trials pruned after 2 and 1 of 5 epochs save 7; a divergence is not the rule's merit."""
    assert epochs_saved(an_audit(), 5) == 7
    assert epochs_saved(a_study(("diverged", NAN, 1)), 5) == 0
