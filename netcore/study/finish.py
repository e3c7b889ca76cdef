"""What is done once, when all trials are committed: whose weights are kept, and what the test set says of the best.

`settle_weights` makes the kept weights those of the study, whatever order the trials returned in: weights that are
missing come back by training, which repeats bit for bit. `read_test_set` is the only place that looks at the test set.
"""

import json
from collections.abc import Iterator
from typing import Any

from netcore.core.net import evaluate
from netcore.data import Dataset
from netcore.errors import RecordError
from netcore.files import write_atomically
from netcore.study.engine import Engine
from netcore.study.folder import StudyFolder
from netcore.study.record import Record, ranked
from netcore.study.search import KEPT, Notice

__all__ = ["read_test_set", "settle_weights"]


def settle_weights(
    records: list[Record], folder: StudyFolder, engine: Engine, dataset: Dataset, *, keep: str
) -> Iterator[Notice]:
    """Keep the weights of the best finished trials (`best`) or of all that have any (`all`), and no others."""
    wanted = ranked(records)[:KEPT] if keep == "best" else [r for r in records if r.weights_sha256]
    for number in folder.kept_weights() - {record.number for record in wanted}:
        folder.drop_weights(number)
    missing = []
    for record in wanted:
        try:
            folder.read_weights(record)
        except RecordError:
            missing.append((record, engine.submit(record.job, dataset)))
    for record, future in missing:
        result = future.result().result
        again = Record.of(record.job, result, record.provenance)
        if result.weights is not None and again.digest == record.digest:
            folder.write_weights(record, result.weights)
        else:
            yield Notice(
                f"trial {record.number}: training it again gave other numbers here, so its weights are not kept"
            )


def read_test_set(best: Record, dataset: Dataset, folder: StudyFolder) -> dict[str, Any]:
    """Judge the best trial's net on the test set and keep the answer in test.json; asked again, it is not read again.

    Raises:
        RecordError: the best trial's weights are not there.
    """
    known = folder.test_figures()
    if known and known["digest"] == best.digest and known["data_digest"] == dataset.digest:
        return known
    weights = folder.read_weights(best)
    rows = len(dataset.y_test)
    _, accuracy = evaluate(weights, dataset.X_test, dataset.y_test)
    figures = {
        "trial": best.number,
        "digest": best.digest,
        "data_digest": dataset.digest,
        "rows": rows,
        "right": round(accuracy * rows),
        "accuracy": accuracy,
    }
    write_atomically(folder.test, json.dumps(figures, indent=1).encode())
    return figures
