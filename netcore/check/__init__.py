"""Records, derived files and trainings compared with what they must be: `netcore verify` and `netcore replay`."""
