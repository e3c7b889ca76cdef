"""What follows the search: the best trials again with fresh seeds, the audit of the stopping rule, the final model."""
