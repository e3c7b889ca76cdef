"""What is done once: whose weights are kept, when all trials are committed; what the test set says, when one net ships.

`settle_weights` makes the kept weights those of the study, whatever order the trials returned in: weights that are
missing come back by training, which repeats bit for bit. `read_test_set` is the only place that looks at the test set.
"""

import json
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import numpy as np

from netcore.confirm.confirmation import Chosen, Shipped
from netcore.core.net import predict
from netcore.data import Dataset
from netcore.data.preprocessing import chunks
from netcore.errors import RecordError
from netcore.files import write_atomically
from netcore.final.model import MODEL, Model, read_model
from netcore.question.spec import StudySpec
from netcore.records.folder import StudyFolder
from netcore.records.job import METRICS, State
from netcore.records.record import Record, ranked
from netcore.search.loop import KEPT, Notice
from netcore.workers.engine import Engine

__all__ = ["facts_of", "read_test_set", "settle_weights", "shipped_model"]


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


def shipped_model(folder: StudyFolder) -> Model | None:
    """Give the model that is there, if it is whole."""
    with suppress(RecordError):
        return read_model(folder.path / MODEL)
    return None


def read_test_set(shipped: Shipped, folder: StudyFolder) -> dict[str, Any]:
    """Judge the net that ships on the test set, and keep the answer in test.json.

    Every other net that is judged counts: who looks twice, and chooses after the first look, has learned from the test
    set.
    """
    y = shipped.dataset.y_test
    X = shipped.dataset.X_test
    predicted = np.concatenate([predict(shipped.weights, X[rows]) for rows in chunks(*X.shape)])
    C = shipped.dataset.classes
    confusion = np.bincount(C * y + predicted, minlength=C * C).reshape(C, C)
    before = folder.test_figures() or {}
    again = before.get("digest") == shipped.record.digest
    model = shipped_model(folder)  # it counts too: who deletes test.json has read the test set all the same
    readings = max(before.get("readings", 0), model.facts.get("test", {}).get("readings", 0) if model else 0)
    figures = {
        "candidate": shipped.candidate.name,
        "trial": shipped.candidate.trial,
        "seed": shipped.record.number,
        "digest": shipped.record.digest,
        "data_digest": shipped.record.job.data_digest,
        "rows": len(y),
        "right": int(np.trace(confusion)),
        "accuracy": float(np.trace(confusion) / len(y)),
        "readings": max(1, readings + (not again)),
        "confusion": confusion.tolist(),
    }
    write_atomically(folder.test, json.dumps(figures, indent=1).encode())
    return figures


def facts_of(spec: StudySpec, chosen: Chosen, confirmed: list[Record], test: dict[str, Any]) -> dict[str, Any]:
    """Give what is known of the net that ships."""
    record = chosen.record
    finished = [record.result.curve[-1] for record in confirmed if record.result.state is State.FINISHED]
    means = {name: sum(getattr(epoch, name) for epoch in finished) / len(finished) for name in METRICS[1::2]}
    return {
        "study": spec.name,
        "metric": spec.study.metric,
        "candidate": chosen.candidate.name,
        "trial": chosen.candidate.trial,
        "seed": record.number,
        "digest": record.digest,
        "data_digest": record.job.data_digest,
        "hyperparameters": record.job.hyperparameters._asdict(),
        "epochs": record.job.epochs,
        "confirmed": {**means, "seeds": len(finished)},
        "test": {name: test[name] for name in ("accuracy", "rows", "right", "readings")},
    }
