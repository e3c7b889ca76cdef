"""The tables [study], [training], [stopping] and [confirm] of a study file: keys, types, bounds and defaults.

The string below a field describes its key in the JSON Schema (`netcore check --schema`); docs/study-file.md lists the
same keys. Metrics, hyperparameters and data sources have modules of their own.
"""

import re
from itertools import pairwise
from typing import Annotated, Literal

from annotated_types import Ge, Gt, Le, Lt
from pydantic import Field, field_validator

from netcore.question.metrics import Metric
from netcore.question.reading import Section, rule

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


class StudySection(Section):
    """[study]: the search."""

    name: str | None = None
    """Name of the study, its MLflow experiment and its folder; the file's own name if left out."""
    seed: Annotated[int, Ge(0), Lt(2**32)] = 0
    """Seed of all random numbers of the search."""
    trials: Annotated[int, Ge(1)] = 100
    """Number of trials in total; may be raised later."""
    metric: Annotated[Metric, Field(strict=False)] = Metric.VAL_LOSS
    """The metric to optimize: the lowest validation loss, or the highest validation accuracy."""
    sampler: Literal["tpe", "gp", "random", "qmc", "grid"] = "tpe"
    """How hyperparameters are proposed; `gp` needs the extra of that name."""
    window: Annotated[int, Ge(1)] = 8
    """Maximum number of trials in flight: trial n is proposed when trial n - window is committed."""
    weights: Literal["best", "all"] = "best"
    """The trials whose weights are kept: the five best finished ones, or all."""
    max_failures: Annotated[int, Ge(0)] = 3
    """Number of trials that may fail with an error before the study stops."""
    trial_timeout: Annotated[float, Gt(0), Le(1_000_000)] = 3600.0
    """Seconds after which a trial's worker counts as stalled."""

    @field_validator("name")
    @classmethod
    def _fit_for_a_folder(cls, name: str | None) -> str | None:
        if name is not None and not NAME.fullmatch(name):
            raise rule("a name is 1 to 64 letters, digits, `.`, `_` or `-`, the first a letter or digit", repr(name))
        return name


class TrainingSection(Section):
    """[training]: the settings that all trials share."""

    epochs: Annotated[int, Ge(1)] = 30
    """Passes over the training set."""
    batch_size: Annotated[int, Ge(1)] = 100
    """Rows per step."""
    dtype: Literal["float32", "float64"] = "float32"
    """Precision of parameters and data."""


class StoppingSection(Section):
    """[stopping]: the stopping rule; without this table no trial is stopped."""

    rungs: Annotated[tuple[Annotated[int, Ge(1)], ...], Field(strict=False, min_length=1)]
    """The epochs at which a trial may be stopped, in rising order."""
    keep: Annotated[float, Gt(0), Lt(1)] = 0.25
    """A trial continues at a rung if it is among this best share of the trials that reached it before."""
    after: Annotated[int, Ge(1)] = 5
    """Number of trials that must have reached a rung before any is stopped there."""

    @field_validator("rungs")
    @classmethod
    def _rising(cls, rungs: tuple[int, ...]) -> tuple[int, ...]:
        if any(low >= high for low, high in pairwise(rungs)):
            raise rule("rungs are epochs in rising order", list(rungs))
        return rungs


class ConfirmSection(Section):
    """[confirm]: the confirmation of the best trials after the search."""

    finalists: Annotated[int, Ge(1)] = 3
    """Number of the best finished trials that are trained again, each with the same fresh seeds."""
    seeds: Annotated[int, Ge(1)] = 10
    """Number of seeds."""
