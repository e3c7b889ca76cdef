"""What is done once: whose weights are kept, when all trials are committed; what the test set says, when one net ships.

`settle_weights` makes the kept weights those of the study, whatever order the trials returned in: weights that are
missing come back by training, which repeats bit for bit. `read_test_set` is the only place that looks at the test set.
"""

import json
from collections.abc import Iterator
from typing import Any

import numpy as np

from netcore.core.net import predict
from netcore.data import Dataset
from netcore.errors import RecordError
from netcore.files import write_atomically
from netcore.study.confirm import Shipped
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


def read_test_set(shipped: Shipped, digest: str, folder: StudyFolder) -> dict[str, Any]:
    """Judge the net that ships on the test set, and keep the answer in test.json.

    Every reading counts: who looks twice, and chooses after the first look, has learned from the test set.
    """
    y = shipped.dataset.y_test
    predicted = predict(shipped.weights, shipped.dataset.X_test)
    C = shipped.dataset.classes
    confusion = np.bincount(C * y + predicted, minlength=C * C).reshape(C, C)
    before = folder.test_figures() or {}
    figures = {
        "candidate": shipped.candidate.name,
        "trial": shipped.candidate.trial,
        "seed": shipped.record.number,
        "digest": shipped.record.digest,
        "data_digest": digest,
        "rows": len(y),
        "right": int(np.trace(confusion)),
        "accuracy": float(np.trace(confusion) / len(y)),
        "readings": before.get("readings", 0) + 1,
        "confusion": confusion.tolist(),
    }
    write_atomically(folder.test, json.dumps(figures, indent=1).encode())
    return figures
