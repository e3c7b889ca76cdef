"""The final model: raw rows to probabilities, from one file; and the prediction of new rows."""
