"""STUDY FILE -> StudySpec: one TOML file asks one question about one data set."""
