"""Claims about netcore.search.history: restored from its records, a study proposes what the live one does."""

import dataclasses
import math
from typing import Any

import optuna
import pytest
from optuna.trial import TrialState

from netcore.core.sgd import Epoch
from netcore.question.hyperparameters import Hyperparameters
from netcore.question.spec import StudySpec
from netcore.records.job import State, TrialJob, TrialResult, failed
from netcore.records.record import Provenance, Record
from netcore.search.history import History, quiet_optuna, told
from netcore.search.space import Space

TRIALS, WINDOW, EPOCHS = 32, 5, 4
WHEN = Provenance(0.0, 1.0, 1, {})
SPACE: dict[str, Any] = {
    "learning_rate": {"low": 1e-3, "high": 1.0, "log": True},
    "hidden_size": {"low": 4, "high": 64},
    "reg": [0.0, 0.1],
    "learning_rate_decay": 0.9,
}


def study(sampler: str = "tpe", metric: str = "val_loss") -> StudySpec:
    """Make a study of 32 trials, five in flight, with two start trials and two rungs."""
    start = {"learning_rate": 0.1, "hidden_size": 8, "reg": 0.0}
    return StudySpec.model_validate(
        {
            "study": {"name": "x", "trials": TRIALS, "window": WINDOW, "sampler": sampler, "metric": metric},
            "data": {"source": "iris"},
            "training": {"epochs": EPOCHS},
            "space": SPACE,
            "stopping": {"rungs": [1, 2], "after": 3},
            "start": [start, {**start, "hidden_size": 16}],
        }
    )


def outcome(number: int, asked: Hyperparameters) -> TrialResult:
    """Make up a result that depends on number and hyperparameters: every state occurs, in any order."""
    base = abs(math.log10(asked.learning_rate) + 1) + asked.hidden_size / 64 + asked.reg
    curve = tuple(Epoch(n, 0.1, base / n, base / n, 1 - base / 9 / n, 1 - base / 9 / n) for n in range(1, EPOCHS + 1))
    if number % 7 == 3:
        return failed("error", "Traceback …")
    if number % 5 == 1:
        last = Epoch(2, 0.1, math.nan, math.nan, 0.5, 0.5)
        return TrialResult(State.DIVERGED, (curve[0], last))
    if number % 3 == 1:
        return TrialResult(State.PRUNED, curve[:2], 2, curve[1].val_loss)
    return TrialResult(State.FINISHED, curve, EPOCHS, curve[-1].val_loss)


def record(spec: StudySpec, number: int, asked: Hyperparameters, result: TrialResult) -> Record:
    """Make the record of a trial, as it is read from its file."""
    made = Record.of(TrialJob.of(spec, number, asked, {}, "d", "k"), result, WHEN)
    return Record.from_bytes(made.to_bytes(), "x.npz")


def go_on(spec: StudySpec, history: History, records: list[Record], begin: int) -> list[tuple[Any, Any]]:
    """Ask trials from `begin` on, each committed when the window says; return proposals and thresholds."""
    asked: list[tuple[Any, Any]] = []
    for number in range(begin, TRIALS):
        if begin < number and number >= WINDOW:
            history.commit(number - WINDOW, records[number - WINDOW].result)
        proposal = history.propose(number)
        asked.append((proposal, history.thresholds()))
        if number == len(records):
            records.append(record(spec, number, proposal, outcome(number, proposal)))
    return asked


def restored(spec: StudySpec, records: list[Record], there: int) -> History:
    """Build the history from records, as a search does that resumes at trial `there`."""
    history = History(spec)
    committed = max(0, there - WINDOW + 1)
    for number in range(committed):
        history.commit_next(records[number])
    for number in range(committed, there):
        history.in_flight(records[number].job.hyperparameters)
    return history


Live = tuple[StudySpec, History, list[Record], list[tuple[Any, Any]]]


@pytest.fixture(scope="module", params=["val_loss", "val_accuracy"])
def live(request: pytest.FixtureRequest) -> Live:
    """Return a study that ran in one go: its spec, history, records, and what was asked."""
    spec = study(metric=request.param)
    history, records = History(spec), []  # type: ignore[var-annotated]
    asked = go_on(spec, history, records, 0)
    return spec, history, records, asked


def test_every_state_is_in_the_history(live: Live) -> None:
    """The made-up study has trials of all four states and thresholds: what follows is about something."""
    assert {one.result.state for one in live[2]} == set(State)
    assert any(thresholds for _, thresholds in live[3])


@pytest.mark.parametrize("there", [0, 4, 5, 17, 31])
def test_restored_proposes_what_live_does(live: Live, there: int) -> None:
    """Restored at any trial, the study proposes the same hyperparameters and thresholds as if never interrupted."""
    spec, _, records, asked = live
    assert go_on(spec, restored(spec, records, there), records[:], there) == asked[there:]


def test_what_is_known_matters(live: Live) -> None:
    """With another result in the past the proposals become others: the test above could fail."""
    spec, _, records, asked = live
    best = min((one for one in records[:20] if one.result.state is State.FINISHED), key=lambda one: one.result.value)
    worse = dataclasses.replace(best, result=dataclasses.replace(best.result, value=99.0))
    changed = [worse if one is best else one for one in records]
    assert go_on(spec, restored(spec, changed, 26), changed, 26) != asked[26:]


def test_samplers_without_history_do_not_depend_on_it() -> None:
    """`random` proposes the same whatever is known."""
    spec = study("random")
    records: list[Record] = []
    asked = go_on(spec, History(spec), records, 0)
    empty = History(spec)
    assert [empty.propose(number) for number in range(TRIALS)] == [proposal for proposal, _ in asked]


def test_states_values_and_curves_as_told(live: Live) -> None:
    """A finished trial is COMPLETE with its value, a pruned one has its last metric, a divergence is PRUNED without.

    Optuna is told the searched hyperparameters alone.
    """
    spec, _, records, _ = live
    for one in records:
        metrics = {epoch.epoch: getattr(epoch, spec.study.metric) for epoch in one.result.curve}
        expected = {
            State.FINISHED: (TrialState.COMPLETE, one.result.value, metrics),
            State.PRUNED: (TrialState.PRUNED, metrics.get(2), metrics),
            State.DIVERGED: (TrialState.PRUNED, None, {}),
            State.FAILED: (TrialState.FAIL, None, {}),
        }
        trial = told(one, Space(spec.space))
        assert (trial.state, trial.value, trial.intermediate_values) == expected[one.result.state]
        assert set(trial.params) == {"learning_rate", "hidden_size", "reg"}


def test_quiet(capsys: pytest.CaptureFixture[str]) -> None:
    """Making a history says nothing, and Optuna's log is left as it was."""
    before = optuna.logging.get_verbosity()
    optuna.logging.enable_propagation()
    try:
        optuna.logging.set_verbosity(optuna.logging.INFO)
        History(study())
        with pytest.raises(RuntimeError), quiet_optuna():
            raise RuntimeError
        assert optuna.logging.get_verbosity() == optuna.logging.INFO
    finally:
        optuna.logging.disable_propagation()
        optuna.logging.set_verbosity(before)
    assert capsys.readouterr() == ("", "")
