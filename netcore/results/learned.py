"""What the search learned: which hyperparameters mattered, from the study's tables and its settings.

The computing is Optuna's and stands in `netcore.search.importance`; here the tables are brought into its form.
"""

from typing import Any

from netcore.question.spec import HYPERPARAMETERS, Hyperparameters, StudySpec
from netcore.results.tables import StudyTables
from netcore.search.importance import Importance, importances

__all__ = ["searched_importances"]


def searched_importances(tables: StudyTables, settings: dict[str, Any]) -> dict[str, Importance]:
    """Give the importance of each searched hyperparameter of the finished trials, the largest first.

    `settings` are those of resolved.json. Empty where too few trials finished, or one hyperparameter was searched.
    """
    spec = StudySpec.model_validate(settings)
    finished = tables.trials[tables.trials["state"] == "finished"].sort_values("trial")
    rows = finished[[*HYPERPARAMETERS, "value"]].itertuples(index=False, name=None)
    trials = tuple((Hyperparameters(*row[:-1]), row[-1]) for row in rows)
    return importances(spec.space, trials, metric=spec.study.metric, seed=spec.study.seed)
