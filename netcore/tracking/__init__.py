"""Records to MLflow and to Optuna's journal format: derived files for other tools. MLflow lives here.

A search never waits for any of it: records are written first, and everything here can be deleted and rebuilt.
"""
