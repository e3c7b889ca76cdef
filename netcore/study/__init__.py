"""STUDY FILE -> RECORDS: the question, the search, and what each trial left behind. Optuna lives here.

Read in this order: `spec` (the question), `space`, `trial` (one answer), `record`, `sampling` and `stopping` (what is
tried, and for how long), `history` (what is known), `engine` (where trials run), `search` (the loop over all of it).
"""
