"""TrialJob, TrialResult -> one checksummed file per trial, in the study's folder: the only source of truth."""
