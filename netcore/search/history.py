"""The history: the committed trials as Optuna's samplers and the stopping rule see them.

It is an Optuna study in memory. It is told the committed trials in the order of their numbers, and has the trials in
flight as running. Every run rebuilds it from the records and discards it at the end; nothing here is stored.
"""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState, create_trial

from netcore.errors import RecordError
from netcore.question.hyperparameters import Hyperparameters
from netcore.question.metrics import Metric
from netcore.question.spec import StudySpec
from netcore.records.job import State, TrialResult
from netcore.records.record import Record
from netcore.search.samplers import Sampling
from netcore.search.space import Space
from netcore.search.stopping import Stopping

TOLD_AS = {
    State.FINISHED: TrialState.COMPLETE,
    State.PRUNED: TrialState.PRUNED,
    State.DIVERGED: TrialState.PRUNED,
    State.FAILED: TrialState.FAIL,
}
"""The state that Optuna is told. From a divergence told as FAIL the sampler would learn nothing."""


class History:
    """The committed trials of a study and those in flight.

    Trials are added in the order of their numbers: first `commit_next` for records that were committed before, then
    `in_flight` for those that were not, then `propose` and `commit` in turn.

    Raises:
        InputError: the study's sampler needs a library that is not installed.
    """

    def __init__(self, spec: StudySpec) -> None:
        self._metric = spec.study.metric
        self._sampling = Sampling(spec)
        self._stopping = Stopping(spec.stopping, spec.study.metric)
        with quiet_optuna():
            self._study = optuna.create_study(study_name=spec.name, direction=spec.study.metric.direction)

    def propose(self, number: int) -> Hyperparameters:
        """Propose trial `number`, the next one, from the trials added so far; it is in flight from now on."""
        outright = self._sampling.outright(number)
        if outright is not None:
            self.in_flight(outright)
            return outright
        self._study.sampler = self._sampling.informed(number)
        with quiet_optuna():
            trial = self._study.ask(self._sampling.space.distributions)
        return self._sampling.space.complete(trial.params)

    def thresholds(self) -> dict[int, float]:
        """Return the stopping thresholds of a trial that is proposed now."""
        return self._stopping.thresholds()

    def in_flight(self, hyperparameters: Hyperparameters) -> None:
        """Add the next trial, whose result is not known yet.

        Raises:
            RecordError: its hyperparameters are outside the study's space.
        """
        space = self._sampling.space
        self._study.add_trial(frozen(hyperparameters, space, state=TrialState.RUNNING))

    def commit(self, number: int, result: TrialResult) -> None:
        """Add the result of a trial in flight. Trials are committed in the order of their numbers."""
        trial = optuna.Trial(self._study, number)  # in a new study in memory, a trial's id is its number
        for epoch, value in reported(result, self._metric).items():
            trial.report(value, epoch)
        state = TOLD_AS[result.state]
        self._study.tell(number, result.value if state is TrialState.COMPLETE else None, state=state)
        self._stopping.commit(result)

    def commit_next(self, record: Record) -> None:
        """Add a trial that was never in flight here, from its record.

        Raises:
            RecordError: its hyperparameters are outside the study's space.
        """
        self._study.add_trial(told(record, self._sampling.space))
        self._stopping.commit(record.result)


@contextmanager
def quiet_optuna() -> Iterator[None]:
    """Silence Optuna's log and its warnings of experimental features, for the duration of a block."""
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            yield
    finally:
        optuna.logging.set_verbosity(before)


def told(record: Record, space: Space) -> FrozenTrial:
    """Return a trial in Optuna's form, as samplers see it after its commit."""
    curve, state = reported(record.result, record.job.metric), TOLD_AS[record.result.state]
    value = None
    if state is TrialState.COMPLETE:
        value = record.result.value
    elif state is TrialState.PRUNED and curve:
        value = curve[max(curve)]  # the value that Optuna itself gives a pruned trial
    return frozen(record.job.hyperparameters, space, state=state, value=value, intermediate_values=curve)


def frozen(hyperparameters: Hyperparameters, space: Space, **facts: Any) -> FrozenTrial:  # noqa: ANN401  # Optuna's
    """Return a trial in Optuna's form.

    Raises:
        RecordError: its hyperparameters are outside the study's space.
    """
    try:
        return create_trial(params=space.searched(hyperparameters), distributions=space.distributions, **facts)
    except (TypeError, ValueError) as error:
        what = ", ".join(f"{name} {value!r}" for name, value in hyperparameters._asdict().items())
        remedy = "`netcore verify` names the record; move it away, and `netcore run` trains the trial again"
        raise RecordError.at("a record's trial", "must be within the study's [space]", what, remedy) from error


def reported(result: TrialResult, metric: Metric) -> dict[int, float]:
    """Return the metric by epoch that Optuna is told: nothing for a divergence, whose NaN would mislead TPE."""
    if result.state not in {State.FINISHED, State.PRUNED}:
        return {}
    return {epoch.epoch: getattr(epoch, metric) for epoch in result.curve}
