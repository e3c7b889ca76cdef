"""Question: how many epochs does each way of searching train until it is within 1 % of the best known validation loss?

Command: NETCORE_DATA=FOLDER .venv/bin/python experiments/samplers.py run OUT [STRATEGY ...] [--data digits]
         NETCORE_DATA=FOLDER .venv/bin/python experiments/samplers.py expect OUT        (the best known loss)
         .venv/bin/python experiments/samplers.py report OUT        (the tables, and docs/figures/samplers.png)
Takes:   an hour and a half on two busy cores for what is recorded; OUT keeps each search: an interrupted run goes on

FOLDER holds fashion-mnist with the four official files; the strategies of `gp` need the extra of that name.

Two data sets, one split of each: the best known loss is that of a split, so what varies from seed to seed is the study.
Each search is netcore's own (`History` proposes and gives the thresholds, `run_trial` trains, trial n is asked when
trial n - window is committed), without folder and workers. What it costs are the epochs of all trials, in the order of
their commits; what it has reached is the best of its finished trials. `random` and `qmc` do not look at results, so
what stopping makes of them follows from their full curves.

The best known loss is not the lowest that was ever seen, which is a lucky draw of weights: it is the lowest mean over
draws of weights and order that any setting is known to have.
"""

import argparse
import json
import multiprocessing
import os
from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple
from unittest.mock import patch

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from netcore import load_spec
from netcore.core.sgd import Epoch
from netcore.data import Dataset
from netcore.question.metrics import Metric
from netcore.question.spec import Hyperparameters, StoppingSection, StudySpec, dataset_of
from netcore.records.job import State, TrialJob, TrialResult
from netcore.results.canvas import BEST, GREY, INK, file_of, new_figure, set_scale, styled, titled
from netcore.search.history import History
from netcore.search.sampling import SAMPLER_ARGUMENTS
from netcore.search.stopping import Stopping
from netcore.workers.trial import run_trial

STUDY = Path(__file__).parent.parent / "studies" / "digits.toml"
FIGURE = Path(__file__).parent.parent / "docs" / "figures" / "samplers.png"
DRAWS = 4000
"""So often seeds are drawn anew for an interval."""
CANDIDATES, FIRST, FINALISTS, THEN = 60, 10, 5, 40
"""Of so many settings, on so many draws each, so many are trained on so many other draws."""
DRAWN_BY = 12345
"""The seed of those draws: no search has it."""
EXPECTED = "expected.json"
Floats = NDArray[np.float64]


class Data(NamedTuple):
    """A data set, how long its trials are, and how many of them a search has by its sampler."""

    section: dict[str, Any]
    training: dict[str, Any]
    rows: tuple[int, int]
    """The first so many rows to train on and to validate by."""
    trials: dict[str, int]


DATA = {
    "digits": Data(
        {"source": "digits"},
        {"epochs": 30, "batch_size": 20},
        (1079, 359),
        {"random": 400, "qmc": 256, "tpe": 150, "gp": 100},
    ),
    "fashion": Data(
        {"source": "idx", "path": "fashion-mnist", "validation": 5000},
        {"epochs": 20, "batch_size": 50},
        (1000, 500),
        {"random": 200, "qmc": 128, "tpe": 100, "gp": 100},
    ),
}


class Strategy(NamedTuple):
    """A way of searching: what differs from the study file's."""

    sampler: str = "tpe"
    stopping: dict[str, Any] | None = {"rungs": [3, 9], "keep": 0.5, "after": 10}  # noqa: RUF012
    window: int = 8
    arguments: dict[str, Any] = {}  # noqa: RUF012


def _stop(rungs: list[int], keep: float = 0.5, after: int = 10) -> dict[str, Any]:
    return {"rungs": rungs, "keep": keep, "after": after}


MAIN = {
    "random": Strategy("random", None),
    "random, stopping": Strategy("random"),
    "qmc": Strategy("qmc", None),
    "qmc, stopping": Strategy("qmc"),
    "tpe": Strategy("tpe", None),
    "tpe, stopping": Strategy(),
    "gp": Strategy("gp", None),
    "gp, stopping": Strategy("gp"),
}
TUNING = {
    "keep 0.33": Strategy(stopping=_stop([3, 9], 1 / 3)),
    "keep 0.25": Strategy(stopping=_stop([3, 9], 0.25)),
    "keep 0.15": Strategy(stopping=_stop([3, 9], 0.15)),
    "keep 0.25, after 5": Strategy(stopping=_stop([3, 9], 0.25, after=5)),
    "after 5": Strategy(stopping=_stop([3, 9], after=5)),
    "rungs 1, 3, 9": Strategy(stopping=_stop([1, 3, 9])),
    "rungs 1, 3, 9, keep 0.33": Strategy(stopping=_stop([1, 3, 9], 1 / 3)),
    "rungs 1, 3, 9, keep 0.25": Strategy(stopping=_stop([1, 3, 9], 0.25)),
    "rungs 2, 5, 12, keep 0.33": Strategy(stopping=_stop([2, 5, 12], 1 / 3)),
    "rungs 2, 6, keep 0.25": Strategy(stopping=_stop([2, 6], 0.25)),
    "rungs 2, 6, keep 0.25, after 5": Strategy(stopping=_stop([2, 6], 0.25, after=5)),
    "rungs 1, 2, 4, 8, 16": Strategy(stopping=_stop([1, 2, 4, 8, 16])),
    "startup 20": Strategy(arguments={"n_startup_trials": 20}),
    "no liar": Strategy(arguments={"constant_liar": False}),
    "candidates 96": Strategy(arguments={"n_ei_candidates": 96}),
    "keep 0.25, after 5, no liar": Strategy(stopping=_stop([3, 9], 0.25, after=5), arguments={"constant_liar": False}),
    "keep 0.25, after 5, window 4": Strategy(stopping=_stop([3, 9], 0.25, after=5), window=4),
    "keep 0.25, after 5, window 6": Strategy(stopping=_stop([3, 9], 0.25, after=5), window=6),
    "window 1": Strategy(window=1),
    "window 16": Strategy(window=16),
    "window 32": Strategy(window=32),
}
STRATEGIES = MAIN | TUNING
DEFAULT, BETTER = "tpe, stopping", "keep 0.25, after 5"


def spec_of(data: str, strategy: Strategy, seed: int) -> StudySpec:
    """Give the study of one search: the space of studies/digits.toml, whatever the data."""
    settings, its = load_spec(STUDY).model_dump(), DATA[data]
    settings["study"] |= {"sampler": strategy.sampler, "window": strategy.window, "seed": seed}
    settings["study"]["trials"] = its.trials[strategy.sampler]
    settings |= {"data": its.section, "training": its.training, "stopping": strategy.stopping}
    return StudySpec.model_validate(settings)


@cache
def dataset(data: str) -> Dataset:
    """Give the rows that are used."""
    whole, (train, validation) = dataset_of(spec_of(data, MAIN["random"], 0)), DATA[data].rows
    return replace(
        whole,
        X_train=whole.X_train[:train].copy(),
        y_train=whole.y_train[:train].copy(),
        X_val=whole.X_val[:validation].copy(),
        y_val=whole.y_val[:validation].copy(),
    )


def search(spec: StudySpec, rows: Dataset) -> Iterator[tuple[TrialJob, TrialResult]]:
    """Search as `netcore.search.loop` does, but for folder, workers and interruptions."""
    results: list[TrialResult] = []
    history, window = History(spec), spec.study.window
    for number in range(spec.study.trials):
        if number >= window:
            history.commit(number - window, results[number - window])
        job = TrialJob.of(spec, number, history.propose(number), history.thresholds(), rows.digest, "")
        result = replace(run_trial(job, rows), weights=None)
        results.append(result)
        yield job, result


class Search(NamedTuple):
    """What one search gave."""

    losses: Floats
    """Shape (trials, epochs): the validation loss, NaN where nothing was trained."""
    epochs: NDArray[np.int64]
    """Shape (trials,): how many were trained."""
    states: NDArray[np.str_]
    hyperparameters: Floats
    """Shape (trials, 4)."""

    @classmethod
    def of(cls, trials: list[tuple[TrialJob, TrialResult]]) -> "Search":
        """Take from the trials what is looked at."""
        losses = np.full((len(trials), trials[0][0].epochs), np.nan)
        for line, (_, result) in zip(losses, trials, strict=True):
            line[: len(result.curve)] = [epoch.val_loss for epoch in result.curve]
        epochs = np.array([len(result.curve) for _, result in trials])
        states = np.array([result.state.value for _, result in trials])
        return cls(losses, epochs, states, np.array([job.hyperparameters for job, _ in trials], float))

    @property
    def cost(self) -> Floats:
        """Epochs trained until each commit."""
        return np.cumsum(self.epochs).astype(float)

    @property
    def best(self) -> Floats:
        """The best finished trial's loss at each commit; infinite before the first."""
        finished = self.states == State.FINISHED
        values = np.full(len(finished), np.inf)
        values[finished] = np.nanmin(self.losses[finished], axis=1)
        return np.minimum.accumulate(values)


def path_of(out: Path, data: str, name: str, seed: int) -> Path:
    """Say where a search is kept."""
    return out / data / name / f"{seed}.npz"


def run_one(task: tuple[Path, str, str, int]) -> str:
    """Run a search and keep it, unless it is there already."""
    out, data, name, seed = task
    path = path_of(out, data, name, seed)
    if path.exists():
        return f"{path}: was there"
    strategy = STRATEGIES[name]
    spec, rows = spec_of(data, strategy, seed), dataset(data)
    with patch.dict(SAMPLER_ARGUMENTS[strategy.sampler], strategy.arguments), threadpool_limits(1):
        trials = list(search(spec, rows))
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".part.npz")
    kept = Search.of(trials)
    np.savez_compressed(partial, **kept._asdict())
    partial.rename(path)
    return f"{path}: best {kept.best[-1]:.4f}"


def run(out: Path, names: list[str], data: list[str], seeds: range) -> None:
    """Run the searches that are asked for, seed by seed, two at a time."""
    trained = [name for name in names if STRATEGIES[name].sampler in {"tpe", "gp"} or not STRATEGIES[name].stopping]
    tasks = [(out, one, name, seed) for seed, name, one in product(seeds, trained, data)]
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        for line in pool.imap_unordered(run_one, tasks):
            print(line, flush=True)


def best_loss(task: tuple[str, tuple[float, ...], int]) -> float:
    """Train a setting without stopping, on the draw of this number; give its best validation loss."""
    data, (learning_rate, hidden_size, reg, decay), number = task
    spec, rows = spec_of(data, MAIN["random"], DRAWN_BY), dataset(data)
    setting = Hyperparameters(learning_rate, int(hidden_size), reg, decay)
    with threadpool_limits(1):
        result = run_trial(TrialJob.of(spec, number, setting, {}, rows.digest, ""), rows)
    return Metric.VAL_LOSS.best_so_far(result.curve, len(result.curve))


def expect(out: Path, data: list[str], seeds: range) -> None:
    """Find the settings that are best in the mean over draws of weights and order, and keep what was found.

    The settings of the lowest losses seen are trained on `FIRST` draws each; those of the lowest means on `THEN` other
    draws, for the lowest of many means is too low.
    """
    for one in data:
        seen: dict[tuple[float, ...], float] = {}
        for searches in all_searches(out, one, STRATEGIES, seeds).values():
            for search in searches.values():
                finished = search.states == State.FINISHED
                losses = np.nanmin(search.losses[finished], axis=1)
                for setting, loss in zip(map(tuple, search.hyperparameters[finished]), losses, strict=True):
                    seen[setting] = min(float(loss), seen.get(setting, np.inf))
        settings = sorted(seen, key=seen.__getitem__)[:CANDIDATES]
        with multiprocessing.get_context("spawn").Pool(2) as pool:
            tasks = [(one, setting, number) for setting in settings for number in range(FIRST)]
            means = np.reshape(pool.map(best_loss, tasks), (-1, FIRST)).mean(axis=1)
            settings = [settings[at] for at in np.argsort(means)[:FINALISTS]]
            tasks = [(one, setting, number) for setting in settings for number in range(FIRST, FIRST + THEN)]
            losses = np.reshape(pool.map(best_loss, tasks), (-1, THEN))
        best = losses[losses.mean(axis=1).argmin()]
        found = {
            "mean over draws": float(best.mean()),
            "deviation of a draw": float(best.std(ddof=1)),
            "lowest seen": min(seen.values()),
        }
        (out / one / EXPECTED).write_text(json.dumps(found), encoding="utf-8")
        print(f"{one}: {found}")


def loaded(out: Path, data: str, name: str, seed: int) -> Search | None:
    """Give a search that is kept, or what stopping makes of one; None where there is none."""
    strategy = STRATEGIES[name]
    follows = strategy.sampler in {"random", "qmc"} and strategy.stopping
    path = path_of(out, data, strategy.sampler if follows else name, seed)
    if not path.exists():
        return None
    with np.load(path) as arrays:
        whole = Search(**{field: arrays[field] for field in Search._fields})
    return stopped(whole, StoppingSection(**follows), strategy.window) if follows else whole


def stopped(whole: Search, section: StoppingSection, window: int) -> Search:
    """Apply the stopping rule to full curves, as a search would have that knows of them when the window says so."""
    results: list[TrialResult] = []
    rule = Stopping(section, "val_loss")
    losses, epochs, states = whole.losses.copy(), whole.epochs.copy(), whole.states.astype("<U8")
    nothing = float("nan")
    for number, (line, length) in enumerate(zip(whole.losses, whole.epochs, strict=True)):
        if number >= window:
            rule.commit(results[number - window])
        curve = tuple(
            Epoch(n, nothing, nothing, float(loss), nothing, nothing) for n, loss in enumerate(line[:length], 1)
        )
        state = State(str(whole.states[number]))
        whole_epochs = length - (state is State.DIVERGED)
        for rung, threshold in rule.thresholds().items():
            if rung <= whole_epochs and Metric.VAL_LOSS.best_so_far(curve, rung) > threshold:
                state, curve = State.PRUNED, curve[:rung]
                break
        results.append(TrialResult(state, curve))
        states[number], epochs[number] = state.value, len(curve)
        losses[number, len(curve) :] = np.nan
    return Search(losses, epochs, states, whole.hyperparameters)


def all_searches(out: Path, data: str, names: Iterable[str], seeds: range) -> dict[str, dict[int, Search]]:
    """Give the searches that are kept, by strategy and seed; a strategy without any is left out."""
    found = {name: {seed: it for seed in seeds if (it := loaded(out, data, name, seed))} for name in names}
    return {name: searches for name, searches in found.items() if searches}


def reached(search: Search, loss: float) -> float:
    """Give the epochs trained when a finished trial is this good; infinite if none is."""
    hit = search.best <= loss
    return float(search.cost[hit.argmax()]) if hit.any() else np.inf


def until_hit(searches: Iterable[Search], loss: float) -> Floats:
    """Give the epochs until each search is this good, or until its end, and whether it is: shape (searches, 2)."""
    times = [(search.cost[-1], reached(search, loss)) for search in searches]
    return np.array([(min(end, hit), hit < np.inf) for end, hit in times], float)


def epochs_per_hit(times: Floats) -> Floats:
    """Give the epochs of all searches, shape (…, searches, 2), by the number of those that get there.

    It is what a search takes that begins anew, with another seed, whenever it has come to its end: the expected running
    time of Hansen et al. ("COCO: Performance Assessment", 2016; arXiv:1605.03560). Searches that never get there count.
    """
    epochs, hits = np.moveaxis(times.sum(axis=-2), -1, 0)
    found: Floats = np.where(hits > 0, epochs / np.maximum(hits, 1), np.inf)
    return found


def ratio(one: dict[int, Search], other: dict[int, Search], loss: float) -> tuple[float, float, float]:
    """Give one strategy's epochs for a hit by the other's, and the 95 % interval over seeds drawn anew, in pairs."""
    seeds = sorted(one.keys() & other.keys())
    mine, theirs = (until_hit([them[seed] for seed in seeds], loss) for them in (one, other))
    drawn = np.random.default_rng(0).integers(len(seeds), size=(DRAWS, len(seeds)))
    both = [(epochs_per_hit(mine[lines]), epochs_per_hit(theirs[lines])) for lines in (np.arange(len(seeds)), drawn)]
    (value, by), (values, bys) = both
    low, high = np.quantile(values[bys < np.inf] / bys[bys < np.inf], (0.025, 0.975), method="inverted_cdf")
    return float(value / by), float(low), float(high)


class Levels(NamedTuple):
    """Losses to reach on a data set."""

    near: float
    """1 % above the lowest mean over draws that a setting is known to have."""
    middle: float
    """What random search reaches in 100 trials, in the median over its seeds."""
    good: float
    """What it reaches in all of its trials."""


def levels(searches: dict[str, dict[int, Search]], expected: float) -> Levels:
    """Find the losses to reach."""
    plain = searches["random"].values()
    middle, good = (float(np.median([search.best[n] for search in plain])) for n in (99, -1))
    return Levels(1.01 * expected, middle, good)


def table(searches: dict[str, dict[int, Search]], to: Levels) -> str:
    """Give a table in Markdown: a line for each strategy."""
    head = (
        "| strategy | searches x trials | epochs, 100 trials | best loss of 100 trials: median (quartiles) "
        f"| to {to.near:.4f}: hits, median, epochs a hit, by random's | to {to.middle:.4f}: the same "
        f"| to {to.good:.4f}: the same |"
    )
    lines = [head, "|---" * 7 + "|"]
    for name, them in searches.items():
        each = list(them.values())
        epochs = np.mean([search.cost[99] for search in each])
        low, median, high = np.quantile([search.best[99] for search in each], (0.25, 0.5, 0.75))
        cells = [f"{len(each)} x {len(each[0].epochs)}", f"{epochs:.0f}", f"{median:.4f} ({low:.4f}, {high:.4f})"]
        for loss in to:
            cells.append(hitting(each, loss))
            if not cells[-1].startswith("0"):
                value, least, most = ratio(them, searches["random"], loss)
                cells[-1] += f"; **{value:.2f}** ({least:.2f} to {most:.2f})"
        lines.append(f"| {f'{DEFAULT}, ' if name in TUNING else ''}{name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def hitting(searches: list[Search], loss: float) -> str:
    """Say how many get there, after how many epochs in the median, which may lie beyond their end, and epochs a hit."""
    times = until_hit(searches, loss)
    hits, spent = int(times[:, 1].sum()), times[:, 0].sum()
    if not hits:
        return f"0; none in {spent:.0f} epochs"
    ends = np.sort(np.where(times[:, 1] > 0, times[:, 0], np.inf))
    middle = ends[(len(ends) - 1) // 2]
    median = f"{middle:.0f}" if middle < np.inf else f"> {min(search.cost[-1] for search in searches):.0f}"
    return f"{hits}; {median}; {epochs_per_hit(times):.0f}"


def tuned(searches: dict[str, dict[int, Search]], to: Levels, spent: float) -> str:
    """Give a second table: each setting beside the default, on the seeds that it has; `spent` is a number of epochs."""
    head = (
        f"| setting | seeds | epochs, 100 trials | best loss of 100 trials | after {spent:.0f} epochs "
        f"| epochs to {to.middle:.4f} |"
    )
    lines = [head, "|---" * 6 + "|"]
    default = searches[DEFAULT]
    for name in [DEFAULT, *sorted(searches.keys() & TUNING.keys(), key=list(TUNING).index)]:
        pairs = [(them, default[seed]) for seed, them in searches[name].items() if seed in default]
        mine, theirs = (list(them) for them in zip(*pairs, strict=True))
        epochs, by = (np.mean([search.cost[99] for search in them]) for them in (mine, theirs))
        cells = [f"{len(pairs)}", f"{epochs:.0f} ({epochs / by:.2f})"]
        for one, other in (
            ([search.best[99] for search in mine], [search.best[99] for search in theirs]),
            (best_after(mine, np.array([spent]))[:, 0], best_after(theirs, np.array([spent]))[:, 0]),
        ):
            apart = np.array(one) - np.array(other)
            error = apart.std(ddof=1) / np.sqrt(len(apart))
            cells.append(f"{np.mean(one):.4f} ({apart.mean():+.4f} ± {error:.4f})")
        value, low, high = ratio(searches[name], default, to.middle)
        lines.append(f"| {name} | {' | '.join(cells)} | {value:.2f} ({low:.2f} to {high:.2f}) |")
    return "\n".join(lines)


def best_after(searches: Iterable[Search], epochs: Floats) -> Floats:
    """Give the best so far after each number of epochs, shape (searches, epochs); NaN before the first commit."""
    lines = []
    for search in searches:
        best = np.concatenate([[np.nan], search.best])
        best[np.isinf(best)] = np.nan
        lines.append(best[np.searchsorted(search.cost, epochs, side="right")])
    return np.array(lines)


LOOKS: dict[str, dict[str, Any]] = {
    "random": {"color": GREY, "ls": (0, (4, 2))},
    "random, stopping": {"color": GREY},
    "tpe": {"color": "#0072B2", "ls": (0, (4, 2))},
    "tpe, stopping": {"color": "#0072B2", "label": "tpe, keep 0.5"},
    "qmc, stopping": {"color": "#CC79A7"},
    "gp, stopping": {"color": "#E69F00"},
    BETTER: {"color": BEST, "label": "tpe, keep 0.25, after 5"},
}
"""How each strategy is drawn: broken where nothing is stopped."""
TITLES = {"digits": "digits", "fashion": "Fashion-MNIST, 1,000 rows"}


@styled
def figure(of: dict[str, dict[str, dict[int, Search]]], to: dict[str, Levels]) -> Figure:
    """Draw the best so far against the epochs trained, a plot for each data set."""
    drawn = new_figure(5.2)
    plots = drawn.subplots(1, len(of), squeeze=False)[0]
    for axes, (data, searches) in zip(plots, of.items(), strict=True):
        first = float(DATA[data].training["epochs"])
        for name, look in LOOKS.items():
            if name not in searches:
                continue
            each = list(searches[name].values())
            epochs = np.geomspace(8 * first, min(search.cost[-1] for search in each), 400)
            low, median, high = np.nanquantile(best_after(each, epochs), (0.25, 0.5, 0.75), axis=0)
            axes.plot(epochs, median, lw=2, **look)
            if name in {"random", BETTER}:
                axes.fill_between(epochs, low, high, color=look["color"], alpha=0.16, lw=0)
        near = to[data].near
        axes.axhline(near, color=INK, lw=0.9, ls=(0, (1, 2)))
        at: dict[str, Any] = {"xycoords": ("axes fraction", "data"), "xytext": (0, 3), "textcoords": "offset points"}
        axes.annotate("best known mean + 1 %", (0.98, near), fontsize=9, ha="right", **at)
        every = DATA[data].trials["random"] * first
        set_scale(axes, "x", "log", 8 * first, every)
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
        axes.set(xlabel="epochs trained, all trials together", title=TITLES[data])
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(subs=[1, 1.5, 2, 3, 4, 5, 6, 7, 8]))
        axes.yaxis.set_minor_locator(NullLocator())
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    plots[0].set_ylabel("best validation loss so far (nats)")
    handles = [Line2D([], [], lw=2, **{"label": name, **look}) for name, look in LOOKS.items()]
    return titled(drawn, "The best found so far, by epochs spent: median and quartiles over seeds", handles)


def report(out: Path, data: list[str], seeds: range) -> None:
    """Print the tables, and draw the figure."""
    of = {one: all_searches(out, one, STRATEGIES, seeds) for one in data}
    to: dict[str, Levels] = {}
    for one, searches in of.items():
        expected = json.loads((out / one / EXPECTED).read_text(encoding="utf-8"))
        to[one] = levels(searches, expected["mean over draws"])
        spent = 50.0 * DATA[one].training["epochs"]
        main = {name: them for name, them in searches.items() if name in {*MAIN, BETTER}}
        print(f"\n{TITLES[one]}: best known", ", ".join(f"{name} {loss:.4f}" for name, loss in expected.items()))
        print(f"\n{table(main, to[one])}\n\n{tuned(searches, to[one], spent)}")
    FIGURE.write_bytes(file_of(figure(of, to), "png"))


def numbers(text: str) -> range:
    """Read `3` or `0-4`."""
    first, _, last = text.partition("-")
    return range(int(first), int(last or first) + 1)


def main() -> None:
    """Run searches, or say what follows from those that are kept."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["run", "expect", "report"])
    parser.add_argument("out", type=Path, metavar="OUT")
    parser.add_argument("strategies", nargs="*", metavar="STRATEGY", help=", ".join(map(repr, STRATEGIES)))
    parser.add_argument("--data", nargs="+", default=list(DATA), choices=list(DATA))
    parser.add_argument("--seeds", type=numbers, default=range(20))
    asked = parser.parse_args()
    if asked.what == "run":
        run(asked.out, asked.strategies or list(MAIN), asked.data, asked.seeds)
    elif asked.what == "expect":
        expect(asked.out, asked.data, asked.seeds)
    else:
        report(asked.out, asked.data, asked.seeds)


if __name__ == "__main__":
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    main()
