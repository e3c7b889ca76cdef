"""RECORDS -> MLflow, and Optuna's own format: views for other people's tools. MLflow lives here.

Nothing of this is ever on the way of a search: records are written first, and what is projected here can be deleted
and projected again.
"""
