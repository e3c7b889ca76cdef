"""netcore: a hyperparameter experiment harness around a two-layer network in NumPy.

    load_spec("digits")     a study file, checked
    run_study("digits")     its search, as tables
    load_study("digits")    the tables of a study that has run
    Objective(spec)         one trial of it, for an Optuna study of your own

`netcore.core` is the net itself. Nothing heavy is imported until one of the names is touched.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from netcore.question.spec import load_spec
    from netcore.results.tables import load_study
    from netcore.run import run_study
    from netcore.search.objective import Objective

__all__ = ["Objective", "load_spec", "load_study", "run_study"]

_HOMES = {
    "Objective": "netcore.search.objective",
    "load_spec": "netcore.question.spec",
    "load_study": "netcore.results.tables",
    "run_study": "netcore.run",
}


def __getattr__(name: str) -> object:
    """Import a public name when it is first asked for."""
    if name not in _HOMES:
        message = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(message)
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    """List the public names."""
    return __all__
