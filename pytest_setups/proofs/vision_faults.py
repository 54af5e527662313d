"""What is wrong with a server whose answers do not prove that it sees: a fault by name, with an example."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from pytest_setups.proofs.two_views import LIMIT, SAME, SHIFTED_LIMIT, is_proved
from pytest_setups.redaction import one_line

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pytest_setups.api.reply import Reply
    from pytest_setups.proofs.vision_experiment import Experiment

# Fewer may be chance, or what a weak model does with a picture that it takes for another.
MIN_UNUSABLE: Final = 3
MIN_CONFUSED: Final = 3
# A p-value above this is not evidence of sight.
BLIND_FROM: Final = 0.05


def find_fault(experiment: Experiment, without: Reply | None) -> str | None:
    """The fault that the answers show, on one line; None where they prove sight or show no known fault."""
    if is_proved([experiment.views]):
        return None
    finders: tuple[Callable[[Experiment], str | None], ...] = (
        lambda part: _dropped(part, without),
        _unusable,
        _same_answer,
        _stale,
        _background_only,
        _mixed,
        _blind,
    )
    return next((fault for find in finders if (fault := find(experiment)) is not None), None)


def unproved(experiments: Sequence[Experiment], p_value: float) -> str:
    """Why experiments without a known fault do not prove sight, on one line."""
    pictures = sum(len(experiment.codes) for experiment in experiments)
    recognised = sum(len(experiment.views.recognised) for experiment in experiments)
    return (
        f"sight is not proved: p = {p_value:.2g} where at most {LIMIT:g} is needed, and "
        f"{recognised} of {pictures} control pictures recognised in both views; {_example(experiments[-1])}"
    )


def _unusable(experiment: Experiment) -> str | None:
    faults = experiment.faults
    if len(faults) < MIN_UNUSABLE:
        return None
    number, fault = next(iter(faults.items()))
    return (
        f"no usable answer: {len(faults)} of {len(experiment.codes)} control pictures; "
        f"{_name(experiment, number)}: {fault}"
    )


def _dropped(experiment: Experiment, without: Reply | None) -> str | None:
    # A picture that reaches the model costs prompt tokens. A server that sees, and counts the text only, is
    # not looked at here: its answers prove sight.
    if without is None or not without.prompt_tokens:
        return None
    counts = [reply.prompt_tokens for reply in (*experiment.first, *experiment.second)]
    fewest = min((count for count in counts if count), default=None)
    if fewest is None or fewest > without.prompt_tokens:
        return None
    return (
        f"the picture is dropped: {fewest} prompt tokens with it, {without.prompt_tokens} without it; "
        f"{_example(experiment)}"
    )


def _same_answer(experiment: Experiment) -> str | None:
    if min(min(row) for row in experiment.views.similarities) < SAME:
        return None
    answer = one_line(experiment.views.first[0], 120)
    return f"blind: all {len(experiment.codes)} control pictures got the same answer, {answer!r}"


def _stale(experiment: Experiment) -> str | None:
    views = experiment.views
    if views.shifted_p_value > SHIFTED_LIMIT:
        return None
    return (
        f"stale by one: answers are about the picture of the request before "
        f"(p = {views.shifted_p_value:.2g}); "
        f"{_name(experiment, 1)}, asked after {_name(experiment, 0)}, got {_answer(views.first[1])}"
    )


def _background_only(experiment: Experiment) -> str | None:
    """Two pictures of every background: a model that sees no more than that answers alike about both."""
    partners = {
        number: other
        for number, code in enumerate(experiment.codes)
        for other, other_code in enumerate(experiment.codes)
        if other != number and other_code.background == code.background
    }
    rows = experiment.views.similarities
    alike = [
        number for number, other in partners.items() if min(rows[number][number], rows[number][other]) >= SAME
    ]
    if len(alike) < len(partners) * 3 / 4:
        return None
    number = alike[0]
    return (
        f"only the background is seen: {_name(experiment, number)} and {_name(experiment, partners[number])} "
        f"got the same answer, {_answer(experiment.views.first[number])}"
    )


def _mixed(experiment: Experiment) -> str | None:
    swapped = list(experiment.views.swapped())
    if len(swapped) < MIN_CONFUSED:
        return None
    number, other = swapped[0]
    return (
        f"mixed: {len(swapped)} of {len(experiment.codes)} control pictures got the answer of another one; "
        f"{_name(experiment, number)} got {_answer(experiment.views.second[number])}, which "
        f"{_name(experiment, other)} had got before"
    )


def _blind(experiment: Experiment) -> str | None:
    p_value = experiment.views.p_value
    if p_value < BLIND_FROM:
        return None
    return f"blind: the answers do not depend on the picture (p = {p_value:.2g}); {_example(experiment)}"


def _example(experiment: Experiment) -> str:
    """The first picture whose answers do not belong together, with both."""
    views = experiment.views
    number = next((n for n in range(len(views.first)) if n not in views.recognised), 0)
    return (
        f"{_name(experiment, number)} got {_answer(views.first[number])} and then "
        f"{_answer(views.second[number])}"
    )


def _name(experiment: Experiment, number: int) -> str:
    return f"'{experiment.codes[number]}'"


def _answer(text: str) -> str:
    return repr(one_line(text, 120))
