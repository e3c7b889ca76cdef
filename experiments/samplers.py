"""Question: how many epochs does each way of searching train until it is within 1 % of the best known validation loss?

Command: NETCORE_DATA=FOLDER .venv/bin/python experiments/samplers.py run OUT [STRATEGY ...] [--data digits]
         NETCORE_DATA=FOLDER .venv/bin/python experiments/samplers.py expect OUT        (the best known loss)
         .venv/bin/python experiments/samplers.py report OUT [STRATEGY ...]     (tables, and docs/figures/samplers.png)
Takes:   an hour and a half on two busy cores for what is recorded; OUT keeps each search, so a second call continues

FOLDER contains fashion-mnist with the four official files; the strategies of `gp` need the extra of that name. A
STRATEGY is a sampler with options: "tpe", "tpe keep=0.25 after=5", "tpe keep=0.5 after=10 rungs=1,3,9 window=4
n_ei_candidates=96"; options that are neither the stopping rule's nor `window` are arguments of the sampler.

Two data sets, one split of each: the best known loss belongs to a split, so only the study's seed varies. Each search
is netcore's own (`History` proposes and computes the thresholds, `run_trial` trains, trial n is asked when trial
n - window is committed), without folder and workers. Its cost is the epochs of all trials, in the order of their
commits; its result is the best finished trial. `random` and `qmc` do not look at results, so that their searches with
stopping follow from their full curves.

The best known loss is not the lowest that was ever seen, which is a lucky draw of weights. It is the lowest mean over
draws of weights and order that any setting is known to have.
"""

import argparse
import json
import multiprocessing
import os
import sys
from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple
from unittest.mock import patch

sys.path.insert(0, str(Path(__file__).parent))  # `python -P` leaves it out

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator
from measure import DIGITS, PLOTS, numbers
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from netcore import load_spec
from netcore.core.sgd import Epoch
from netcore.data import Dataset
from netcore.question.hyperparameters import Hyperparameters
from netcore.question.metrics import Metric
from netcore.question.sections import StoppingSection
from netcore.question.spec import StudySpec, dataset_of
from netcore.records.job import State, TrialJob, TrialResult
from netcore.results.canvas import BEST, GREY, INK, file_of, new_figure, set_scale, styled, titled
from netcore.search.history import History
from netcore.search.samplers import SAMPLER_ARGUMENTS
from netcore.search.stopping import Stopping
from netcore.workers.trial import run_trial

DRAWS = 4000
"""Number of bootstrap samples of the seeds for an interval."""
CANDIDATES, FIRST, FINALISTS, THEN = 60, 10, 5, 40
"""The 60 best settings are trained on 10 draws each, and the 5 best of these on 40 other draws."""
DRAWN_BY = 12345
"""The seed of those draws: no search has it."""
EXPECTED = "expected.json"
Floats = NDArray[np.float64]
Searches = dict[str, dict[int, "Search"]]
"""By strategy and seed."""


class Data(NamedTuple):
    """A data set, the length of its trials, and how many of them a search has, by its sampler."""

    title: str
    section: dict[str, Any]
    training: dict[str, Any]
    rows: tuple[int, int]
    """How many of the first rows are trained on and validate."""
    trials: dict[str, int]


DIGITS_TRIALS = {"random": 400, "qmc": 256, "tpe": 150, "gp": 100}
FASHION = {"source": "idx", "path": "fashion-mnist", "validation": 5000}
FASHION_TRIALS = {"random": 200, "qmc": 128, "tpe": 100, "gp": 100}
DATA = {
    "digits": Data("digits", {"source": "digits"}, {"epochs": 30, "batch_size": 20}, (1079, 359), DIGITS_TRIALS),
    "fashion": Data("Fashion-MNIST", FASHION, {"epochs": 20, "batch_size": 50}, (1000, 500), FASHION_TRIALS),
}


class Strategy(NamedTuple):
    """A way of searching."""

    sampler: str
    stopping: dict[str, Any] | None
    window: int
    arguments: dict[str, Any]

    @classmethod
    def of(cls, name: str) -> "Strategy":
        """Parse a strategy's name."""
        sampler, *options = name.split()
        given: dict[str, Any] = {}
        for option in options:
            key, _, value = option.partition("=")
            given[key] = json.loads(f"[{value}]") if key == "rungs" else json.loads(value)
        stopping: dict[str, Any] = {key: given.pop(key) for key in ("rungs", "keep", "after") if key in given}
        return cls(sampler, {"rungs": [3, 9], **stopping} if stopping else None, given.pop("window", 8), given)

    @property
    def follows(self) -> bool:
        """Whether its searches follow from those without stopping."""
        return self.sampler in {"random", "qmc"} and self.stopping is not None


OLD, NOW = "keep=0.5 after=10", "keep=0.25 after=5"
"""The default of the stopping rule, before this experiment and since."""
BEFORE, DEFAULT = f"tpe {OLD}", f"tpe {NOW}"
MAIN = [f"{sampler}{stopping}" for sampler in ("random", "qmc", "tpe", "gp") for stopping in ("", f" {OLD}")] + [
    DEFAULT
]


def spec_of(data: str, strategy: Strategy, seed: int) -> StudySpec:
    """Return the study of one search: the space of studies/digits.toml, on any data."""
    settings, its = load_spec(DIGITS).model_dump(), DATA[data]
    settings["study"] |= {"sampler": strategy.sampler, "window": strategy.window, "seed": seed}
    settings["study"]["trials"] = its.trials[strategy.sampler]
    settings |= {"data": its.section, "training": its.training, "stopping": strategy.stopping}
    return StudySpec.model_validate(settings)


@cache
def dataset(data: str) -> Dataset:
    """Load the rows that are used."""
    whole, (train, validation) = dataset_of(spec_of(data, Strategy.of("random"), 0)), DATA[data].rows
    X_train, y_train, X_val, y_val = whole.X_train[:train], whole.y_train[:train], whole.X_val, whole.y_val
    parts: dict[str, Any] = {
        "X_train": X_train,
        "y_train": y_train,
        "X_val": X_val[:validation],
        "y_val": y_val[:validation],
    }
    return replace(whole, **{name: part.copy() for name, part in parts.items()})


def search(spec: StudySpec, rows: Dataset) -> Iterator[tuple[TrialJob, TrialResult]]:
    """Search as netcore does, without folder, workers and interruptions."""
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
    """What one search found."""

    losses: Floats
    """Shape (trials, epochs): the validation loss, NaN where nothing was trained."""
    epochs: NDArray[np.int64]
    """Shape (trials,): the number of epochs trained."""
    states: NDArray[np.str_]
    hyperparameters: Floats
    """Shape (trials, 4)."""

    @classmethod
    def of(cls, trials: list[tuple[TrialJob, TrialResult]]) -> "Search":
        """Collect the trials of a search."""
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
    """Return the file that keeps a search."""
    return out / data / name / f"{seed}.npz"


def run_one(task: tuple[Path, str, str, int]) -> str:
    """Run a search and keep it, unless it is kept already."""
    out, data, name, seed = task
    path, strategy = path_of(out, data, name, seed), Strategy.of(name)
    if path.exists():
        return f"{path}: exists"
    with patch.dict(SAMPLER_ARGUMENTS[strategy.sampler], strategy.arguments), threadpool_limits(1):
        kept = Search.of(list(search(spec_of(data, strategy, seed), dataset(data))))
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".part.npz")
    np.savez_compressed(partial, **kept._asdict())
    partial.rename(path)
    return f"{path}: best {kept.best[-1]:.4f}"


def run(out: Path, names: list[str], data: list[str], seeds: range) -> None:
    """Run the searches that are asked for, seed by seed, two at a time."""
    trained = [name for name in names if not Strategy.of(name).follows]
    tasks = [(out, one, name, seed) for seed, name, one in product(seeds, trained, data)]
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        for line in pool.imap_unordered(run_one, tasks):
            print(line, flush=True)


def best_loss(task: tuple[str, tuple[float, ...], int]) -> float:
    """Train a setting without stopping, on the draw with this number; return its best validation loss."""
    data, (learning_rate, hidden_size, reg, decay), number = task
    spec, rows = spec_of(data, Strategy.of("random"), DRAWN_BY), dataset(data)
    setting = Hyperparameters(learning_rate, int(hidden_size), reg, decay)
    with threadpool_limits(1):
        result = run_trial(TrialJob.of(spec, number, setting, {}, rows.digest, ""), rows)
    return Metric.VAL_LOSS.best_so_far(result.curve, len(result.curve))


def expect(out: Path, data: list[str], seeds: range) -> None:
    """Find the settings that are best in the mean over draws of weights and order, and keep what was found.

    The settings with the lowest losses seen are trained on `FIRST` draws each, those with the lowest means on `THEN`
    other draws: the lowest of many means is too low.
    """
    for one in data:
        seen: dict[tuple[float, ...], float] = {}
        kept = sorted(path.name for path in (out / one).iterdir() if path.is_dir())
        for searches in all_searches(out, one, kept, seeds).values():
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
        found = {"mean over draws": float(best.mean()), "deviation of a draw": float(best.std(ddof=1))}
        found["lowest seen"] = min(seen.values())
        (out / one / EXPECTED).write_text(json.dumps(found), encoding="utf-8")
        print(f"{one}: {found}")


def loaded(out: Path, data: str, name: str, seed: int) -> Search | None:
    """Load a search, or apply stopping to one that is kept; return None where there is none."""
    strategy = Strategy.of(name)
    path = path_of(out, data, strategy.sampler if strategy.follows else name, seed)
    if not path.exists():
        return None
    with np.load(path) as arrays:
        whole = Search(**{field: arrays[field] for field in Search._fields})
    return stopped(whole, StoppingSection(**strategy.stopping or {}), strategy.window) if strategy.follows else whole


def stopped(whole: Search, section: StoppingSection, window: int) -> Search:
    """Apply the stopping rule to full curves, with what a search knows of them at each trial."""
    results: list[TrialResult] = []
    rule = Stopping(section, Metric.VAL_LOSS)
    losses, epochs, states = whole.losses.copy(), whole.epochs.copy(), whole.states.astype("<U8")
    nan = float("nan")
    for number, (line, length) in enumerate(zip(whole.losses, whole.epochs, strict=True)):
        if number >= window:
            rule.commit(results[number - window])
        curve = tuple(Epoch(n, nan, nan, float(loss), nan, nan) for n, loss in enumerate(line[:length], 1))
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


def all_searches(out: Path, data: str, names: Iterable[str], seeds: range) -> Searches:
    """Load the searches that are kept; a strategy without any is left out."""
    found = {name: {seed: it for seed in seeds if (it := loaded(out, data, name, seed))} for name in names}
    return {name: searches for name, searches in found.items() if searches}


# What follows from the searches


def until_hit(searches: Iterable[Search], loss: float) -> Floats:
    """Return the epochs until each search has a finished trial this good, or until its end, and whether it has one.

    Shape (searches, 2).
    """
    found = []
    for search in searches:
        hit = search.best <= loss
        found.append((search.cost[hit.argmax() if hit.any() else -1], hit.any()))
    return np.array(found, float)


def epochs_per_hit(times: Floats) -> Floats:
    """Divide the epochs of all searches, shape (…, searches, 2), by the number of searches that reach the goal.

    This is what a search takes that starts again with another seed whenever it ends without a hit: the expected running
    time of Hansen et al. ("COCO: Performance Assessment", 2016; arXiv:1605.03560).
    """
    epochs, hits = np.moveaxis(times.sum(axis=-2), -1, 0)
    found: Floats = np.where(hits > 0, epochs / np.maximum(hits, 1), np.inf)
    return found


def ratio(one: dict[int, Search], other: dict[int, Search], loss: float) -> tuple[float, float, float]:
    """Divide one strategy's epochs per hit by the other's, on the same seeds; add the 95 % bootstrap interval."""
    seeds = sorted(one.keys() & other.keys())
    mine, theirs = (until_hit([searches[seed] for seed in seeds], loss) for searches in (one, other))
    drawn = np.random.default_rng(0).integers(len(seeds), size=(DRAWS, len(seeds)))
    values, bys = epochs_per_hit(mine[drawn]), epochs_per_hit(theirs[drawn])
    low, high = np.quantile(values[bys < np.inf] / bys[bys < np.inf], (0.025, 0.975), method="inverted_cdf")
    return float(epochs_per_hit(mine) / epochs_per_hit(theirs)), float(low), float(high)


class Levels(NamedTuple):
    """Losses to reach on a data set.

    `near` is 1 % above the lowest mean over draws that a setting is known to have; `middle` is what random search
    reaches in 100 trials, in the median over its seeds, and `good` what it reaches in all of its trials.
    """

    near: float
    middle: float
    good: float


def levels(searches: Searches, expected: float) -> Levels:
    """Compute the losses to reach."""
    plain = searches["random"].values()
    middle, good = (float(np.median([search.best[n] for search in plain])) for n in (99, -1))
    return Levels(1.01 * expected, middle, good)


def table(searches: Searches, to: Levels) -> str:
    """Return a table in Markdown: a line for each strategy."""
    head = (
        "| strategy | searches x trials | epochs, 100 trials | best loss of 100 trials: median (quartiles) "
        f"| to {to.near:.4f}: hits, median, epochs a hit, by random's | to {to.middle:.4f}: the same "
        f"| to {to.good:.4f}: the same |"
    )
    lines = [head, "|---" * 7 + "|"]
    for name, by_seed in searches.items():
        each = list(by_seed.values())
        low, median, high = np.quantile([search.best[99] for search in each], (0.25, 0.5, 0.75))
        cells = [f"{len(each)} x {len(each[0].epochs)}", f"{np.mean([search.cost[99] for search in each]):.0f}"]
        cells.append(f"{median:.4f} ({low:.4f}, {high:.4f})")
        for loss in to:
            cells.append(hitting(each, loss))
            if not cells[-1].startswith("0"):
                cells[-1] += "; **{:.2f}** ({:.2f} to {:.2f})".format(*ratio(by_seed, searches["random"], loss))
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def hitting(searches: list[Search], loss: float) -> str:
    """Describe how many searches reach a loss, after how many epochs in the median, and the epochs per hit."""
    times = until_hit(searches, loss)
    hits, spent = int(times[:, 1].sum()), times[:, 0].sum()
    if not hits:
        return f"0; none in {spent:.0f} epochs"
    ends = np.sort(np.where(times[:, 1] > 0, times[:, 0], np.inf))
    middle = ends[(len(ends) - 1) // 2]
    median = f"{middle:.0f}" if middle < np.inf else f"> {min(search.cost[-1] for search in searches):.0f}"
    return f"{hits}; {median}; {epochs_per_hit(times):.0f}"


def tuned(searches: Searches, to: Levels, spent: float) -> str:
    """Return a second table: each tuned setting and the old default, on the same seeds, and after `spent` epochs."""
    head = (
        f"| setting | seeds | epochs, 100 trials | best loss of 100 trials | after {spent:.0f} epochs "
        f"| epochs to {to.middle:.4f} |"
    )
    lines = [head, "|---" * 6 + "|"]
    for name in [BEFORE, *(name for name in searches if name not in MAIN or name == DEFAULT)]:
        pairs = [
            (search, searches[BEFORE][seed]) for seed, search in searches[name].items() if seed in searches[BEFORE]
        ]
        epochs, by = np.mean([(one.cost[99], other.cost[99]) for one, other in pairs], axis=0)
        cells = [f"{len(pairs)}", f"{epochs:.0f} ({epochs / by:.2f})"]
        after = [(best_after(pair, np.array([spent]))[:, 0]) for pair in pairs]
        for values in (np.array([(one.best[99], other.best[99]) for one, other in pairs]), np.array(after)):
            apart = values[:, 0] - values[:, 1]
            error = apart.std(ddof=1) / np.sqrt(len(apart))
            cells.append(f"{values[:, 0].mean():.4f} ({apart.mean():+.4f} ± {error:.4f})")
        cells.append("{:.2f} ({:.2f} to {:.2f})".format(*ratio(searches[name], searches[BEFORE], to.middle)))
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def best_after(searches: Iterable[Search], epochs: Floats) -> Floats:
    """Return the best loss after each number of epochs, shape (searches, epochs); NaN before the first commit."""
    lines = []
    for search in searches:
        best = np.concatenate([[np.nan], search.best])
        best[np.isinf(best)] = np.nan
        lines.append(best[np.searchsorted(search.cost, epochs, side="right")])
    return np.array(lines)


# The plot

LOOKS: dict[str, dict[str, Any]] = {
    "random": {"color": GREY, "ls": (0, (4, 2))},
    f"random {OLD}": {"color": GREY, "label": "random, keep 0.5"},
    "tpe": {"color": "#0072B2", "ls": (0, (4, 2))},
    BEFORE: {"color": "#0072B2", "label": "tpe, keep 0.5"},
    f"qmc {OLD}": {"color": "#CC79A7", "label": "qmc, keep 0.5"},
    f"gp {OLD}": {"color": "#E69F00", "label": "gp, keep 0.5"},
    DEFAULT: {"color": BEST, "label": "tpe, keep 0.25, after 5"},
}
"""How each strategy is drawn: dashed where nothing is stopped."""


@styled
def draw(of: dict[str, Searches], to: dict[str, Levels]) -> Figure:
    """Draw the best loss so far by the epochs trained, one panel for each data set."""
    drawn = new_figure(5.2)
    panels = drawn.subplots(1, len(of), squeeze=False)[0]
    for axes, (data, searches) in zip(panels, of.items(), strict=True):
        first = float(DATA[data].training["epochs"])
        for name, look in LOOKS.items():
            if name not in searches:
                continue
            each = list(searches[name].values())
            epochs = np.geomspace(8 * first, min(search.cost[-1] for search in each), 400)
            low, median, high = np.nanquantile(best_after(each, epochs), (0.25, 0.5, 0.75), axis=0)
            axes.plot(epochs, median, lw=2, **look)
            if name in {"random", DEFAULT}:
                axes.fill_between(epochs, low, high, color=look["color"], alpha=0.16, lw=0)
        near = to[data].near
        axes.axhline(near, color=INK, lw=0.9, ls=(0, (1, 2)))
        at: dict[str, Any] = {"xycoords": ("axes fraction", "data"), "xytext": (0, 3), "textcoords": "offset points"}
        axes.annotate("best known mean + 1 %", (0.98, near), fontsize=9, ha="right", **at)
        set_scale(axes, "x", "log", 8 * first, DATA[data].trials["random"] * first)
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
        axes.set(xlabel="epochs trained, all trials together", title=DATA[data].title, yscale="log")
        axes.yaxis.set_major_locator(LogLocator(subs=[1, 1.5, 2, 3, 4, 5, 6, 7, 8]))
        axes.yaxis.set_minor_locator(NullLocator())
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    panels[0].set_ylabel("best validation loss so far (nats)")
    handles = [Line2D([], [], lw=2, **{"label": name, **look}) for name, look in LOOKS.items()]
    return titled(drawn, "The best found so far, by epochs spent: median and quartiles over seeds", handles)


def report(out: Path, names: list[str], data: list[str], seeds: range) -> None:
    """Print the tables, and draw the plot."""
    of = {one: all_searches(out, one, dict.fromkeys([*MAIN, *names]), seeds) for one in data}
    to: dict[str, Levels] = {}
    for one, searches in of.items():
        expected = json.loads((out / one / EXPECTED).read_text(encoding="utf-8"))
        to[one] = levels(searches, expected["mean over draws"])
        main = {name: by_seed for name, by_seed in searches.items() if name in MAIN}
        print(f"\n{DATA[one].title}: best known", ", ".join(f"{name} {loss:.4f}" for name, loss in expected.items()))
        print(f"\n{table(main, to[one])}\n\n{tuned(searches, to[one], 50.0 * DATA[one].training['epochs'])}")
    (PLOTS / "samplers.png").write_bytes(file_of(draw(of, to), "png"))


def main() -> None:
    """Run searches, or report on those that are kept."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["run", "expect", "report"])
    parser.add_argument("out", type=Path, metavar="OUT")
    parser.add_argument("strategies", nargs="*", metavar="STRATEGY", help=", ".join(map(repr, MAIN)))
    parser.add_argument("--data", nargs="+", default=list(DATA), choices=list(DATA))
    parser.add_argument("--seeds", type=numbers, default=range(20))
    asked = parser.parse_args()
    if asked.what == "run":
        run(asked.out, asked.strategies or MAIN, asked.data, asked.seeds)
    elif asked.what == "expect":
        expect(asked.out, asked.data, asked.seeds)
    else:
        report(asked.out, asked.strategies, asked.data, asked.seeds)


if __name__ == "__main__":
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    main()
