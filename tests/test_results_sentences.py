"""The sentences about a confirmation: they claim what the interval supports, whether that is welcome or not."""

import pytest
from tables import CLEAR, NAN, plain, summary_of

from netcore.question.metrics import Metric
from netcore.results.sentences import conclusions, hidden_layer, selection_gap, unfinished, within_noise

SOFTMAX = "softmax regression"
LOSS, ACCURACY = Metric


@pytest.mark.parametrize(
    ("values", "metric", "begins", "ends"),
    [
        (
            [0.50, 0.53, 0.54],
            LOSS,
            "The hidden layer helps: trial 0 has a val_loss 0.307 lower than softmax regression (95 % confidence",
            ").",
        ),
        ([0.21, 0.22, 0.22], LOSS, "The hidden layer is not shown to help: trial 0 has", "; the interval contains 0."),
        ([0.01, 0.03, 0.04], LOSS, "The hidden layer does harm here: trial 0 has a val_loss 0.19 higher than", ")."),
        (
            [0.01, 0.03, 0.04],
            ACCURACY,
            "The hidden layer helps: trial 0 has a val_accuracy 19 percentage points higher than softmax regression",
            " percentage points).",
        ),
        ([0.50, NAN, NAN], LOSS, "The hidden layer helped: trial 0 has", "one seed may be chance."),
        ([NAN, NAN, NAN], LOSS, "Whether the hidden layer helps is unknown", "no finished seed in common."),
    ],
)
def test_the_hidden_layer_is_judged_by_its_interval(
    values: list[float], metric: Metric, begins: str, ends: str
) -> None:
    """It helps, is not shown to help, does harm, or nothing is known: one sentence with a number."""
    sentence = plain(hidden_layer(summary_of({"trial 0": CLEAR["trial 0"], SOFTMAX: values}, metric)))
    assert sentence.startswith(begins)
    assert sentence.endswith(ends)


def test_without_softmax_or_winner_nothing_is_claimed_of_the_layer() -> None:
    """There is nothing to compare."""
    assert hidden_layer(summary_of({"trial 0": [0.2, 0.3]})) == ""
    assert hidden_layer(summary_of({"trial 0": [NAN], SOFTMAX: [0.5]})) == ""


def test_the_search_estimate_is_beside_the_confirmed_mean() -> None:
    """Search estimate 0.2, confirmed 0.217: worse for a loss; an accuracy that came out higher is better."""
    assert plain(selection_gap(summary_of(CLEAR))) == (
        "The search estimate of trial 0 was 0.2, on the one split that was used for every choice. "
        "Its confirmed mean, on fresh splits, is 0.217 ± 0.054: 0.017 worse."
    )
    assert plain(selection_gap(summary_of(CLEAR, ACCURACY))).endswith("22.0 percentage points better.")
    assert selection_gap(summary_of({"trial 0": [NAN]})) == ""


def test_the_noise_is_named_with_its_smallest_net() -> None:
    """The candidates that cannot be distinguished, and the smallest of them if it is smaller than the winner."""
    assert within_noise(summary_of(CLEAR)) == (
        "Within the noise of trial 0 (the difference may be zero): trial 1 and course defaults."
    )
    found = summary_of({"trial 1": [0.20, 0.22, 0.23], "trial 0": [0.21, 0.22, 0.23]})
    assert within_noise(found).endswith(
        "The smallest of these is trial 0, with 32 hidden units; the winner has 128 hidden units."
    )
    found = summary_of({"trial 1": [0.20, 0.22, 0.23], SOFTMAX: [0.21, 0.22, 0.23]})
    assert within_noise(found).endswith("softmax regression, with no hidden layer; the winner has 128 hidden units.")
    assert within_noise(summary_of({"trial 0": [0.2, 0.3], "trial 1": [0.9, 1.0]})) == ""


def test_unfinished_seeds_are_named_with_their_consequence() -> None:
    """One finalist has an unfinished seed, all have one, or none finished at all."""
    assert unfinished(summary_of(CLEAR)) == ""
    one = summary_of({**CLEAR, "trial 0": [0.01, NAN, 0.01]})
    assert unfinished(one) == "Trial 0 finished 2 of 3 seeds. A finalist with an unfinished seed cannot win."
    none_whole = summary_of({"trial 0": [0.3, NAN], "trial 1": [NAN, 0.4]})
    assert unfinished(none_whole).startswith("No finalist finished all its seeds, so the winner is the best by its")
    nobody = summary_of({"trial 0": [NAN, NAN]})
    assert unfinished(nobody) == "No finalist finished a seed, so there is no winner: trial 0 finished 0 of 2 seeds."


def test_conclusions_are_the_sentences_that_have_something_to_say() -> None:
    """The hidden layer first, no empty sentence; none without a confirmation."""
    sentences = conclusions(summary_of(CLEAR))
    assert len(sentences) == 3
    assert sentences[0].startswith("The hidden layer")
    assert conclusions(None) == []
