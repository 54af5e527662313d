"""Do the answers to two views of one picture belong together? The statistics of the vision proof.

Every picture is asked about twice, the second time in another view and in another order. If the model sees,
the two answers about a picture are more alike than answers about different pictures. How likely chance is to
do as well is the exact permutation p-value: the share of all ways to pair the two rounds whose answers are
together at least as alike as in the true pairs (Fisher, The Design of Experiments, 1935, chapter 3). It needs
no language and no other model.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Final

from rapidfuzz.fuzz import token_sort_ratio

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from collections.abc import Set as AbstractSet

LIMIT: Final = 0.0002
"""The p-value up to which sight is proved: 8 of the 40,320 pairings of eight pictures.

At 0.001, a model that sees only the background would pass: where two pictures share each of four backgrounds,
16 pairings give the same sum (p = 0.0004). Two experiments together must meet it too: with that second
chance, a server that answers at random passes once in 2,500 runs.
"""
RECOGNISED_SHARE: Final = 0.75
"""How many of the pictures must be recognised. A server that answers one time in three for the right picture
passes the limit alone in about one run of a hundred."""
SHIFTED_LIMIT: Final = 0.002
"""The p-value up to which answers are said to be about the picture before."""
SAME: Final = 95.0
"""The similarity from which two answers say the same."""
_ROUNDING: Final = 1e-9
"""Sums of the same numbers in another order differ in their last bits."""

Similarities = list[list[float]]
"""By picture in the first round, then by picture in the second; from 0 to 100."""


@dataclass(frozen=True)
class TwoViews:
    """The answers of both rounds, each listed by picture.

    Attributes:
        first: the answers about the first views, which were asked in the order of the pictures.
        second: the answers about the second views.
        second_order: the pictures' numbers in the order in which their second views were asked.
        unusable: the numbers of pictures with an answer that says nothing of a picture, such as a refusal.
    """

    first: Sequence[str]
    second: Sequence[str]
    second_order: Sequence[int]
    unusable: AbstractSet[int] = frozenset()

    @cached_property
    def similarities(self) -> Similarities:
        """How alike each answer of the first round is to each of the second."""
        return [[token_sort_ratio(answer, other) for other in self.second] for answer in self.first]

    @cached_property
    def p_value(self) -> float:
        """The exact permutation p-value of the true pairs."""
        return permutation_p_value(self.similarities)

    @cached_property
    def recognised(self) -> list[int]:
        """The numbers of the pictures whose two answers are at least as alike as either is to any other."""
        rows, columns = self.similarities, list(zip(*self.similarities, strict=True))
        return [
            number
            for number, (row, column) in enumerate(zip(rows, columns, strict=True))
            if number not in self.unusable and row[number] >= max(*row, *column) - _ROUNDING
        ]

    @cached_property
    def shifted_p_value(self) -> float:
        """The p-value of the pairs that would be true if every answer were about the picture before."""
        first = dict(itertools.pairwise(range(len(self.first))))
        second = dict(itertools.pairwise(self.second_order))
        # The last picture of a round has no answer then.
        pictures = sorted(first.keys() & second.keys())
        return permutation_p_value(
            [[self.similarities[first[row]][second[column]] for column in pictures] for row in pictures]
        )

    def swapped(self) -> Iterator[tuple[int, int]]:
        """Pairs of pictures of which the second view of one got just the answer of the other's first view."""
        for number, column in enumerate(zip(*self.similarities, strict=True)):
            same = [other for other, similarity in enumerate(column) if similarity >= SAME]
            if len(same) == 1 and same[0] != number:
                yield number, same[0]


def is_proved(experiments: Sequence[TwoViews]) -> bool:
    """Whether one experiment, or two together, prove that the model sees."""
    pictures = sum(len(experiment.first) for experiment in experiments)
    recognised = sum(len(experiment.recognised) for experiment in experiments)
    return joint_p_value(experiments) <= LIMIT and recognised >= RECOGNISED_SHARE * pictures


def joint_p_value(experiments: Sequence[TwoViews]) -> float:
    """The p-value of one experiment, or of two together."""
    return combined_p_value([experiment.p_value for experiment in experiments])


def permutation_p_value(similarities: Similarities) -> float:
    """The share of pairings whose similarities add up to at least those on the diagonal.

    Exact: each of the ``k!`` pairings of a ``k`` by ``k`` matrix is counted, 40,320 for eight pictures.
    """
    rows = range(len(similarities))
    least = sum(similarities[row][row] for row in rows) - _ROUNDING
    pairings = itertools.permutations(rows)
    alike = sum(sum(map(list.__getitem__, similarities, pairing)) >= least for pairing in pairings)
    return alike / math.factorial(len(similarities))


def combined_p_value(p_values: Sequence[float]) -> float:
    """The p-value of independent experiments together, by Fisher's method.

    -2 times the logarithm of the product of ``n`` p-values is distributed as chi-squared with 2 n degrees of
    freedom, whose upper tail has this closed form (Fisher, Statistical Methods for Research Workers, 1932,
    section 21.1).
    """
    product = math.prod(p_values)
    terms = ((-math.log(product)) ** power / math.factorial(power) for power in range(len(p_values)))
    return product * sum(terms)
