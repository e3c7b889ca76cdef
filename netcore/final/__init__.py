"""FINAL MODEL: one file that turns raw rows into probabilities, and the prediction of new rows."""
