"""The JSON schema that keywords are asked with, and whether an answer obeys it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from pytest_setups.redaction import one_line
from pytest_setups.serving.backends import SchemaForm

if TYPE_CHECKING:
    from collections.abc import Sequence

MAX_TERMS: Final = 1000
"""The most terms that a schema lists.

OpenAI documents this limit. llama.cpp tries every term again for every token: with the toy model an answer
takes 0.2 s with 1,000 terms and 2.5 s with 4,000 (``python -m benchmarks.vocabulary``).
"""
MAX_ITEMS: Final = 50
"""The most keywords of an answer, twice as many as the built-in prompts ask for.

Without a limit, small models never end the list that a grammar keeps them in. A shorter vocabulary lowers it
to the number of its terms: more keywords would only be repetitions.
"""
_NAME: Final = "keywords"


@dataclass(frozen=True, slots=True)
class KeywordSchema:
    """An object with one field, ``keywords``: a list of strings, of a vocabulary's terms where there is one.

    Only what every server's grammar understands: no ``uniqueItems``, which xgrammar (vLLM, SGLang) lacks.
    """

    terms: tuple[str, ...] = ()

    @property
    def max_items(self) -> int:
        """The most keywords of an answer."""
        return min(MAX_ITEMS, len(self.terms) or MAX_ITEMS)

    def document(self, *, with_terms: bool = True) -> dict[str, Any]:
        """The JSON schema; without its terms for an entry, which names the vocabulary by its checksum."""
        listed = {"enum": list(self.terms)} if with_terms and self.terms else {}
        return {
            "type": "object",
            "properties": {
                _NAME: {"type": "array", "items": {"type": "string", **listed}, "maxItems": self.max_items}
            },
            "required": [_NAME],
            "additionalProperties": False,
        }

    def response_format(self, form: SchemaForm, *, with_terms: bool = True) -> dict[str, Any]:
        """The field ``response_format`` of a request, in the form that the server understands."""
        schema = self.document(with_terms=with_terms)
        if form is SchemaForm.OPENAI:
            return {
                "type": "json_schema",
                "json_schema": {"name": _NAME, "strict": True, "schema": schema},
            }
        return {"type": "json", form.value: schema}

    def violation(self, answer: str) -> str | None:
        """How an answer, without reasoning, does not obey the schema; None where it does."""
        try:
            value = json.loads(answer)
        except (ValueError, RecursionError):
            return "it is not JSON"
        if not isinstance(value, dict) or value.keys() != {_NAME}:
            return f"it is not an object with the one field {_NAME}"
        words = value[_NAME]
        if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
            return f"{_NAME} is not a list of strings"
        if len(words) > self.max_items:
            return f"{_NAME} has {len(words)} items, more than the {self.max_items} that were allowed"
        return self._outside(words)

    def _outside(self, words: Sequence[str]) -> str | None:
        terms = set(self.terms)
        outside = next((word for word in words if word not in terms), None) if terms else None
        return None if outside is None else f"{one_line(outside, 60)!r} is not a term of the vocabulary"
