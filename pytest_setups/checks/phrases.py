"""How models speak to their user, language by language: the tables in ``phrases/<language>.toml``.

Each table is a list of regular expressions, one per line, matched in lower case with straight apostrophes and
single spaces; ``<picture>`` stands for the lines of the table ``picture``. They are:

``picture``
    what a picture is called.
``cannot``
    the first person, and what it is unable or not willing to do.
``sees``, ``helps``
    what it cannot do: with a picture (see, describe, open), or at all (help, comply).
``absent``
    that there is no picture, or that it was not attached or is broken.
``message``
    the user's message: a picture named beside it is said to the user.
``request``, ``gives``
    a request to the user to send something, and what is sent.
``apology``, ``apology_but``
    an apology at the beginning; with the words after it that make it one to the user.
``model``, ``policy``, ``offers``
    that it is a language model; that rules forbid it; what it could do for the user.
``opening``, ``eager``
    words before an answer; those that make it an answer to the user where an exclamation mark follows.
``here``, ``answer``, ``introduction``, ``label``, ``closing``
    "here is", the names of what is delivered, sentences that deliver it, labels before a colon, words at the
    end.
``thinking``
    reasoning about the task.
``placeholder``
    text where an answer should be filled in.
``roles``
    names of the parties of a chat.
``disorder``, ``disorder_certain``
    grammatical words in an order that no sentence has: two of them prove it, or one.
``dangling``, ``stop``, ``empty``
    words: no sentence ends with the first (with ``?``: a heading may); grammatical words; words that say
    nothing of a picture. ``_`` stands for a space.

``spaced`` says how words are separated: ``words`` by spaces; ``prefixes`` and ``suffixes`` by spaces, with
particles attached before or behind; ``none`` not at all.
"""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass, field
from functools import cache, lru_cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any, Final

from pytest_setups.checks.texts import scripts

if TYPE_CHECKING:
    from collections.abc import Mapping

_LANGUAGES_OF_SCRIPT: Final = {
    "latin": (
        "en",
        "de",
        "fr",
        "es",
        "it",
        "pt",
        "nl",
        "pl",
        "tr",
        "cs",
        "sv",
        "da",
        "nb",
        "fi",
        "vi",
        "id",
        "ro",
        "hu",
    ),
    "cyrillic": ("ru", "uk"),
    "greek": ("el",),
    "hebrew": ("he",),
    "arabic": ("ar", "fa"),
    "devanagari": ("hi",),
    "bengali": ("bn",),
    "thai": ("th",),
    "hangul": ("ko",),
    "kana": ("ja",),
    "han": ("zh", "ja"),
}
CODES: Final = tuple(dict.fromkeys(code for codes in _LANGUAGES_OF_SCRIPT.values() for code in codes))


@dataclass(frozen=True, slots=True, eq=False)
class Language:
    """The tables of one language.

    Attributes:
        code: ISO 639-1.
        spaced: how words are separated, see the module.
        tables: the lines of each table by its name.
    """

    code: str
    spaced: str
    tables: Mapping[str, tuple[str, ...]]
    _patterns: dict[str, re.Pattern[str] | None] = field(default_factory=dict)
    _words: dict[str, frozenset[str]] = field(default_factory=dict)

    def pattern(self, table: str) -> re.Pattern[str] | None:
        """Any phrase of a table; None where the language has none."""
        if table not in self._patterns:
            source = self.alternatives(table)
            self._patterns[table] = re.compile(source) if source else None
        return self._patterns[table]

    def says(self, table: str, text: str) -> bool:
        """Whether a phrase of the table is in the text, which is in lower case with single spaces."""
        pattern = self.pattern(table)
        return pattern is not None and pattern.search(text) is not None

    def alternatives(self, table: str) -> str:
        """The source of a regular expression for any phrase of a table; empty where there is none."""
        phrases = self.tables.get(table, ())
        if not phrases:
            return ""
        picture = "(?:" + "|".join(self.tables.get("picture", ())) + ")"
        source = "(?:" + "|".join(phrases).replace("<picture>", picture) + ")"
        # Words of other scripts may have particles attached before them.
        return rf"(?<!\w){source}" if self.spaced == "words" else source

    def grammar(self) -> frozenset[str]:
        """All grammatical words."""
        if "grammar" not in self._words:
            ending = {word.rstrip("?") for word in self.tables.get("dangling", ())}
            self._words["grammar"] = self.words("stop") | ending
        return self._words["grammar"]

    def words(self, table: str) -> frozenset[str]:
        """The words of a table."""
        if table not in self._words:
            self._words[table] = frozenset(self.tables.get(table, ()))
        return self._words[table]


@cache
def language(code: str) -> Language:
    """The tables of a language."""
    source = (files("pytest_setups.checks") / "phrases" / f"{code}.toml").read_text("utf-8")
    document: dict[str, Any] = tomllib.loads(source)
    spaced = document.pop("spaced", "words")
    tables = {name: _entries(name, text) for name, text in document.items()}
    return Language(code, spaced, tables)


def _entries(table: str, text: str) -> tuple[str, ...]:
    if table in {"dangling", "stop", "empty", "endings", "fillers"}:
        return tuple(word.replace("_", " ") for word in text.split())
    return tuple(line for line in text.splitlines() if line and not line.startswith("#"))


@lru_cache(maxsize=16)  # asked again by each check of an answer
def languages_of(text: str) -> tuple[Language, ...]:
    """The languages that are written in the scripts of a text."""
    found = scripts(text)
    codes = [code for script, codes in _LANGUAGES_OF_SCRIPT.items() if script in found for code in codes]
    return tuple(language(code) for code in dict.fromkeys(codes))


@lru_cache(maxsize=1_000)  # asked again for each language that a text may be in
def is_sign(sentence: str) -> bool:
    """Whether a sentence reports what a sign, a tattoo or a person in the picture says."""
    return language("signs").says("sign", sentence)
