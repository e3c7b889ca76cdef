"""Ask, run, commit: the next trial's hyperparameters, from the trials before it. Optuna lives here."""
