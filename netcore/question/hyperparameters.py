"""The hyperparameters, each declared once.

The TOML schema of [space] and [[start]], Optuna's distributions, the record, MLflow's params, the tables' columns and
the axis labels follow from the fields of `Hyperparameters`. To add a hyperparameter, add a field here with its type,
bounds and description, and use it in `netcore.core`; a field with a default may be left out of a study file.
"""

from collections.abc import Mapping
from math import inf
from typing import Annotated, Any, NamedTuple, get_args, get_type_hints

from annotated_types import Ge, Gt, Le
from pydantic import TypeAdapter, ValidationError


class Hyperparameters(NamedTuple):
    """What a trial tries. The name is the same as TOML key, MLflow param, table column and axis label."""

    learning_rate: Annotated[float, Gt(0), "Step size of the first epoch."]
    hidden_size: Annotated[int, Ge(1), "Number of hidden units."]
    reg: Annotated[float, Ge(0), "Factor of the penalty on squared weights."]
    learning_rate_decay: Annotated[float, Gt(0), Le(1), "Factor of the learning rate from one epoch to the next."]


HYPERPARAMETERS = Hyperparameters._fields

TYPES: dict[str, Any] = get_type_hints(Hyperparameters, include_extras=True)
"""By name: the type with its bounds, as pydantic checks it."""

DESCRIPTIONS: dict[str, str] = {name: get_args(kind)[-1] for name, kind in TYPES.items()}

_PLAIN: dict[str, Any] = get_type_hints(Hyperparameters)

DTYPES = {name: "int64" if kind is int else "float64" for name, kind in _PLAIN.items()}
"""By name: the type of the table column."""


def from_texts(texts: Mapping[str, str]) -> Hyperparameters:
    """Return the hyperparameters that are written as texts (MLflow's params).

    Raises:
        KeyError: one is missing.
        ValueError: one is not a number.
    """
    return Hyperparameters(**{name: kind(texts[name]) for name, kind in _PLAIN.items()})


def limits(name: str) -> tuple[float, float]:
    """Return the lowest and the highest value of a hyperparameter's bounds, which may be excluded (`allows`)."""
    low, high = -inf, inf
    for bound in get_args(TYPES[name])[1:]:
        low = max(low, getattr(bound, "gt", low), getattr(bound, "ge", low))
        high = min(high, getattr(bound, "lt", high), getattr(bound, "le", high))
    return low, high


def allows(name: str, value: float) -> bool:
    """Return whether a value is within a hyperparameter's bounds."""
    try:
        TypeAdapter(TYPES[name]).validate_python(value)
    except ValidationError:
        return False
    return True
