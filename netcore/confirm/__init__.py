"""After the search: confirm the best trials with fresh seeds, audit the stopping rule, write the final model.

In: the records of a complete search. Out: more records, in confirm/ and audit/ of the study's folder, and the final
model with its one reading of the test set. The sampler never learns of these trainings.
"""
