"""The final model: the net that `predict`, MLflow and the report use, in model.npz.

It is the winner's net of its median seed: a typical net, not a lucky one. Records keep no weights of a confirmation, so
this net is trained once more, which repeats bit for bit. Then it reads the test set, and the answer goes to test.json.
No other code of netcore looks at the test set.
"""

import json
from contextlib import suppress
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from netcore.confirm.candidates import Candidate
from netcore.confirm.confirmation import Confirmed, split_of, winner_of
from netcore.core.net import predict
from netcore.core.params import Params
from netcore.data import Dataset
from netcore.data.preprocessing import chunks
from netcore.errors import RecordError, WorkError
from netcore.files import write_atomically
from netcore.final.model import MODEL, Model, read_model
from netcore.question.metrics import METRICS
from netcore.question.spec import StudySpec
from netcore.records.folder import StudyFolder
from netcore.records.job import State
from netcore.records.record import Record
from netcore.workers.engine import Engine


class FinalTraining(NamedTuple):
    """The training whose net is the final model."""

    candidate: Candidate
    record: Record


def final_training(confirmed: Confirmed) -> FinalTraining | None:
    """Return the winner's training of its median seed (of two, the one with the lower value); None without a winner."""
    winner = winner_of(confirmed)
    if winner is None:
        return None
    finished = (record for record in confirmed[winner] if record.result.state is State.FINISHED)
    by_value = sorted(finished, key=lambda record: record.result.value)
    return FinalTraining(winner, by_value[(len(by_value) - 1) // 2])


def write_final_model(spec: StudySpec, confirmed: Confirmed, folder: StudyFolder, engine: Engine) -> None:
    """Write model.npz as a confirmation determines it; a new final model reads the test set.

    Raises:
        WorkError: no worker can be started, or the training gave other numbers than its record.
    """
    final = final_training(confirmed)
    if final is None:
        return
    model, test = _stored_model(folder), folder.test_result()
    if model is None or test is None or not final.record.digest == model.facts.get("digest") == test.get("digest"):
        with split_of(spec, final.record.number) as dataset:
            weights = _train(spec, final, dataset, folder, engine)
            test = _read_test_set(final, weights, dataset, folder)
            names = (dataset.class_names, dataset.feature_names, dataset.image_shape)
            model = Model(weights, dataset.preprocessing, *names, {})
    facts = facts_of(spec, final, confirmed[final.candidate], test)
    if model.facts != facts:
        write_atomically(folder.path / MODEL, replace(model, facts=facts).to_bytes())


def facts_of(spec: StudySpec, final: FinalTraining, trained: list[Record], test: dict[str, Any]) -> dict[str, Any]:
    """Return the facts that model.npz holds: the model's origin, its confirmed means, its test accuracy.

    `trained` are all records of the winner; `test` is the content of test.json.
    """
    finished = [each.result.curve[-1] for each in trained if each.result.state is State.FINISHED]
    means = {name: sum(getattr(epoch, name) for epoch in finished) / len(finished) for name in METRICS[1::2]}
    return {
        "study": spec.name,
        "metric": str(spec.study.metric),
        **_origin(final),
        "hyperparameters": final.record.job.hyperparameters._asdict(),
        "epochs": final.record.job.epochs,
        "confirmed": {**means, "seeds": len(finished)},
        "test": {name: test[name] for name in ("accuracy", "rows", "right", "readings")},
    }


def result_on_test_set(final: FinalTraining, confusion: list[list[int]], readings: int) -> dict[str, Any]:
    """Return the content of test.json; `confusion` counts test rows by class (row) and predicted class (column)."""
    rows, right = sum(map(sum, confusion)), sum(row[place] for place, row in enumerate(confusion))
    judged = {"rows": rows, "right": right, "accuracy": right / rows, "readings": readings, "confusion": confusion}
    return _origin(final) | judged


def _origin(final: FinalTraining) -> dict[str, Any]:
    """Return which training gave the net: in the facts of model.npz and in test.json."""
    return {
        "candidate": final.candidate.name,
        "trial": final.candidate.trial,
        "seed": final.record.number,
        "digest": final.record.digest,
        "data_digest": final.record.job.data_digest,
    }


def _stored_model(folder: StudyFolder) -> Model | None:
    """Return the model in the study's folder; None if it is missing or damaged."""
    with suppress(RecordError):
        return read_model(folder.path / MODEL)
    return None


def _train(spec: StudySpec, final: FinalTraining, dataset: Dataset, folder: StudyFolder, engine: Engine) -> Params:
    """Train the final model once more on its split; return its weights."""
    record = final.record
    again = engine.submit(record.job, dataset).result()
    if again.digest != record.digest or again.result.weights is None:
        place = f"{spec.name}: {final.candidate.name}, seed {record.number}"
        rule = "training it again gave other numbers than its record"
        remedy = f"if another machine trained it, remove {folder.path / 'confirm'} and confirm again on this one"
        raise WorkError.at(place, rule, again.result.failure, remedy)
    return again.result.weights


def _read_test_set(final: FinalTraining, weights: Params, dataset: Dataset, folder: StudyFolder) -> dict[str, Any]:
    """Judge the final model on the test set, write test.json and return its content.

    Every model that is judged counts as one reading: choosing after a first look means learning from the test set.
    """
    X, y, C = dataset.X_test, dataset.y_test, dataset.classes
    predicted = np.concatenate([predict(weights, X[rows]) for rows in chunks(*X.shape)])
    confusion = np.bincount(C * y + predicted, minlength=C * C).reshape(C, C)
    before = folder.test_result() or {}
    same = before.get("digest") == final.record.digest
    model = _stored_model(folder)  # it has counted too: deleting test.json does not undo a reading
    readings = max(before.get("readings", 0), model.facts.get("test", {}).get("readings", 0) if model else 0)
    test = result_on_test_set(final, confusion.tolist(), max(1, readings + (not same)))
    write_atomically(folder.test, json.dumps(test, indent=1).encode())
    return test
