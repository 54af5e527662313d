"""The check that an output is in the language that it was asked for.

A text is in another language only where the detector finds that language clearly more likely than the wanted
one: short texts, names and loan words leave it in doubt, and what is in doubt passes. What the limits cost is
measured by ``python -m benchmarks.language_detection``.
"""

from __future__ import annotations

import importlib.util
import math
import re
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from pytest_setups.checks.texts import answer_of
from pytest_setups.redaction import one_line
from pytest_setups.tagging.language_codes import LANGUAGES
from pytest_setups.tagging.outputs import Failure

if TYPE_CHECKING:
    from collections.abc import Callable

    from lingua import LanguageDetector

    from pytest_setups.tagging.outputs import Output

    Confidences = dict[str, float]
    Detect = Callable[[str, frozenset[str]], Confidences]

LANGUAGE_CHECK: Final = "language"
INSTALL: Final = "pip install 'pytest-setups[language]'"
# Models that do not obey answer in English or Chinese, seldom in another language that many people speak.
# Each further candidate costs 25 MB of memory, and short texts are more often mistaken for it.
RIVALS: Final = (
    "ar", "cs", "da", "de", "el", "en", "es", "fa", "fr", "he", "hi", "it", "ja", "ko", "nb", "nl", "pl",
    "pt", "ru", "sv", "th", "tr", "uk", "zh",
)  # fmt: skip
# Norwegian has two written forms, each with a code of its own.
_FORMS: Final = {"no": ("nb", "nn")}
# The wanted language is not the one only if another is clearly more likely.
MIN_RATIO: Final = 0.6
# A few capitalised words may all be names, which are of no language: "Golden Gate Bridge".
MAX_NAME_WORDS: Final = 5
MIN_RATIO_OF_NAMES: Final = 0.05
MIN_NAMELESS_LETTERS: Final = 6
# No Japanese sentence has as many characters without a kana between them.
MAX_KANJI_IN_A_ROW: Final = 8
MAX_JUDGED: Final = 5_000

_QUOTED: Final = re.compile(r"""["“”„«「『][^"“”„«»」』]{1,60}["“”»」』]""")
_HAN: Final = re.compile(r"[\u3400-\u4dbf\u4e00-\u9fff々]+")
_LETTER: Final = re.compile(r"[^\W\d_]")
_OPENING: Final = "\"'“„«»([¿¡"
# The characters in common use: a text with others is hardly in that language.
_HAN_CHARACTER_SETS: Final = {"ja": ("shift_jis",), "zh": ("gb2312", "big5")}


class DetectorMissingError(Exception):
    """The language detector is not installed; the message says which command installs it."""


def require_detector(needed_by: str) -> None:
    """Check that the detector is installed.

    Raises:
        DetectorMissingError: it is not.
    """
    if importlib.util.find_spec("lingua") is None:
        raise DetectorMissingError(
            f"{needed_by} needs a language detector, which is not installed: {INSTALL}"
        )


def language_failures(output: Output) -> tuple[Failure, ...]:
    """Why an output is not in the language that it must be in; empty where it is or may be.

    Keywords are judged together: a single one is too short.
    """
    if output.language is None:
        return ()
    wanted = output.language
    text = answer_of(output)
    other = other_language(text, wanted)
    if other is None:
        return ()
    reason = f"{LANGUAGES[wanted]} expected, but this is {LANGUAGES[other]}: {one_line(text, 120)!r}"
    return (Failure(LANGUAGE_CHECK, reason),)


def other_language(text: str, wanted: str, detect: Detect | None = None) -> str | None:
    """The code of the language that a text is in instead of the wanted one, None where it may be that.

    ``detect`` is another detector than the usual one, for measuring.
    """
    text = text[:MAX_JUDGED]
    if wanted in _HAN_CHARACTER_SETS and _only_han(text):
        return _other_with_han(text, wanted)
    forms = _FORMS.get(wanted, (wanted,))
    candidates = frozenset((*RIVALS, *forms))
    likely = _likely(text, lambda part: (detect or confidences)(part, candidates))
    own = sum(likely.get(form, 0.0) for form in forms)
    rivals = {code: value for code, value in likely.items() if code not in forms}
    best = max(rivals, key=rivals.__getitem__, default=wanted)
    return best if own < _min_ratio(text) * rivals.get(best, 0.0) else None


def confidences(text: str, candidates: frozenset[str]) -> Confidences:
    """How likely a text is in each of the candidates; all are 0 where nothing can be said."""
    values = _detector(candidates).compute_language_confidence_values(text)
    return {value.language.iso_code_639_1.name.lower(): value.value for value in values}


@lru_cache(maxsize=8)
def _detector(candidates: frozenset[str]) -> LanguageDetector:
    from lingua import IsoCode639_1, LanguageDetectorBuilder

    codes = [getattr(IsoCode639_1, code.upper()) for code in sorted(candidates)]
    return LanguageDetectorBuilder.from_iso_codes_639_1(*codes).build()


def _likely(text: str, detect: Callable[[str], Confidences]) -> Confidences:
    """The confidences of a text, half of whose weight has the text without names and quotations."""
    whole = detect(text)
    rest = _without_names(_QUOTED.sub(" ", text))
    if rest == text or len(_LETTER.findall(rest)) < MIN_NAMELESS_LETTERS or " " not in rest:
        return whole
    part = detect(rest)
    both = {code: math.sqrt(value * part.get(code, 0.0)) for code, value in whole.items()}
    return both if any(both.values()) else whole


def _without_names(text: str) -> str:
    """The words of a text but those that begin with a capital letter within a sentence."""
    kept, starts = [], True
    for word in text.split():
        if starts or not _begins_with_capital(word):
            kept.append(word)
        starts = word.endswith((".", "!", "?", ":"))
    return " ".join(kept)


def _min_ratio(text: str) -> float:
    words = text.split()
    may_be_names = len(words) <= MAX_NAME_WORDS and all(_begins_with_capital(word) for word in words)
    return MIN_RATIO_OF_NAMES if may_be_names else MIN_RATIO


def _begins_with_capital(word: str) -> bool:
    return word.lstrip(_OPENING)[:1].isupper()


def _only_han(text: str) -> bool:
    return all(_HAN.fullmatch(letter) for letter in _LETTER.findall(text))


def _other_with_han(text: str, wanted: str) -> str | None:
    """Chinese or Japanese, for a text in characters that both write: by those that only one of them has."""
    fits = {
        code: any(_can_encode(text, character_set) for character_set in character_sets)
        for code, character_sets in _HAN_CHARACTER_SETS.items()
    }
    if max(map(len, _HAN.findall(text)), default=0) > MAX_KANJI_IN_A_ROW:
        fits["ja"] = False
    (other,) = set(fits) - {wanted}
    return other if fits[other] and not fits[wanted] else None


def _can_encode(text: str, character_set: str) -> bool:
    try:
        "".join(_HAN.findall(text)).encode(character_set)
    except UnicodeEncodeError:
        return False
    return True
