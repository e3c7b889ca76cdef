"""RECORDS -> tables (pandas) -> plots (matplotlib) -> report: derived files, which can be deleted and rebuilt."""
