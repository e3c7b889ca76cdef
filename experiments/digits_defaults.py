"""Question: which settings of studies/digits.toml find a good net for every split and seed?

Command: .venv/bin/python experiments/digits_defaults.py [VARIANT ...] [--splits 0-4] [--seeds 0-2]
Takes:   about 2 minutes a variant on 2 cores

A single run says little: with 359 test rows and an accuracy of 0.97, the standard error is 0.9 percentage points. So
each variant runs over five splits of the data and three seeds of the search. What counts is the worst and the median
of these 15, never the best; a promising variant is tried on other splits. Nothing is tracked.
"""

import argparse
import json
import statistics
import sys
import tempfile
import time
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).parent))  # `python -P` leaves it out

from measure import DIGITS, numbers

from netcore import load_spec, run_study

TARGET_VALIDATION, TARGET_TEST = 0.97, 0.96

Changes = dict[str, dict[str, Any]]
FIRST = {"validation": 0.2, "test": 0.2}
VARIANTS: dict[str, Changes] = {
    **{f"batch {size}": {"training": {"batch_size": size}, "data": FIRST} for size in (100, 50, 20)},
    "shares 0.15": {"training": {"batch_size": 100}, "data": {"validation": 0.15, "test": 0.15}},
}
"""By name: the settings that replace those of the study file."""


class Outcome(NamedTuple):
    """What one whole search found."""

    val_accuracy: float
    val_loss: float
    test_accuracy: float
    seconds: float


def outcome(changes: Changes, *, split: int, seed: int) -> Outcome:
    """Run one search in a temporary folder."""
    spec = load_spec(DIGITS)
    settings = spec.model_dump()
    settings["data"]["seed"], settings["study"]["seed"] = split, seed
    for table, keys in changes.items():
        settings[table] |= keys
    spec = type(spec).model_validate(settings)
    with tempfile.TemporaryDirectory() as results:
        begun = time.perf_counter()
        trials = run_study(spec, results=results).trials
        seconds = time.perf_counter() - begun
        test = json.loads((Path(results) / spec.name / "test.json").read_text())
    winner = trials[trials["trial"] == test["trial"]].iloc[0]
    return Outcome(winner["val_accuracy"], winner["val_loss"], test["accuracy"], seconds)


def spread(values: list[float]) -> str:
    """Return the least, the median and the greatest."""
    return " ".join(f"{value:.4f}" for value in (min(values), statistics.median(values), max(values)))


def main() -> None:
    """Run the variants that are named, or all; print a line for each search, then a line for each variant."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("variants", nargs="*", metavar="VARIANT", help=", ".join(map(repr, VARIANTS)))
    parser.add_argument("--splits", type=numbers, default=range(5), help="seeds of the data")
    parser.add_argument("--seeds", type=numbers, default=range(3), help="seeds of the study")
    asked = parser.parse_args()
    summary = [f"{'variant':<24} {'val accuracy':<20} {'val loss':<20} {'test accuracy':<20} good   seconds"]
    for name in asked.variants or VARIANTS:
        outcomes = []
        for split, seed in product(asked.splits, asked.seeds):
            outcomes.append(one := outcome(VARIANTS[name], split=split, seed=seed))
            values = f"{one.val_accuracy:.4f} {one.val_loss:.4f} {one.test_accuracy:.4f} {one.seconds:5.1f} s"
            print(f"{name:<24} split {split} seed {seed}: {values}", flush=True)
        columns = (spread([getattr(one, key) for one in outcomes]) for key in Outcome._fields[:3])
        reached = [one.val_accuracy >= TARGET_VALIDATION and one.test_accuracy >= TARGET_TEST for one in outcomes]
        good = f"{sum(reached):>2}/{len(outcomes)}"
        seconds = statistics.median(one.seconds for one in outcomes)
        summary.append(f"{name:<24} " + " ".join(f"{column:<20}" for column in columns) + f" {good}  {seconds:5.1f} s")
    print("\n" + "\n".join(summary))


if __name__ == "__main__":
    main()
