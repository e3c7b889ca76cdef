"""RECORDS -> DERIVED FILES: tables, Optuna's journal, plots and report, all rebuilt from the records.

They can be deleted at any time. MLflow is the one derived store that is not written here: it has a process of its own.
"""

from netcore.records.folder import StudyFolder
from netcore.results.plots import draw_all
from netcore.results.report import write_report
from netcore.results.tables import StudyTables, tables_of, write_tables
from netcore.tracking.journal import write_journal


def write_derived_files(folder: StudyFolder) -> StudyTables:
    """Write everything that follows from a study's records, except MLflow; return the tables.

    Raises:
        InputError: the folder has no settings, or a record is damaged.
        WorkError: the system refuses to write.
    """
    records = folder.committed()
    tables = tables_of(records, folder)
    write_tables(tables, folder)
    write_journal(records, folder)
    write_report(tables, folder, draw_all(tables, folder))
    return tables
