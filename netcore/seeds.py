"""Where every random number comes from: a seed, the number of a trial, and a purpose; never a global, never a worker.

Streams of different seeds, numbers or purposes are independent (`np.random.SeedSequence`), so it does not matter who
draws first, or whether anybody draws at all.
"""

from enum import IntEnum

import numpy as np

__all__ = ["Purpose", "generator", "seed_sequence"]


class Purpose(IntEnum):
    """What a stream is for. The numbers are part of every result: new ones are added, old ones never change."""

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
    """Give the entropy of trial `number` (0 for what belongs to no trial) for one purpose, in one of its folds.

    The first fold's is that of a trial without folds: SeedSequence fills up to four words of entropy with zeros, and
    a seed below 2³² (a study file has no other) is one word.
    """
    return np.random.SeedSequence((seed, number, purpose, fold))


def generator(seed: int, number: int, purpose: Purpose, fold: int = 0) -> np.random.Generator:
    """Give a fresh generator at the start of that stream."""
    return np.random.default_rng(seed_sequence(seed, number, purpose, fold))
