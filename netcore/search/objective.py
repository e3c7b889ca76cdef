"""The same trial for people who drive Optuna themselves.

    optuna.create_study().optimize(Objective(load_spec("digits")), n_trials=20)

Any sampler and any pruner works: the objective suggests from the study file's space, reports the metric after every
epoch, and stops when `trial.should_prune()` is true. The study file's own sampler and stopping rule are not used.
"""

from optuna import Trial, TrialPruned

from netcore.core.sgd import Epoch
from netcore.errors import InputError
from netcore.question.spec import StudySpec, dataset_of
from netcore.records.job import State, TrialJob
from netcore.search.space import Space
from netcore.workers.trial import run_trial


class Objective:
    """A function of an Optuna trial: the best validation metric of a net trained with the suggested hyperparameters.

    Raises:
        InputError: the data do not fit the study.
    """

    def __init__(self, spec: StudySpec) -> None:
        self._spec = spec
        self._space = Space(spec.space)
        self._dataset = dataset_of(spec)

    def __call__(self, trial: Trial) -> float:
        """Train one net, seeded by the study file's seed and the trial's number; return its best validation metric.

        Raises:
            TrialPruned: the study's pruner stopped it, or its loss was not finite.
            InputError: the study minimises where the metric is to be maximised, or the reverse.
        """
        spec = self._spec
        metric, direction = spec.study.metric, trial.study.direction.name.lower()
        if direction != metric.direction:
            rule = f"metric {metric} needs optuna.create_study(direction={metric.direction!r})"
            raise InputError.at(spec.name, rule, direction)
        job = TrialJob.of(spec, trial.number, self._space.suggested(trial), {}, self._dataset.digest, "")

        def stop(epoch: Epoch, _best: float) -> bool:
            trial.report(getattr(epoch, metric), epoch.epoch)
            return trial.should_prune()

        result = run_trial(job, self._dataset, stop=stop)
        if result.state is not State.FINISHED:
            raise TrialPruned(str(result.state))
        return result.value
