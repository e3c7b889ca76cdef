"""Mutation tests: change one statement of netcore at a time and check that a test fails. `make mutants` runs them.

    python tests/mutants.py mutants.json verdicts.jsonl

`mutants.json` lists the mutants. If it is missing, it is drawn from a seed, for all kinds of change alike: operators,
constants, arguments, branches, removed statements, … A listed statement is found by its text, wherever it has moved
within its area. Each mutant is written into a private copy of the tree, where the tests of its area run, the fast ones
first. Its verdict is appended to `verdicts.jsonl`; started again, the command continues after the last verdict.
"""

import argparse
import ast
import gc
import importlib
import itertools
import json
import math
import os
import random
import resource
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import CodeType, FunctionType, ModuleType
from typing import Any, NamedTuple

import pytest


class Area(NamedTuple):
    """A part of netcore: its number of mutants, its modules, and its tests as arguments of pytest."""

    mutants: int
    modules: tuple[str, ...]
    quick: str
    slow: str = ""


FILES = "bits or once or types or damaged or still or cannot"
LOOP = "mixed_study or any_number or extended or stops_the_run or history_keep or grid or kept"
FOLDS = "folds and not (workers or interrupted or mlflow or official)"
AREAS = {
    "core": Area(46, ("core/*.py",), "core_net core_params core_training core_gradcheck", "core_softmax trial"),
    "step": Area(16, ("training/step.py",), f"step '-k not ({FILES} or processors)'", f"step '-k {FILES}'"),
    "kernel": Area(24, ("training/kernel.py",), f"step '-k not ({FILES} or processors)'"),
    "search": Area(26, ("search/loop.py",), f"search '-k {LOOP}'", f"search '-k not ({LOOP})'"),
    "stopping": Area(12, ("search/stopping.py",), "stopping", "search"),
    "history": Area(16, ("search/history.py",), "history", f"search '-k {LOOP}'"),
    "sampling": Area(24, ("search/samplers.py",), "samplers history", f"search '-k {LOOP}'"),
    "space": Area(14, ("search/space.py",), "space samplers", f"search '-k {LOOP}'"),
    "trial": Area(
        26,
        ("workers/trial.py", "records/job.py", "question/metrics.py"),
        "trial objective",
        f"folds search '-k {FOLDS} or {LOOP}'",
    ),
    "record": Area(
        34,
        ("records/record.py", "records/curves.py"),
        "record",
        f"damage folds folder search '-k {FOLDS} or (folder or damage or {LOOP}) and not lock'",
    ),
    "confirm": Area(24, ("confirm/*.py", "search/kept_weights.py"), "confirm"),
    "statistics": Area(36, ("results/intervals.py", "results/winner.py"), "results_intervals results_winner"),
    "sync": Area(
        28, tuple(f"tracking/{name}.py" for name in ("sync", "plan", "projection", "writer", "registry")), "tracking"
    ),
    "archive": Area(18, ("archive.py",), "record", "damage folder"),
    "seeds": Area(8, ("seeds.py",), "seeds", "confirm '-k not (audit or last or cost)'"),
}
PRELOADED = "hypothesis numpy optuna pandas scipy.stats"
"""Heavy imports, made once: all tests run in forks of this process."""
MEMORY = 12 * 2**30
"""Bytes of address space for the tests of a mutant."""
PER_STATEMENT = 2

SWAPS = "Lt LtE, Gt GtE, Eq NotEq, Is IsNot, In NotIn, And Or, Add Sub, Mult Div, FloorDiv Div, Mod Mult, Pow Mult"
SWAPS += ", MatMult Mult, USub UAdd, min max, any all, minimum maximum, argmin argmax, startswith endswith, floor ceil"
OTHER = {a: b for pair in SWAPS.split(", ") for a, b in (pair.split(), pair.split()[::-1])}
BLOCKS = ("body", "orelse", "handlers", "finalbody", "decorator_list")
Mutant = dict[str, str]


class Site(NamedTuple):
    """A statement of the package; `source` is its text without the statements inside it."""

    path: Path
    tree: ast.Module
    block: list[ast.stmt]
    position: int
    function: str
    source: str

    def module_with(self, mutated: str) -> str:
        """Return the module's text with this statement changed."""
        old, new = self.block[self.position], ast.parse(mutated).body[0]
        for field in set(BLOCKS) & set(new._fields):
            setattr(new, field, getattr(old, field))
        self.block[self.position] = new
        text = ast.unparse(self.tree)
        self.block[self.position] = old
        return f"{text}\n"


def sites(package: Path, area: str) -> list[Site]:
    """Return all statements of an area."""
    paths = sorted(path for pattern in AREAS[area].modules for path in package.glob(pattern))
    trees = {path: ast.parse(path.read_text("utf-8")) for path in paths}
    return [site for path, tree in trees.items() for site in _below(path, tree, tree, "")]


def _below(path: Path, tree: ast.Module, node: ast.AST, function: str) -> Iterator[Site]:
    for block in (getattr(node, field, []) for field in BLOCKS[:4]):
        for position, inner in enumerate(block if isinstance(block, list) else []):
            name = getattr(inner, "name", None) if isinstance(inner, ast.stmt) else None
            below = ".".join(filter(None, (function, name)))
            if isinstance(inner, ast.stmt) and not isinstance(inner, ast.Try | ast.Import | ast.ImportFrom):
                yield Site(path, tree, block, position, below, _header(inner))
            yield from _below(path, tree, inner, below)


def _header(statement: ast.stmt) -> str:
    copy = ast.parse(ast.unparse(statement)).body[0]
    for field in set(BLOCKS) & set(copy._fields):
        setattr(copy, field, [ast.Pass()] if field == "body" else [])
    return ast.unparse(copy)


def mutations(source: str) -> Iterator[tuple[str, str]]:
    """Yield each kind of change to a statement, and the changed text."""
    statement = ast.parse(source).body[0]
    for part in list(_parts(statement)):
        for kind, fields in _changes(part):
            before = {field: getattr(part, field) for field in fields}
            vars(part).update(fields)
            text = ast.unparse(statement)
            vars(part).update(before)
            if text != source:
                yield kind, text
    match statement:
        case ast.Raise() | ast.AugAssign() | ast.Break() | ast.Continue() | ast.Expr(ast.Call()):
            yield "statement", "pass"
        case ast.Assign([ast.Attribute() | ast.Subscript()]):
            yield "statement", "pass"


def _parts(node: ast.AST) -> Iterator[ast.AST]:
    """Yield a node and all below it, except plain annotations."""
    yield node
    for field, value in ast.iter_fields(node):
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, ast.AST) and (
                field not in {"annotation", "returns"} or "Annotated" in ast.unparse(child)
            ):
                yield from _parts(child)


def _changes(node: ast.AST) -> Iterator[tuple[str, dict[str, Any]]]:  # noqa: C901, PLR0912  # one table
    """Yield the kind of each change to a node, and the node's changed fields."""
    match node:
        case ast.Compare(ops=ops):
            for i, op in enumerate(ops):
                yield "comparison", {"ops": [*ops[:i], _other(op), *ops[i + 1 :]]}
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            yield "not", {"operand": ast.UnaryOp(ast.Not(), operand)}
        case ast.BoolOp(op=op):
            yield "boolean", {"op": _other(op)}
        case ast.BinOp(op=op) | ast.AugAssign(op=op) | ast.UnaryOp(op=op) if type(op).__name__ in OTHER:
            yield "arithmetic", {"op": _other(op)}
        case ast.If(test=test) | ast.While(test=test):
            yield "not", {"test": ast.UnaryOp(ast.Not(), test)}
        case ast.IfExp(body=body, orelse=orelse):
            yield "branches", {"body": orelse, "orelse": body}
        case ast.Constant(value=bool(value)):
            yield "constant", {"value": not value}
        case ast.Constant(value=int(value)):
            yield "constant", {"value": value + 1}
        case ast.Constant(value=float(value)):
            yield "constant", {"value": value * 2 or 1.0}
        case ast.Name(id=name) if name in OTHER:
            yield "name", {"id": OTHER[name]}
        case ast.Attribute(attr=name) if name in OTHER:
            yield "name", {"attr": OTHER[name]}
        case ast.Call(keywords=keywords):
            for i, keyword in enumerate(keywords):
                if keyword.arg:
                    yield "argument", {"keywords": keywords[:i] + keywords[i + 1 :]}
        case ast.Slice(lower=lower, upper=upper):
            yield from (("slice", {end: None}) for end, old in (("lower", lower), ("upper", upper)) if old)
        case ast.comprehension(ifs=[_, *_]):
            yield "filter", {"ifs": []}
        case ast.Return(value=ast.AST()):
            yield "return", {"value": ast.Constant(None)}


def _other(op: ast.AST) -> Any:  # noqa: ANN401  # an operator of the same kind
    return getattr(ast, OTHER[type(op).__name__])()


def draw(package: Path, mutants: list[Mutant], seed: int) -> None:
    """Add mutants to the list until each area has its number: all kinds alike, few of one statement."""
    for area, (number, *_) in AREAS.items():
        kinds: dict[str, list[Mutant]] = defaultdict(list)
        for site in sites(package, area):
            place = {"area": area, "module": site.path.relative_to(package).as_posix(), "function": site.function}
            for kind, mutated in mutations(site.source):
                kinds[kind].append({**place, "kind": kind, "source": site.source, "mutated": mutated})
        for ways in kinds.values():
            random.Random(f"{seed} {area}").shuffle(ways)  # noqa: S311  # a choice, no secret
        chosen = [mutant for mutant in mutants if mutant["area"] == area]
        while len(chosen) < number and any(kinds.values()):
            for ways in filter(None, kinds.values()):
                mutant = ways.pop()
                same = [other for other in chosen if other["source"] == mutant["source"]]
                if mutant not in same and len(same) < PER_STATEMENT and len(chosen) < number:
                    chosen.append(mutant)
                    mutants.append(mutant)


def find(package: Path, mutant: Mutant) -> Site | None:
    """Find the statement of a mutant by its text: in its function, or the only one in its area."""
    same = [site for site in sites(package, mutant["area"]) if site.source == mutant["source"]]
    name = mutant["function"].rpartition(".")[2]
    here = [site for site in same if site.function.rpartition(".")[2] == name]
    return next(iter(here or (same if len(same) == 1 else [])), None)


class Limit(NamedTuple):
    """How long tests may take."""

    seconds: float
    processor: float
    """Seconds of a processor, for one process."""

    def set(self) -> None:
        """Set the processor time of this process."""
        if self.processor < math.inf:
            resource.setrlimit(resource.RLIMIT_CPU, (math.ceil(self.processor),) * 2)


LONG = Limit(3600, 3600)


def spent() -> Limit:
    """Return the time, and what ended processes took."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return Limit(time.monotonic(), usage.ru_utime + usage.ru_stime)


def patience(before: Limit) -> Limit:
    """Return five times what was spent since then, and some more."""
    now = spent()
    return Limit(5 * (now.seconds - before.seconds) + 30, 5 * (now.processor - before.processor) + 10)


class Tests:
    """The tests, in a private copy of the tree."""

    def __init__(self, tree: Path, folder: Path, verdicts: Path) -> None:
        self._copy, self._folder, self._verdicts = folder / "tree", folder, verdicts
        self._failed, self._times = folder / "failed", itertools.count(1)
        self._limits: dict[str, Limit] = {}
        (folder / "step").mkdir()
        names = subprocess.check_output(["git", "ls-files", "-z"], cwd=tree, text=True)  # noqa: S607
        for name in names.split("\0")[:-1]:
            (self._copy / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(tree / name, self._copy / name)

    def judge_functions(self, area: str, mutants: list[Mutant]) -> None:
        """Load the quick tests of an area once and run them for each mutant; write which mutants they kill."""
        self._run(AREAS[area].quick, Limit(math.inf, math.inf), Served(self, mutants))

    def judge(self, mutant: Mutant) -> None:
        """Run the quick tests and then the slow tests of a mutant in processes that load it; write the verdict."""
        if (site := self.find(mutant)) is None:
            self.write(mutant, "lost", "", time.monotonic())
            return
        failed, start = "", time.monotonic()
        for tests in filter(None, AREAS[mutant["area"]][2:]):
            limit = self._limits.get(tests) or self._limit(tests)
            with self.changed(site, mutant):
                failed = failed or self._run(tests, limit)
        self.write(mutant, "killed" if failed else "survived", failed, start)

    def find(self, mutant: Mutant) -> Site | None:
        """Find the statement of a mutant in the copy."""
        return find(self._copy / "netcore", mutant)

    def write(self, mutant: Mutant, verdict: str, failed: str, start: float) -> None:
        """Append a verdict."""
        row = {**mutant, "verdict": verdict, "by": failed, "seconds": round(time.monotonic() - start, 1)}
        with self._verdicts.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")

    @contextmanager
    def changed(self, site: Site, mutant: Mutant) -> Iterator[None]:
        """Change a statement in the copy; the file's time is one that no other mutant's compiled file has."""
        before, stat = site.path.read_bytes(), site.path.stat()
        site.path.write_text(site.module_with(mutant["mutated"]), encoding="utf-8")
        os.utime(site.path, (next(self._times),) * 2)
        try:
            yield
        finally:
            site.path.write_bytes(before)
            os.utime(site.path, (stat.st_atime, stat.st_mtime))

    def wait(self, child: int, limit: Limit) -> str:
        """Wait for a fork; return the first failed test, `timeout` or the exit status; nothing if all tests passed."""
        end, ended, status = time.monotonic() + limit.seconds, 0, 0
        while not ended and time.monotonic() < end:
            time.sleep(0.02)
            ended, status = os.waitpid(child, os.WNOHANG)
        with suppress(ProcessLookupError):
            os.killpg(child, signal.SIGKILL)
        if not ended:
            os.waitpid(child, 0)
            return "timeout"
        failed = self._failed.read_text("utf-8") if self._failed.exists() else f"exit status {status}"
        self._failed.unlink(missing_ok=True)
        return failed if status else ""

    def _limit(self, tests: str) -> Limit:
        """Return how long tests may take, and check that they pass without a mutant."""
        start = spent()
        if failed := self._run(tests, LONG):
            raise RuntimeError(f"{tests}: fails without a mutant: {failed}")
        self._limits[tests] = patience(start)
        return self._limits[tests]

    def _run(self, tests: str, limit: Limit, *plugins: object) -> str:
        child = os.fork()
        if child:
            return self.wait(child, limit)
        os.setsid()
        os.chdir(self._copy)
        os.environ["PYTHONPATH"] = sys.path[0] = str(self._copy)
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
        limit.set()
        silent = os.open(self._folder / "output", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(silent, 1)
        os.dup2(silent, 2)
        words = [word if word.startswith("-") else f"tests/test_{word}.py" for word in shlex.split(tests)]
        options = ["-q", "-p", "no:cacheprovider", f"--basetemp={self._folder / 'tmp'}"]
        options += ["-W", "ignore::pytest.PytestAssertRewriteWarning"]
        keep = [] if "step" in words[0] else [kept_step(self._folder / "step")]
        with suppress(BaseException):  # this process must not continue as a copy of the other
            pytest.main([*options, *words], plugins=[FirstFailure(self._failed), *keep, *plugins])
        os._exit(4)


class FirstFailure:
    """Ends the process at the first failure, which it writes to a file."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """End with status 1 if a test has failed."""
        if report.failed:
            self._file.write_text(f"{report.nodeid} {str(report.longrepr)[-200:]}", encoding="utf-8")
            os._exit(1)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """End with status 1 if a module cannot be loaded."""
        self.pytest_runtest_logreport(report)  # type: ignore[arg-type]

    def pytest_sessionfinish(self, exitstatus: int) -> None:
        """End with pytest's status."""
        os._exit(exitstatus)


class Served:
    """Runs the loaded tests once for each mutant, in a fork in which the mutant's function is replaced."""

    def __init__(self, tests: Tests, mutants: list[Mutant]) -> None:
        self._tests, self._mutants = tests, mutants

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self) -> bool | None:
        """Return None in a fork, whose tests pytest then runs."""
        before = spent()
        if not (child := os.fork()):
            self._begin([], LONG)
            return None
        if self._tests.wait(child, LONG):
            return True  # they fail without a mutant; `Tests.judge` raises
        limit = patience(before)
        for mutant in self._mutants:
            site, start = self._tests.find(mutant), time.monotonic()
            replacements = _replacements(site, mutant["mutated"]) if site else []
            if site and replacements:
                with self._tests.changed(site, mutant):
                    if not (child := os.fork()):
                        self._begin(replacements, limit)
                        return None
                    failed = self._tests.wait(child, limit)
                if failed:
                    self._tests.write(mutant, "killed", failed, start)
        return True

    def _begin(self, replacements: list[tuple[FunctionType, CodeType]], limit: Limit) -> None:
        os.setsid()
        limit.set()
        for function, code in replacements:
            function.__code__ = code


def _replacements(site: Site, mutated: str) -> list[tuple[FunctionType, CodeType]]:
    """Return the loaded functions that a mutant changes, and their new code; nothing where that is not all."""
    if isinstance(site.block[site.position], ast.FunctionDef | ast.ClassDef):
        return []  # default arguments are not part of the code
    codes = [compile(site.module_with(mutated), str(site.path), "exec")]
    for code in codes:
        codes += [inner for inner in code.co_consts if isinstance(inner, CodeType)]
    loaded = [found for found in gc.get_objects() if isinstance(found, FunctionType)]
    here = [f for f in loaded if f.__code__.co_filename == str(site.path) and "<" not in f.__code__.co_qualname]
    names = {f.__code__.co_qualname for f in here if f"{site.function}.".startswith(f"{f.__code__.co_qualname}.")}
    new = [code for code in codes if code.co_qualname in names]
    old = [f for f in here if f.__code__.co_qualname in names]
    if len(new) != 1 or any(f.__code__.co_freevars != new[0].co_freevars for f in old):
        return []
    return [(f, new[0]) for f in old]


def kept_step(folder: Path) -> ModuleType:
    """Return a plugin that keeps the compiled training step from one run of the tests to the next."""

    @pytest.fixture(autouse=True, scope="session")
    def compiled_step(plain_environment: None) -> Iterator[None]:
        del plain_environment  # it has set the cache
        from netcore.training.step import code_folder  # of the tree under test

        shutil.copytree(folder, code_folder(), dirs_exist_ok=True)
        yield
        shutil.copytree(code_folder(), folder, dirs_exist_ok=True)

    plugin = ModuleType("kept_step")  # pytest looks for fixtures in modules
    vars(plugin).update(compiled_step=compiled_step)
    return plugin


def read(verdicts: Path) -> list[dict[str, Any]]:
    """Load the verdicts so far."""
    return [json.loads(line) for line in verdicts.read_text("utf-8").splitlines()]


def report(rows: list[dict[str, Any]]) -> None:
    """Print the share of killed mutants by area, and the survivors."""
    counts = Counter((area, row["verdict"]) for row in rows for area in (row["area"], "all"))
    for area in (*AREAS, "all"):
        killed, survived, lost = (counts[area, verdict] for verdict in ("killed", "survived", "lost"))
        share = killed / max(killed + survived, 1)
        print(f"{area:10} {killed:4} of {killed + survived:4} killed, {share:6.1%}; lost: {lost}")  # noqa: T201
    for row in rows:
        if row["verdict"] != "killed":
            print(f"\n{row['verdict']}: {row['module']}, {row['function']}\n- {row['source']}\n+ {row['mutated']}")  # noqa: T201


def main() -> None:
    """Draw mutants if there is no list, judge those without a verdict, and print the shares."""
    parser = argparse.ArgumentParser(description="Change one statement of netcore at a time: a test must fail.")
    parser.add_argument("mutants", type=Path, help="the list")
    parser.add_argument("verdicts", type=Path, help="one JSON line for each mutant")
    parser.add_argument("--tree", type=Path, default=Path(__file__).parents[1], help="the checkout to test")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--area", choices=AREAS, action="append", default=[], help="judge only this area")
    parser.add_argument("--fill", action="store_true", help="replace listed mutants whose statement is gone")
    options = parser.parse_args()
    package = options.tree / "netcore"
    mutants: list[Mutant] = json.loads(options.mutants.read_text("utf-8")) if options.mutants.exists() else []
    if options.fill or not mutants:
        mutants = [mutant for mutant in mutants if find(package, mutant)]
        draw(package, mutants, options.seed)
        options.mutants.write_text(json.dumps(mutants, indent=1), encoding="utf-8")
    os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
    for name in PRELOADED.split():
        importlib.import_module(name)
    options.verdicts.touch()

    def left(areas: Iterable[str]) -> list[Mutant]:
        done = read(options.verdicts)
        mine = (mutant for mutant in mutants if mutant["area"] in areas)
        return [mutant for mutant in mine if not any(mutant.items() <= row.items() for row in done)]

    with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
        tests = Tests(options.tree, Path(folder), options.verdicts.absolute())
        for area in options.area or AREAS:
            if left([area]):
                tests.judge_functions(area, left([area]))
        for mutant in left(options.area or AREAS):
            tests.judge(mutant)
    report(read(options.verdicts))


if __name__ == "__main__":
    main()
