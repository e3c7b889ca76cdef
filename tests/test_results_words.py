"""Words: as many digits as are known, and sentences that say what the interval says, for better or worse."""

import pytest
from test_results_confirmation import CLEAR, of

from netcore.results.statistics import Estimate, Interval
from netcore.results.words import between, figure, hidden_layer, plus_minus, possible, promise, smallest, unfinished

NAN = float("nan")


def plain(text: str) -> str:
    """Give a text with ordinary spaces and minus signs."""
    return text.replace("\u00a0", " ").replace("\u2212", "-")


def around(mean: float, half: float) -> Estimate:
    """Give an estimate with this half width."""
    return Estimate(mean, Interval(mean - half, mean + half))


@pytest.mark.parametrize(
    ("estimate", "metric", "expected"),
    [
        (around(0.048932, 0.00412), "val_loss", "0.0489 ± 0.0041"),
        (around(12.3456, 3.2), "val_loss", "12.3 ± 3.2"),
        (around(1234.5, 321.0), "val_loss", "1234 ± 321"),
        (around(0.97951, 0.00421), "val_accuracy", "97.95 ± 0.42 %"),
        (around(-0.5, 0.1), "val_loss", "-0.50 ± 0.10"),
        (around(1e-13, 1e-14), "val_loss", "1e-13 ± 1e-14"),
        (around(0.5, 0.0), "val_loss", "0.5000 ± 0.0000"),
        (Estimate(0.123456, None), "val_loss", "0.1235"),
        (Estimate(0.97951, None), "val_accuracy", "97.95 %"),
        (None, "val_loss", "—"),
    ],
)
def test_digits_follow_the_interval(estimate: Estimate | None, metric: str, expected: str) -> None:
    """Two digits of the half width, the mean to the same place; without an interval four digits."""
    assert plain(plus_minus(estimate, metric)) == expected


def test_intervals_and_differences_have_a_true_minus() -> None:
    """Both ends to the same place; an interval that is not there is a dash; a minus is as wide as a plus."""
    assert plain(between(Interval(0.9312, 0.9812), "accuracy")) == "93.1 to 98.1 %"
    assert between(Interval(-0.0315, 0.1052), "val_loss") == "\u22120.032 to 0.105"
    assert between(None, "val_loss") == "—"
    assert figure(-0.25, "val_loss") == "\u22120.25"


def test_what_cannot_be_is_cut_off() -> None:
    """No loss is below 0, no accuracy above 1; what lies within stays as it is."""
    assert possible(Interval(-0.1, 1.2), "val_loss") == (0.0, 1.2)
    assert possible(Interval(0.9, 1.006), "val_accuracy") == (0.9, 1.0)
    assert possible(Interval(0.2, 0.3), "val_loss") == (0.2, 0.3)
    assert possible(None, "val_loss") is None


SOFTMAX = "softmax regression"


@pytest.mark.parametrize(
    ("figures", "metric", "begins", "holds"),
    [
        ([0.50, 0.53, 0.54], "val_loss", "The hidden layer is worth it: trial 0's val_loss is lower by 0.307", "0.2"),
        ([0.21, 0.22, 0.22], "val_loss", "It is not shown that the hidden layer is worth it", "that interval holds 0"),
        ([0.01, 0.03, 0.04], "val_loss", "The hidden layer does harm here: trial 0's val_loss is higher by", "0.1"),
        ([0.01, 0.03, 0.04], "val_accuracy", "The hidden layer is worth it: trial 0's val_accuracy is higher by", "%"),
        ([0.50, NAN, NAN], "val_loss", "The hidden layer helped", "with one seed, that may be chance"),
        ([NAN, NAN, NAN], "val_loss", "Whether the hidden layer is worth it cannot be said", "no common seed"),
    ],
)
def test_the_hidden_layer_is_judged_by_its_interval(figures: list[float], metric: str, begins: str, holds: str) -> None:
    """Worth it, not shown, harmful, by chance, or not to be said: one sentence with a number."""
    said = plain(hidden_layer(of({"trial 0": CLEAR["trial 0"], SOFTMAX: figures}, metric)))
    assert said.startswith(begins)
    assert holds in said
    assert said.count(". ") == 0


def test_without_softmax_or_winner_nothing_is_said_of_the_layer() -> None:
    """There is nothing to compare."""
    assert hidden_layer(of({"trial 0": [0.2, 0.3]})) == ""
    assert hidden_layer(of({"trial 0": [NAN], SOFTMAX: [0.5]})) == ""


def test_the_promise_stands_beside_what_was_confirmed() -> None:
    """Trial 0 promised 0.2 and gave 0.217; an accuracy that came out higher is called better."""
    assert plain(promise(of(CLEAR))).endswith(
        "Confirmed is 0.217 ± 0.054, on fresh splits and after as many epochs as its trial was best with: 0.017 worse."
    )
    assert plain(promise(of(CLEAR, "val_accuracy"))).endswith("22.0 % better.")
    assert promise(of({"trial 0": [NAN]})) == ""


def test_the_noise_is_named_with_its_smallest() -> None:
    """Who cannot be told from the winner; and the smallest of them where it is smaller than the winner."""
    assert smallest(of(CLEAR)) == "Within the noise of trial 0: trial 1 and course defaults."
    found = of({"trial 1": [0.20, 0.22, 0.23], "trial 0": [0.21, 0.22, 0.23]})
    assert smallest(found).endswith("The smallest of these is trial 0, with 32 hidden units where the winner has 128.")
    found = of({"trial 1": [0.20, 0.22, 0.23], SOFTMAX: [0.21, 0.22, 0.23]})
    assert smallest(found).endswith("softmax regression, with no hidden layer where the winner has 128.")
    assert smallest(of({"trial 0": [0.2, 0.3], "trial 1": [0.9, 1.0]})) == ""


def test_missing_seeds_are_said_with_what_follows() -> None:
    """Some finalist is not whole, none is, or none finished at all."""
    assert unfinished(of(CLEAR)) == ""
    one = of({**CLEAR, "trial 0": [0.01, NAN, 0.01]})
    assert unfinished(one) == "Trial 0 finished 2 of 3 seeds: whoever misses a seed cannot win."
    none_whole = of({"trial 0": [0.3, NAN], "trial 1": [NAN, 0.4]})
    assert unfinished(none_whole).startswith("No finalist finished all its seeds, so the winner is the best of those")
    nobody = of({"trial 0": [NAN, NAN]})
    assert unfinished(nobody) == "No finalist finished a seed, so there is no winner: trial 0 finished 0 of 2 seeds."
