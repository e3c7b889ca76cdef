"""The conclusions of a confirmation, one sentence each, from the summary that `netcore.results.winner` makes.

A sentence claims what its interval supports, whether that is welcome or not. Where there is nothing to conclude, the
text is empty.
"""

from netcore.confirm.candidates import SOFTMAX_REGRESSION
from netcore.results.intervals import Estimate, Interval
from netcore.results.number_format import between, plus_minus, value_of
from netcore.results.winner import ConfirmationSummary


def conclusions(found: ConfirmationSummary | None) -> list[str]:
    """Return all sentences about a confirmation, the most important first."""
    if found is None:
        return []
    sentences = (hidden_layer(found), selection_gap(found), within_noise(found), unfinished(found))
    return [sentence for sentence in sentences if sentence]


def hidden_layer(found: ConfirmationSummary) -> str:
    """Return whether the hidden layer helps: the winner compared with softmax regression."""
    softmax, winner = found.named(SOFTMAX_REGRESSION), found.winner
    if softmax is None or winner is None:
        return ""
    difference = softmax.difference
    if difference is None:
        names = f"{SOFTMAX_REGRESSION} and {winner.name}"
        return f"Whether the hidden layer helps is unknown: {names} have no finished seed in common."
    compared = f"{winner.name} has a {found.metric} {_apart(difference, found.metric)}"
    helps = found.metric.cost(difference.mean) > 0
    if difference.interval is None:
        return f"The hidden layer {'helped' if helps else 'did not help'}: {compared}; one seed may be chance."
    if difference.may_be_zero:
        return f"The hidden layer is not shown to help: {compared}; the interval contains 0."
    return f"The hidden layer {'helps' if helps else 'does harm here'}: {compared}."


def selection_gap(found: ConfirmationSummary) -> str:
    """Return the winner's search estimate beside its confirmed mean."""
    winner, metric = found.winner, found.metric
    if winner is None or winner.search_estimate is None or (mean := winner.of(metric)) is None:
        return ""
    gap = float(metric.cost(mean.mean - winner.search_estimate))
    return (
        f"The search estimate of {winner.name} was {value_of(winner.search_estimate, metric)}, on the one split that "
        f"was used for every choice. Its confirmed mean, on fresh splits, is {plus_minus(mean, metric)}: "
        f"{value_of(abs(gap), metric, mean.half, difference=True)} {'worse' if gap > 0 else 'better'}."
    )


def within_noise(found: ConfirmationSummary) -> str:
    """Return the candidates that cannot be distinguished from the winner, and the smallest net among them."""
    noise, least = found.within_noise, found.smallest
    if not noise or found.winner is None:
        return ""
    names = _listed([candidate.name for candidate in noise])
    sentence = f"Within the noise of {found.winner.name} (the difference may be zero): {names}."
    if least is not None:
        units = f"{least.hidden_size} hidden units" if least.hidden_size else "no hidden layer"
        winners = f"{found.winner.hidden_size} hidden units"
        sentence += f" The smallest of these is {least.name}, with {units}; the winner has {winners}."
    return sentence


def unfinished(found: ConfirmationSummary) -> str:
    """Return which candidates have unfinished seeds, and what follows for the winner."""
    broken = [candidate for candidate in found.candidates if not candidate.complete]
    if not broken:
        return ""
    counts = _listed([f"{each.name} finished {each.finished} of {each.seeds} seeds" for each in broken])
    if found.winner is None:
        return f"No finalist finished a seed, so there is no winner: {counts}."
    if found.winner.complete:
        return f"{counts[:1].upper()}{counts[1:]}. A finalist with an unfinished seed cannot win."
    return f"No finalist finished all its seeds, so the winner is the best by its finished seeds: {counts}."


def _apart(difference: Estimate, metric: str) -> str:
    """Return the winner's distance from softmax regression, of which `difference` is that minus the winner."""
    lower = difference.mean > 0
    amount = value_of(abs(difference.mean), metric, difference.half, difference=True)
    text = f"{amount} {'lower' if lower else 'higher'} than {SOFTMAX_REGRESSION}"
    if difference.interval is None:
        return text
    low, high = difference.interval if lower else (-difference.interval.high, -difference.interval.low)
    interval = between(Interval(low, high), metric, difference=True)
    return f"{text} (95\u00a0% confidence interval {interval})"


def _listed(names: list[str]) -> str:
    """Return `a`, `a and b`, `a, b and c`."""
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)
