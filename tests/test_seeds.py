"""Claims about netcore.seeds: a stream is a function of seed, number and purpose, and no two share their draws."""

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pydantic import ValidationError

from netcore.question.sections import StudySection
from netcore.seeds import Purpose, generator, seed_sequence

TRIPLES = st.tuples(st.integers(0, 2**63 - 1), st.integers(0, 2**20), st.sampled_from(Purpose))


def words(seed: int, number: int, purpose: Purpose) -> list[int]:
    """Return the first four words of a stream's entropy."""
    return [int(word) for word in seed_sequence(seed, number, purpose).generate_state(4)]


def test_purposes_keep_their_numbers() -> None:
    """The purposes' numbers are part of every result: new ones are added, these never change."""
    first = {"WEIGHTS": 0, "BATCHES": 1, "SAMPLER": 2, "SPLIT": 3, "CONFIRM_WEIGHTS": 4, "CONFIRM_BATCHES": 5}
    first |= {"CONFIRM_SPLIT": 6, "AUDIT": 7, "REPLAY": 8}
    assert first.items() <= {name: int(purpose) for name, purpose in Purpose.__members__.items()}.items()


@given(st.tuples(st.integers(0, 2**32 - 1), st.integers(0, 2**20), st.sampled_from(Purpose)), st.integers(1, 2**20))
@example((0, 0, Purpose.WEIGHTS), 1)
def test_the_first_fold_has_the_stream_of_a_trial_without_folds(triple: tuple[int, int, Purpose], fold: int) -> None:
    """Fold 0 is SeedSequence((seed, number, purpose)), to the last bit; any other fold has a stream of its own.

    This holds for every seed that a study file may have.
    """
    theirs = np.random.SeedSequence((triple[0], triple[1], int(triple[2])))
    assert seed_sequence(*triple, 0).generate_state(8).tolist() == theirs.generate_state(8).tolist()
    assert seed_sequence(*triple, fold).generate_state(8).tolist() != theirs.generate_state(8).tolist()
    assert generator(*triple).random(5).tolist() == np.random.default_rng(theirs).random(5).tolist()


@given(TRIPLES)
def test_a_generator_is_always_at_the_start(triple: tuple[int, int, Purpose]) -> None:
    """Each generator starts at the beginning of its stream, and the global generator is not used."""
    before = np.random.get_state(legacy=False)  # noqa: NPY002  # the global state is what must not change
    first = generator(*triple).random(3)
    generator(*triple).random(1000)
    assert generator(*triple).random(3).tobytes() == first.tobytes()
    np.testing.assert_equal(np.random.get_state(legacy=False), before)  # noqa: NPY002


@given(TRIPLES, TRIPLES)
@example((1 + 5 * 2**32, 0, Purpose.WEIGHTS), (1, 5, Purpose.WEIGHTS))
@example((2**32, 0, Purpose.WEIGHTS), (0, 1, Purpose.WEIGHTS))
@example((0, 1, Purpose.WEIGHTS), (0, 0, Purpose.BATCHES))
def test_different_streams_differ(one: tuple[int, int, Purpose], other: tuple[int, int, Purpose]) -> None:
    """Two streams with a different seed, number or purpose have different entropy, for every seed a study may have."""
    if one != other and all(allowed(seed) for seed, _, _ in (one, other)):
        assert words(*one) != words(*other)


def allowed(seed: int) -> bool:
    """Return whether a study file may have this seed."""
    try:
        return StudySection(seed=seed).seed == seed
    except ValidationError:
        return False


@pytest.mark.parametrize("seed", [0, 1, 2**32 - 1])
def test_usual_seeds_are_allowed(seed: int) -> None:
    """A study file may have any seed of 32 bits."""
    assert allowed(seed)
