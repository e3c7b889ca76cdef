"""The compiled training step: the same arithmetic as `netcore.core`, one machine-code loop over an epoch's batches."""
