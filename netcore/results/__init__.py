"""RECORDS -> tables (pandas) -> figures (matplotlib) -> report: views, which can be deleted and made again."""
