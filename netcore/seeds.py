"""Where every random number comes from: a seed, the number of a trial, and a purpose; never a global, never a worker.

Streams of different seeds, numbers or purposes are independent (`np.random.SeedSequence`), so the order of the draws
does not matter.
"""

from enum import IntEnum

import numpy as np


class Purpose(IntEnum):
    """The purpose of a stream. The numbers are part of every result: new ones are added, old ones never change."""

    WEIGHTS = 0
    BATCHES = 1
    SAMPLER = 2
    SPLIT = 3
    CONFIRM_WEIGHTS = 4
    CONFIRM_BATCHES = 5
    CONFIRM_SPLIT = 6
    AUDIT = 7
    REPLAY = 8


def seed_sequence(seed: int, number: int, purpose: Purpose, fold: int = 0) -> np.random.SeedSequence:
    """Return the entropy of trial `number` (0 if it belongs to no trial) for one purpose and one fold.

    The first fold has the entropy of a trial without folds, because SeedSequence pads the entropy with zeros to four
    words and a study file's seed, which is below 2³², is one word.
    """
    return np.random.SeedSequence((seed, number, purpose, fold))


def generator(seed: int, number: int, purpose: Purpose, fold: int = 0) -> np.random.Generator:
    """Return a new generator at the start of the stream."""
    return np.random.default_rng(seed_sequence(seed, number, purpose, fold))
