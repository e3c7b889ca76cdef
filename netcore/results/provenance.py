"""The provenance of a study's numbers: everything needed to reproduce them.

Code and package versions, data, sampler as resolved, seeds, and times. Versions are those in the trials' records, not
those installed where the report is written.
"""

from typing import Any

import pandas as pd

from netcore.records.folder import StudyFolder
from netcore.results.tables import StudyTables


def provenance_of(tables: StudyTables, folder: StudyFolder) -> dict[str, dict[str, str]]:
    """Return the provenance by section; each section maps names to values.

    Raises:
        InputError: the folder has no settings.
        RecordError: the record of a trial in the tables is damaged.
    """
    resolved = folder.resolved_settings()
    settings, data = resolved["settings"], resolved["data"]
    arguments = resolved.get("sampler_arguments", {})
    shape = " \u00d7 ".join(map(str, data["image_shape"] or ()))
    return {
        "Code": {"training step": resolved["training_step"], **_environments(tables, folder)},
        "Data": {
            "name": data["name"],
            "rows": "{train} training, {validation} validation, {test} test".format(**data["rows"]),
            "inputs": f"{len(data['feature_names'])}" + (f" ({shape})" if shape else ""),
            "classes": f"{len(data['class_names'])}: {', '.join(data['class_names'])}",
            "SHA-256": data["digest"],
        },
        "Search": {
            "sampler": settings["study"]["sampler"],
            **{name: str(value) for name, value in arguments.items()},
            "window": str(settings["study"]["window"]),
            "seeds": _seeds(tables, settings),
        },
        "Time": _times(tables, folder),
    }


def _environments(tables: StudyTables, folder: StudyFolder) -> dict[str, str]:
    """Return the environment of the trials; where trials differ, each value with its number of trials."""
    found = pd.DataFrame([folder.read(number).provenance.environment for number in sorted(tables.trials["trial"])])
    return {str(what): _counted(found[what].value_counts(sort=False)) for what in found}


def _counted(values: pd.Series) -> str:
    """Return a value that all trials share, or each value with its number of trials."""
    if len(values) == 1:
        return str(values.index[0])
    return "; ".join(f"{value} ({count} trial{'' if count == 1 else 's'})" for value, count in values.items())


def _seeds(tables: StudyTables, settings: dict[str, Any]) -> str:
    """Return the seeds of search, split and confirmation, as far as the study has them."""
    seeds = [f"search {settings['study']['seed']}"]
    if "seed" in settings["data"]:
        seeds.append(f"split {settings['data']['seed']}")
    if not tables.confirmation.empty:
        seeds.append(f"confirmation 0 to {tables.confirmation['seed'].max()}")
    return ", ".join(seeds)


def _times(tables: StudyTables, folder: StudyFolder) -> dict[str, str]:
    """Return the seconds of all trainings, from their records, and what the runs spent on everything else."""
    rows = {"training": tables.trials, "confirmation": tables.confirmation, "audit": tables.audit}
    trained = {f"{what}, all workers": float(frame["seconds"].sum()) for what, frame in rows.items() if len(frame)}
    return {what: f"{seconds:.1f} s" for what, seconds in {**trained, **(folder.times() or {})}.items()}
