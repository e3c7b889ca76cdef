"""netcore uses the public interface of its dependencies; every exception stands in a table of ARCHITECTURE.md."""

import ast
import builtins
import re
import tomllib
import types
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest

import netcore

HOME = Path(netcore.__file__).parent
ROOT = HOME.parent
INTERNAL = ("mlflow.store", "mlflow.utils", "numpy.core")
"""Modules that are internal to a library although their names do not say so."""

DOCUMENTED = {
    "_asdict",
    "_field_defaults",
    "_replace",
    "_fields",
    "_make",
    "_exit",
    "__file__",
    "__version__",
    "__wrapped__",
}
"""Names of the standard library that are public despite their underscore."""
PYTHON = {name for kind in (type, types.FunctionType, types.ModuleType) for name in dir(kind)} | set(dir(builtins))

Row = dict[str, str]


def is_private(name: str) -> bool:
    """Return whether a name is marked as private: an underscore first, and not one of Python's own names."""
    return name.startswith("_") and name not in DOCUMENTED and name not in PYTHON


def modules_of(tree: ast.Module) -> dict[str, str]:
    """Return the names that a module imports from elsewhere, and the dotted name of each."""
    names: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.asname or alias.name.partition(".")[0]: alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {alias.asname or alias.name: f"{node.module}.{alias.name}" for alias in node.names}
    return {name: dotted for name, dotted in names.items() if not dotted.startswith("netcore")}


def own_names(tree: ast.Module) -> set[str]:
    """Return the private names that a module defines itself: functions, classes, variables and attributes."""
    names = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.ClassDef)}
    names |= {node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
    return names | {
        node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store)
    }


def private_names(source: str) -> Iterator[str]:
    """Yield every private name, or internal module, of another library that a module uses."""
    tree = ast.parse(source)
    imported, own = modules_of(tree), own_names(tree)
    for dotted in imported.values():
        if any(map(is_private, dotted.split("."))):
            yield dotted
        yield from (name for name in INTERNAL if f"{dotted}.".startswith(f"{name}."))
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            foreign = isinstance(node.value, ast.Name) and node.value.id in imported
            if is_private(node.attr) and (foreign or node.attr not in own):
                yield node.attr
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in {"getattr", "setattr"}:
            name = node.args[1]
            if isinstance(name, ast.Constant) and is_private(str(name.value)):
                yield str(name.value)
        elif isinstance(node, ast.ClassDef):
            yield from overridden(node, imported)


def overridden(node: ast.ClassDef, imported: dict[str, str]) -> Iterator[str]:
    """Yield the private methods of another library's class that a class replaces."""
    methods = [item.name for item in node.body if isinstance(item, ast.FunctionDef) and is_private(item.name)]
    for base in node.bases if methods else ():
        first, *rest = ast.unparse(base).partition("[")[0].split(".")
        if first in imported:
            module, _, name = ".".join([imported[first], *rest]).rpartition(".")
            kind = getattr(import_module(module), name)
            yield from (method for method in methods if hasattr(kind, method))


def table() -> list[Row]:
    """Return the rows of the section "What is not public" of ARCHITECTURE.md."""
    text = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
    section = text.partition("## What is not public")[2].partition("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("|")]
    columns, _, *rows = ([cell.strip().strip("`") for cell in line.strip("|").split("|")] for line in lines)
    assert columns == ["library", "name", "where", "why", "what breaks without it"]
    return [dict(zip(columns, row, strict=True)) for row in rows]


def test_private_names_are_in_the_table() -> None:
    """Every private name of another library, and every internal module, has its row with the reason."""
    found = {
        (path.relative_to(HOME).as_posix(), name)
        for path in HOME.rglob("*.py")
        for name in private_names(path.read_text(encoding="utf-8"))
    }
    assert found - {(row["where"], row["name"]) for row in table()} == set()


def test_the_table_has_no_stale_row() -> None:
    """Each name of the table is used where the table says, and each row gives a reason."""
    for row in table():
        assert row["name"].rpartition(".")[2] in (HOME / row["where"]).read_text(encoding="utf-8"), row
        assert all(row.values()), row


def test_upper_bounds_follow_from_the_table() -> None:
    """A dependency has an upper bound exactly if netcore uses something of it that is not public."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    bounded = {re.split(r"[<>=\[]", text)[0] for text in project["dependencies"] if "<" in text}
    assert bounded == {row["library"].lower() for row in table() if row["library"] != "Python"}


def test_every_run_can_do_without() -> None:
    """No private name is imported at the top of a module."""
    for row in table():
        tree = ast.parse((HOME / row["where"]).read_text(encoding="utf-8"))
        top = ast.Module([node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)], [])
        assert list(private_names(ast.unparse(top))) == []


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("from optuna.samplers import _tpe", "optuna.samplers._tpe"),
        ("from optuna.samplers._tpe import sampler", "optuna.samplers._tpe.sampler"),
        ("import optuna.samplers._tpe.sampler as s", "optuna.samplers._tpe.sampler"),
        ("from mlflow.utils.mlflow_tags import X", "mlflow.utils"),
        ("import mlflow.store.db.utils", "mlflow.store"),
        ("import pickle\nclass _U(pickle._Unpickler): pass", "_Unpickler"),
        ("import sys\nsys._getframe(1)", "_getframe"),
        ("def f(trial): trial._suggest('x', 1)", "_suggest"),
        ("import m\nclass A:\n    def _f(self): m._f()", "_f"),
        ("def f(study): return study._storage", "_storage"),
        ("def f(study): return getattr(study, '_storage')", "_storage"),
        ("def f(module): return module.__pyx_capi__", "__pyx_capi__"),
        (
            "from optuna.samplers import TPESampler\nclass A(TPESampler):\n    def _get_internal_repr(self): pass",
            "_get_internal_repr",
        ),
    ],
)
def test_the_search_for_private_names_bites(source: str, name: str) -> None:
    """Each way to reach a private name is found."""
    assert name in set(private_names(source))


@pytest.mark.parametrize(
    "source",
    [
        "import os\nos._exit(1)",
        "class A:\n    def _f(self): return self._f().__class__.__name__",
        "def f(row): return row._replace(x=1)._asdict()",
        "from netcore.search.samplers import _private",
        "from mlflow.entities import Run",
    ],
)
def test_public_and_own_names_pass(source: str) -> None:
    """Python's own names, the documented ones, and netcore's are no private names of a dependency."""
    assert list(private_names(source)) == []
