"""Which rows train, which validate, which test.

The split is stratified: every class has its share in each part. It is drawn with the data's own seed, so studies with
different seeds compare on the same rows. An official test set, where there is one, is the test part; then only the
validation part is drawn.
"""

import warnings

import numpy as np

from netcore.data.dataset import IntArray, RawData
from netcore.errors import DataError
from netcore.seeds import Purpose, seed_sequence

Pair = tuple[IntArray, IntArray]
"""The training rows and the validation rows, as row numbers."""

_TRIES = 100
_SHARES = "set larger or smaller shares for data.validation and data.test"
_FOLDS = "set fewer data.folds, or remove the rows of small classes"


def split(
    raw: RawData, validation: float, test: float, folds: int | None, seed: int, draw: int | None
) -> tuple[list[Pair], IntArray]:
    """Return the row numbers, shape (n,), of each pair of training and validation part, and those of the test part.

    The arguments are those of `prepare`. Test rows count in the official test set, if there is one.

    Raises:
        DataError: a class has too few rows to be in every part.
    """
    _check_counts(raw, folds)
    states = [int(word) for word in seed_sequence(seed, 0, Purpose.SPLIT).generate_state(2)]
    try:
        rest, test_rows = _test_rows(raw, test, states[0])
        if folds and draw is None:
            pairs = _folds(raw, rest, folds, states[1])
        else:
            size = len(rest) // folds if folds else _number(validation, len(raw.y))
            pairs = [_one_pair(raw, rest, size, states[1], draw)]
    except (UserWarning, ValueError) as error:
        raise _cannot_be_split(raw, str(error), folds) from error
    test_labels = raw.y[test_rows] if raw.official_test is None else raw.official_test[1]
    for labels in (*(raw.y[part] for pair in pairs for part in pair), test_labels):
        if not _has_all_classes(raw, labels):
            raise _cannot_be_split(raw, "one has too few rows", folds)
    return pairs, test_rows


def _check_counts(raw: RawData, folds: int | None) -> None:
    """Check that every class has a row for each part or fold."""
    needed = (folds or 2) + (raw.official_test is None)
    counts = np.bincount(raw.y, minlength=len(raw.class_names))
    for name, count in zip(raw.class_names, counts, strict=True):
        if count < needed:
            rows = "row" if count == 1 else "rows"
            raise _cannot_be_split(raw, f"class {name!r} has {count} {rows}, {needed} are needed", folds)


def _test_rows(raw: RawData, test: float, state: int) -> Pair:
    """Return all rows but the test rows, and the test rows."""
    rows = np.arange(len(raw.y))
    if raw.official_test is not None:
        return rows, np.arange(len(raw.official_test[1]))
    return _drawn(raw, rows, _number(test, len(rows)), state)


def _drawn(raw: RawData, rows: IntArray, size: int, state: int) -> Pair:
    """Return a stratified draw from some rows: those that are left, and the `size` rows that are drawn."""
    from sklearn.model_selection import train_test_split  # noqa: PLC0415  # heavy: only here

    left, drawn = train_test_split(rows, test_size=size, stratify=raw.y[rows], random_state=state)
    return left, drawn


def _folds(raw: RawData, rest: IntArray, folds: int, state: int) -> list[Pair]:
    """Return the training and validation rows of each fold."""
    from sklearn.model_selection import StratifiedKFold  # noqa: PLC0415  # heavy: only here

    k_fold = StratifiedKFold(folds, shuffle=True, random_state=state)
    with warnings.catch_warnings(action="error", category=UserWarning):  # it warns of a class with too few rows
        return [(rest[train], rest[val]) for train, val in k_fold.split(rest, raw.y[rest])]


def _one_pair(raw: RawData, rest: IntArray, size: int, state: int, draw: int | None) -> Pair:
    """Return the training rows and `size` validation rows.

    If classes are small, about one draw in a thousand leaves one out; a pair that is drawn again has further tries.
    """
    states = [state] if draw is None else [draw, *np.random.SeedSequence(draw).generate_state(_TRIES)]
    for each in states:
        train, val = _drawn(raw, rest, size, int(each))
        if _has_all_classes(raw, raw.y[train]) and _has_all_classes(raw, raw.y[val]):
            break
    return train, val


def _has_all_classes(raw: RawData, labels: IntArray) -> bool:
    """Return whether each class is among some labels."""
    return len(np.unique(labels)) == len(raw.class_names)


def _number(part: float, rows: int) -> int:
    """Return the number of rows that a share or a number means."""
    return part if isinstance(part, int) else round(part * rows)


def _cannot_be_split(raw: RawData, why: str, folds: int | None) -> DataError:
    """Return the error of a split that leaves a class out of a part."""
    rule = f"cannot be split so that every class is in each part ({' '.join(why.split())})"
    return DataError.at(raw.place or raw.name, rule, remedy=_FOLDS if folds else _SHARES)
