"""The search: ask, run, commit; history, samplers, stopping rule, objective, importance. Optuna is used here."""
