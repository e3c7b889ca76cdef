"""After the search: confirm the best trials with fresh seeds, audit the stopping rule, write the final model."""
