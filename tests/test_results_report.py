"""The report: complete, self-contained, honest, and deaf to HTML in names."""

import dataclasses
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from conftest import present
from reports import Page, Study

from netcore.question.metrics import Metric
from netcore.question.spec import question
from netcore.records.folder import StudyFolder
from netcore.results.number_format import plus_minus
from netcore.results.plots import draw_all
from netcore.results.provenance import provenance_of
from netcore.results.report import write_report
from netcore.results.tables import StudyTables, load_study
from netcore.results.winner import summarised


@pytest.fixture
def study(reported: Study, tmp_path: Path) -> Study:
    """Return a copy of the reported study that a test may change."""
    tables, folder = reported
    shutil.copytree(folder.path, tmp_path / folder.name)
    return tables, StudyFolder(tmp_path / folder.name)


def unconfirmed(tables: StudyTables) -> StudyTables:
    """Return the tables as they were after the search."""
    return dataclasses.replace(tables, confirmation=tables.confirmation[:0], audit=tables.audit[:0])


def test_links_lead_to_parts_of_the_page(reported: Study) -> None:
    """Images are in the file itself, and its links lead to existing parts of it."""
    page = Page(reported[1].report)
    links = {source for source in page.sources if not source.startswith("data:")}
    assert links
    assert links <= {f"#{part}" for part in page.ids}
    assert len(page.ids) == len(set(page.ids))


def test_every_plot_has_an_alternative_text(reported: Study) -> None:
    """The text describes the plot and names the best trial or the winner."""
    page = Page(reported[1].report)
    assert page.tags.count("img") == len(page.alternatives) == len(list(reported[1].plots.glob("*.png")))
    assert len(set(page.alternatives)) == len(page.alternatives)
    best = int(reported[0].trials.query("state == 'finished'").sort_values("value")["trial"].iloc[0])
    of_winner = ("Training of the winner.", "Confusion matrix.")
    others = [words for words in page.alternatives if not words.startswith(of_winner)]
    assert len(others) == len(page.alternatives) - 2
    assert all(f"Best trial: trial {best}, val_loss" in words for words in others)


def test_the_winners_plots_name_the_winner(study: Study) -> None:
    """If the winner is not the best trial, the plots of the winner say so."""
    tables, folder = study
    winner = present(present(summarised(tables)).winner)
    best = int(tables.trials.query("state == 'finished' and trial != @winner.trial")["trial"].iloc[0])
    trials = tables.trials.assign(value=tables.trials["value"].mask(tables.trials["trial"] == best, 0.001))
    picture = folder.plots / "progress.png"
    plots = dict.fromkeys(("best_trial", "confusion", "progress"), picture)
    page = Page(write_report(dataclasses.replace(tables, trials=trials), folder, plots))
    training, confusion, progress = page.alternatives
    assert f" Winner: {winner.name}, val_loss" in training
    assert confusion.endswith(f" Winner: {winner.name}.")
    assert f"Best trial: trial {best}, val_loss 0.001" in progress
    assert "Best trial:" not in training + confusion


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ({"source": "digits"}, "The inputs are standardised."),
        ({"source": "digits", "standardize": "pixel-mean"}, "The mean of the training rows is subtracted"),
        ({"source": "digits", "standardize": "none"}, "The inputs are not preprocessed."),
        ({"source": "table", "path": "t.csv", "target": "y"}, "Each column of the table is prepared on its own."),
    ],
)
def test_the_first_layer_says_how_inputs_were_prepared(study: Study, how: dict[str, str], words: str) -> None:
    """The caption of the first-layer weights names the preprocessing of the inputs."""
    tables, folder = study
    resolved = folder.resolved_settings()
    resolved["settings"]["data"] = how if how["source"] == "table" else {"standardize": "feature", **how}
    folder.resolved.write_text(json.dumps(resolved))
    text = Page(write_report(tables, folder, {"first_layer": folder.plots / "progress.png"})).text
    assert words in text
    assert ("standardised" in text) == ("standardised" in words)


def test_the_best_trial_is_at_the_top(study: Study) -> None:
    """Before a confirmation: the question, the best trial to the last digit, the test set, what to do next."""
    tables, folder = study
    best = tables.trials.query("state == 'finished'").sort_values("value").iloc[0]
    page = Page(write_report(unconfirmed(tables), folder, {}))
    assert "What does a study do in which trials finish, are pruned, diverge and fail?" in page.text
    assert f"Best of {len(tables.trials)} trials: trial {best['trial']}" in page.text
    assert {repr(float(best["learning_rate"])), repr(float(best["val_loss"]))} <= set(page.titles)
    assert "The test set has not been read for this trial" in page.text
    assert "partly luck" in page.text
    assert f"netcore confirm {tables.name} measures them without that bias" in page.text


def test_readings_of_the_test_set_are_counted(study: Study) -> None:
    """The report warns of a second reading; one of an earlier model is counted, but its accuracy is not shown."""
    tables, folder = study
    folder.test.write_text(json.dumps({**(folder.test_result() or {}), "readings": 3}))
    assert "has been read 3 times for this study" in Page(write_report(tables, folder, {})).text
    test = {**(folder.test_result() or {}), "digest": "0" * 64, "readings": 1}
    folder.test.write_text(json.dumps(test))
    text = Page(write_report(tables, folder, {})).text
    assert "The test set has not been read for this trial. It was read once for an earlier model." in text
    folder.test.write_text(json.dumps(test | {"readings": 3}))
    assert "It was read 3 times for earlier models." in Page(write_report(tables, folder, {})).text
    folder.test.unlink()
    assert "It was read" not in Page(write_report(tables, folder, {})).text


def test_trials_are_listed_best_first_with_their_states(reported: Study) -> None:
    """One row for each trial: finished ones by value, then the others by state; failures are explained."""
    tables, folder = reported
    page = Page(folder.report)
    counts = tables.trials["state"].value_counts()
    words = page.text.partition("Trials, best first")[2].split()
    for state in ("finished", "pruned", "diverged", "failed"):
        assert words.count(state) >= counts[state] > 0
        assert f"{counts[state]} {state}" in page.text
    listing = [word for word in words[words.index("trial") :] if word in set(counts.index)]
    assert listing[: len(tables.trials)] == [
        s for s in ("finished", "pruned", "diverged", "failed") for _ in range(counts[s])
    ]
    assert "Unable to allocate" in page.text


@pytest.mark.parametrize(
    ("states", "sentence"),
    [(("diverged", "failed"), "No trial finished"), (("pruned",), "No trial finished"), ((), "No trial yet")],
)
def test_a_study_without_a_best_trial_says_so(study: Study, states: tuple[str, ...], sentence: str) -> None:
    """Without a finished trial, or any trial, the first heading says so and names no best trial."""
    tables, folder = study
    searched, trials = unconfirmed(tables), tables.trials[tables.trials["state"].isin(states)]
    tables = dataclasses.replace(searched, trials=trials, curves=tables.curves[:0], weights=tables.weights[:0])
    page = Page(write_report(tables, folder, draw_all(tables, folder)))
    assert sentence in page.text
    assert "Best of" not in page.text


def test_a_confirmed_study_answers_with_its_winner(reported: Study) -> None:
    """The winner with its confirmed metrics, both baselines, and the audit with its rate."""
    tables, folder = reported
    found, test = present(summarised(tables)), present(folder.test_result())
    winner = present(found.winner)
    text = " ".join(Page(folder.report).text.split())
    assert f"Winner: {winner.name}, confirmed" in text
    assert " ".join(plus_minus(winner.val_loss, "val_loss").split()) in text
    assert f"these hyperparameters, trained on {found.train_rows} rows: the mean over {found.seeds} fresh seeds" in text
    assert "softmax regression val_loss" in text
    assert "course defaults val_loss" in text
    assert "he hidden layer" in text
    assert "The search estimate of" in text
    assert "netcore confirm" not in text
    assert f"of {len(tables.audit)} audited trials" in text
    assert "p-value" not in text
    assert f"read once, after all choices were made, by the net of seed {test['seed']}: {test['right']} of" in text


def test_one_seed_has_no_interval(study: Study) -> None:
    """The page says that there was one training, and shows no ± in the winner's metrics."""
    tables, folder = study
    one = dataclasses.replace(tables, confirmation=tables.confirmation.query("seed == 0"))
    text = Page(write_report(one, folder, {})).text
    assert "one training with a fresh seed, so there is no interval" in text
    assert "±" not in text.partition("Trials, best first")[0]


def test_a_single_finished_trial_is_enough(study: Study) -> None:
    """One trial of one is the best trial, and there is no importance."""
    tables, folder = study
    first = tables.trials.query("state == 'finished'").head(1)
    one = dataclasses.replace(unconfirmed(tables), trials=first, curves=tables.curves.query("trial in @first.trial"))
    text = Page(write_report(one, folder, draw_all(one, folder))).text
    assert "Best of 1 trial: trial" in text
    assert "it needs 30 finished trials" in text


@pytest.mark.parametrize("names", [["yes", "no"], [f"class {'long ' * 30}{number}" for number in range(100)]])
def test_few_and_many_classes_are_named(study: Study, names: list[str]) -> None:
    """Two classes, or a hundred with long names: all are named, and the confusions are listed."""
    tables, folder = study
    resolved = folder.resolved_settings()
    resolved["data"]["class_names"] = names
    folder.resolved.write_text(json.dumps(resolved))
    confusion = (5 * np.eye(len(names), dtype=int) + np.roll(np.eye(len(names), dtype=int), 1, axis=1)).tolist()
    folder.test.write_text(json.dumps({**(folder.test_result() or {}), "confusion": confusion}))
    page = Page(write_report(tables, folder, {"confusion": folder.plots / "progress.png"}))
    assert all(name in page.text for name in names)
    assert "numbers-confusion" in page.ids
    assert any(f"most frequent error: {names[0]} predicted as {names[1]} (1)" in words for words in page.alternatives)


def test_accuracy_is_a_metric_too(study: Study) -> None:
    """A study of the accuracy names the highest value, and confirms in per cent."""
    tables, folder = study
    by_accuracy = tables.trials.assign(value=tables.trials["val_accuracy"])
    accurate = dataclasses.replace(tables, metric=Metric.VAL_ACCURACY, trials=by_accuracy)
    assert "Highest val_accuracy of" in Page(write_report(unconfirmed(accurate), folder, {})).text
    text = Page(write_report(accurate, folder, {})).text
    assert re.search(r"softmax regression\s+val_accuracy [\d.]+\s±\s[\d.]+\s%", text)


def test_provenance_has_everything_that_made_the_numbers(study: Study) -> None:
    """Code and its state, versions, digest, sampler as resolved, seeds, and measured or summed times."""
    tables, folder = study
    record, resolved = folder.read(0), folder.resolved_settings()
    lines = provenance_of(tables, folder)
    for what, frame in (("training", tables.trials), ("confirmation", tables.confirmation), ("audit", tables.audit)):
        assert lines["Time"][f"{what}, all workers"] == f"{frame['seconds'].sum():.1f} s"
    assert list(lines) == ["Code", "Data", "Search", "Time"]
    assert lines["Code"].items() >= record.provenance.environment.items()
    assert lines["Code"]["code"].startswith(record.provenance.environment["netcore"])
    assert lines["Data"]["SHA-256"] == resolved["data"]["digest"]
    assert lines["Search"].items() >= {key: str(v) for key, v in resolved["sampler_arguments"].items()}.items()
    assert lines["Search"]["seeds"] == f"search 3, split 0, confirmation 0 to {tables.confirmation['seed'].max()}"
    assert provenance_of(unconfirmed(tables), folder)["Search"]["seeds"] == "search 3, split 0"
    (folder.path / "times.json").unlink(missing_ok=True)
    searched = unconfirmed(tables)
    assert list(provenance_of(searched, folder)["Time"]) == ["training, all workers"]
    (folder.path / "times.json").write_text('{"asking": 0.5}')
    assert list(provenance_of(searched, folder)["Time"].items())[1:] == [("asking", "0.5 s")]
    text = Page(write_report(tables, folder, {})).text
    assert all(value in text for heading in ("Code", "Data", "Search") for value in lines[heading].values())


def test_provenance_lists_each_environment(study: Study) -> None:
    """A study that continued after an upgrade lists both versions with their numbers of trials."""
    tables, folder = study
    record = folder.read(1)
    environment = {**record.provenance.environment, "numpy": "0.1"}
    folder.write(
        dataclasses.replace(record, provenance=dataclasses.replace(record.provenance, environment=environment))
    )
    versions = provenance_of(tables, folder)["Code"]["numpy"]
    assert versions.endswith(f"({len(tables.trials) - 1} trials); 0.1 (1 trial)")


def test_equal_studies_give_equal_reports(study: Study) -> None:
    """The report has no time of writing: rebuilt from the records, it is the same to the byte."""
    _, folder = study
    before, tables = folder.report.read_bytes(), load_study(folder.path)
    assert write_report(tables, folder, draw_all(tables, folder)).read_bytes() == before


def test_a_question_may_take_several_lines() -> None:
    """The comment goes on until another keyword, or the comment's end; without the keyword there is no question."""
    assert question("# Question: is it\n#   so?\n# Command: make\n") == "is it so?"
    assert question("# Question: is it so?\n[study]\n# Question: no\n") == "is it so?"
    assert question("[study]\n") == question("") == question("# A comment.\n") == ""
