"""RECORDS -> tables (pandas) -> plots (matplotlib) -> report: derived files, which can be deleted and rebuilt.

Numbers are computed first (tables, winner, audit, test set, importance), then put into words and drawn: a plot takes
tables and returns a Figure.
"""
