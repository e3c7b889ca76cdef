"""The weights that a study keeps after its search: those of its best trials, or of all.

During the search, weights are kept in the order in which trials return, which depends on timing. `keep_weights` makes
the kept ones those that the study file asks for; missing weights are trained again, which repeats bit for bit.
"""

from collections.abc import Iterator

from netcore.data import Dataset
from netcore.errors import RecordError
from netcore.progress import Notice
from netcore.records.folder import StudyFolder
from netcore.records.record import Record, ranked
from netcore.search.loop import KEPT
from netcore.workers.engine import Engine


def keep_weights(
    records: list[Record], folder: StudyFolder, engine: Engine, dataset: Dataset, *, keep: str
) -> Iterator[Notice]:
    """Keep the weights of the best finished trials (`best`) or of all trials that have some (`all`), and no others."""
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
        again = future.result()
        if again.result.weights is not None and again.digest == record.digest:
            folder.write_weights(record, again.result.weights)
        else:
            text = "its weights are not kept, because training it again gave other numbers here"
            yield Notice(f"trial {record.number}: {text}")
