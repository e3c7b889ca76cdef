"""A whole run: study file in, records and tables out.

    check everything  ->  lock the folder  ->  search  ->  confirm  ->  read the test set  ->  tables

`run_study` is the run for Python. `netcore run` adds progress, plots, report and MLflow.
"""

import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import KW_ONLY, dataclass, field
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any, Self

from netcore.confirm.audit import audit
from netcore.confirm.confirmation import confirm, read_confirmation
from netcore.confirm.final_model import write_final_model
from netcore.data import Dataset
from netcore.data.prepared import prepared
from netcore.errors import InputError, Problem, RecordError
from netcore.files import make_folder, write_atomically
from netcore.progress import Notice, Stage
from netcore.question.spec import StudySpec, check_sampler, dataset_of, load_spec
from netcore.records.folder import StudyFolder
from netcore.records.record import Record, outline, setting_differences
from netcore.results.tables import StudyTables, load_study, write_tables
from netcore.search.kept_weights import keep_weights
from netcore.search.loop import Search
from netcore.search.samplers import SAMPLER_ARGUMENTS
from netcore.training.step import STEP
from netcore.workers.engine import Engine
from netcore.workers.local import usable_cores
from netcore.workers.start import check_workers, engine_for

Steps = Iterator[Record | Notice | Stage]
"""What a run yields while it works: each record as it is written, notices, and the stages it enters."""


def run_study(
    study: "str | Path | StudySpec",
    *,
    results: str | Path = "results",
    trials: int | None = None,
    workers: int | None = None,
    dask: str | None = None,
    confirm: bool = True,
) -> StudyTables:
    """Run a study, or continue it, and return its tables.

    `study` is the path of a study file, the name of one in ./studies, or a spec from `load_spec`. `trials` overrides
    the file's number. `workers` is the number of processes, by default one for each core that this process may use.
    `dask` is the address of a Dask scheduler; its workers train instead. `confirm=False` skips the confirmation.
    Workers import the calling script: call this function under `if __name__ == "__main__":`.

    Raises:
        InputError: the study file, the data or a record is wrong.
        WorkError: a file cannot be written, or too many trials failed.
    """
    spec = study if isinstance(study, StudySpec) else load_spec(study)
    with Run(spec.with_trials(trials), results=results, workers=workers, dask=dask) as run:
        for _ in run.search(confirm=confirm):
            pass
        tables = load_study(run.folder.path)
        write_tables(tables, run.folder)
    return tables


@dataclass
class Run:
    """One run of a study: a context manager that holds the study's lock and, while it searches, the workers.

    Raises:
        InputError: the number of workers is out of range, or given together with a Dask cluster.
    """

    spec: StudySpec
    _: KW_ONLY
    results: str | Path = "results"
    workers: int | None = None
    dask: str | None = None
    fresh: bool = False
    """Whether to move the study's old folder aside and start over."""
    retrain: bool = False
    """Whether to move records that do not match aside, and train their trials again."""
    retry_failed: bool = False
    """Whether to train failed trials again, and later trials that depend on them."""
    after_search: bool = False
    """Whether the search must be complete already."""
    seconds: dict[str, float] = field(default_factory=dict, init=False)
    """Seconds by activity, for the report."""
    busy: float | None = field(default=None, init=False)
    """Share of the time from the workers' start to the last commit in which they trained; None on a cluster."""
    searched: bool = field(default=False, init=False)
    """Whether the search is complete, so that derived files can be written even if the confirmation fails."""

    def __post_init__(self) -> None:
        check_workers(self.workers, self.dask)
        self.folder = StudyFolder(Path(self.results) / self.spec.name)
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        """Check everything that can be checked, then lock the folder.

        Raises:
            InputError: the sampler, the data or the folder do not fit the study, or another run holds the lock.
        """
        if not self.after_search:
            check_sampler(self.spec)
        with ExitStack() as stack:
            self.dataset = stack.enter_context(prepared(partial(dataset_of, self.spec)))
            make_folder(self.folder.path)
            self.folder.refuse_links()
            if self.fresh:
                with self.folder.locked():
                    _move_aside(self.folder)
                make_folder(self.folder.path)
            stack.enter_context(self.folder.locked())
            self._same_question()
            if self.after_search:
                self._complete()
            self.folder.prepare()
            self._write_question()
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def search(self, *, confirm: bool = True) -> Steps:
        """Search, then confirm; yield each record at its commit, with notices and stages in between.

        Raises:
            NetcoreError: see `Search.run` and `netcore.confirm`.
        """
        records: list[Record] = []
        with engine_for(self.spec, self.dataset, self.workers, self.dask) as engine:
            begun = time.perf_counter()
            again = {"retrain": self.retrain, "retry_failed": self.retry_failed}
            search = Search(self.spec, self.dataset, self.folder, engine, **again)
            yield from map(Notice, self.dataset.notes)
            for step in _with_news(engine, search.run()):
                if isinstance(step, Record):
                    records.append(outline(step))
                yield step
            if search.trained and not self.dask:
                available = (self.workers or usable_cores()) * (time.perf_counter() - begun)
                self.busy = search.trained / available
                self.seconds["all workers, while searching"] = available
            yield from keep_weights(records, self.folder, engine, self.dataset, keep=self.spec.study.weights)
            self.seconds |= search.seconds
            self.searched = True
            if confirm:
                yield from _with_news(engine, self._confirm(records, engine))

    def confirm(self) -> Steps:
        """Confirm the best trials of a complete search.

        Raises:
            InputError: the search is not complete.
            WorkError: see `netcore.confirm`.
        """
        yield from self._after(self._confirm)

    def audit(self, share: float) -> Steps:
        """Train a share of the pruned trials to the end.

        Raises:
            InputError: the search is not complete.
            WorkError: see `audit`.
        """
        yield from self._after(partial(audit, share=share, folder=self.folder, dataset=self.dataset))

    def _after(self, work: Callable[..., Steps]) -> Steps:
        """Do what follows a complete search: `work` takes its `records` and an `engine`."""
        records = self._complete()
        with engine_for(self.spec, self.dataset, self.workers, self.dask) as engine:
            yield from _with_news(engine, work(records=records, engine=engine))

    def _complete(self) -> list[Record]:
        """Return all records of the search, if it is complete."""
        records = self.folder.committed()
        if len(records) < self.spec.study.trials:
            found = f"{len(records)} of {self.spec.study.trials} trials"
            remedy = "`netcore run` continues it"
            raise InputError.at(self.spec.name, "its search must be complete", found, remedy)
        self.searched = True
        return records

    def _confirm(self, records: list[Record], engine: Engine) -> Steps:
        """Confirm the best trials, then write the final model."""
        yield from confirm(self.spec, self.dataset, records, self.folder, engine)
        confirmed = read_confirmation(self.spec, records, self.folder)
        write_final_model(self.spec, confirmed, self.folder, engine)

    def _same_question(self) -> None:
        """Refuse a study file that asks another question than the folder's records answer."""
        if changes := setting_differences(self._answered(), self.spec.identity()):
            remedy = "give it another name, or `--fresh` moves the old folder aside"
            place = f"{self.spec.name}: {self.folder.path} answers another question"
            raise InputError(*(Problem(place, change, remedy=remedy) for change in changes))

    def _answered(self) -> dict[str, Any]:
        """Return the settings of the folder's records; those of this run if there is no readable record."""
        for number in self.folder.numbers():
            with suppress(RecordError):
                return self.folder.read(number).job.settings
        return self.spec.identity()

    def _write_question(self) -> None:
        """Write study.toml and resolved.json."""
        settings = self.spec.model_dump(mode="json")
        resolved = {
            "settings": settings,
            "sampler_arguments": SAMPLER_ARGUMENTS[self.spec.study.sampler],
            "training_step": STEP,
            "data": described(self.dataset),
            "folder": os.path.relpath(os.path.realpath(self.spec.folder), os.path.realpath(self.folder.path)),
        }
        write_atomically(self.folder.study_file, self.spec.text)
        write_atomically(self.folder.resolved, json.dumps(resolved, indent=1).encode())


def _with_news(engine: Engine, steps: Steps) -> Steps:
    """Yield the steps of some work, with the engine's news in between."""
    yield from map(Notice, engine.news())
    for step in steps:
        yield step
        yield from map(Notice, engine.news())


def described(dataset: Dataset) -> dict[str, Any]:
    """Return a description of the data, for resolved.json."""
    return {
        "name": dataset.name,
        "digest": dataset.digest,
        "rows": {"train": len(dataset.y_train), "validation": len(dataset.y_val), "test": len(dataset.y_test)},
        "class_names": dataset.class_names,
        "feature_names": dataset.feature_names,
        "image_shape": dataset.image_shape,
    }


def _move_aside(folder: StudyFolder) -> None:
    """Move a study's folder to _superseded/ beside it; no study can have this name."""
    aside = folder.path.parent / "_superseded"
    make_folder(aside)
    target = next(path for n in count(1) if not (path := aside / f"{folder.name}.{n}").exists())
    folder.path.rename(target)
