"""What a secret and a private path look like, and text without them: the one place that knows.

One predicate, :func:`is_secret_name`, decides for options, JSON fields, environment variables, headers and
the query of a URL. What it hides reads ``[hidden]``. In doubt an option's value is hidden; prose about keys,
counts of tokens and names of files stay.

The text comes from servers and models, so everything here takes time in proportion to its length: patterns
have possessive quantifiers, and no scan starts again before the end of an earlier one.

Names are judged in ``secret_names``, values in ``secret_values``; ``hiding`` goes through a text, a URL
or JSON, ``command_words`` through a command line.
"""

from __future__ import annotations

import re
from base64 import b64encode
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from pytest_setups.redaction.command_words import CommandReader, hide_in_command
from pytest_setups.redaction.hiding import Hiding
from pytest_setups.redaction.printable import encodable, one_line, printable
from pytest_setups.redaction.secret_names import is_secret_name
from pytest_setups.redaction.secret_values import HIDDEN, PLAIN, is_harmless, replaceable

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = [
    "HIDDEN",
    "Redactor",
    "command_secrets",
    "encodable",
    "environment_secrets",
    "is_secret_name",
    "json_secrets",
    "one_line",
    "printable",
    "redact",
    "redact_command",
    "redact_json",
    "redact_url",
    "redact_words",
    "url_secrets",
    "without_paths",
]


def redact(text: str, *secrets: str | None) -> str:
    """Free text without secrets: an error, a log, a note.

    Hidden are the given secrets of at least ``MIN_LENGTH`` characters as whole tokens, the values behind
    secret names, credentials in headers, tokens of known shape, and passwords and secret parameters of URLs.
    """
    return Hiding(secrets).text(text)


def redact_command(text: str, *secrets: str | None) -> str:
    """A command line without secrets, word by word; the rest stays as typed, so that it can be copied."""
    return hide_in_command(Hiding(secrets), text)


def redact_words(words: Iterable[str], *secrets: str | None) -> list[str]:
    """The words of one command without secrets, as many as were given."""
    reader = CommandReader(Hiding(secrets))
    return [reader.take(word) for word in words]


def redact_json(value: Any, *secrets: str | None) -> Any:
    """The JSON value without secrets: whole subtrees below secret names, and what is secret in any text."""
    return Hiding(secrets).json(value)


def redact_url(url: str, *secrets: str | None) -> str:
    """The URL without its user name and password, and without the values of secret parameters."""
    hiding = Hiding(secrets)
    return hiding.known(hiding.url(url))


def environment_secrets(environ: Mapping[str, str]) -> tuple[str, ...]:
    """The secrets among environment variables that can be replaced wherever they stand in a text.

    Those are the values of variables with secret names, and passwords in URLs (``http_proxy``), of at least
    ``MIN_LENGTH`` characters. The path of a key's file is not one.
    """
    secrets: list[str] = []
    for name, value in environ.items():
        if is_secret_name(name) and not is_harmless(name, value) and not PLAIN.fullmatch(value):
            secrets.append(value)
        elif "://" in value:
            secrets += url_secrets(value)
    return replaceable(secrets)


def url_secrets(url: str) -> tuple[str, ...]:
    """The password of a URL as written and as sent (Basic, RFC 7617), and the secrets in its query."""
    hiding = Hiding()
    hiding.url(url)
    secrets: list[str] = []
    for value in hiding.hidden:
        user, colon, password = value.rpartition(":")
        secrets += [password, unquote(password)]
        if colon:
            secrets.append(b64encode(f"{unquote(user)}:{unquote(password)}".encode()).decode())
    return replaceable(secrets)


def command_secrets(text: str) -> tuple[str, ...]:
    """The values that :func:`redact_command` hides, as far as they can be replaced wherever they stand."""
    hiding = Hiding()
    hide_in_command(hiding, text)
    parts = [(value, *value.split(","), value.rpartition(":")[2]) for value in hiding.hidden]
    return replaceable(part for several in parts for part in several)


def json_secrets(value: Any) -> tuple[str, ...]:
    """The values that :func:`redact_json` hides, as far as they can be replaced wherever they stand."""
    hiding = Hiding()
    hiding.json(value)
    return replaceable(hiding.hidden)


def without_paths(text: str, places: Mapping[str, str]) -> str:
    """The text with each path of ``places`` replaced by its name, whole path components only.

    ``places`` is by name, such as ``{"~": "/home/ann"}``; a longer path is replaced before a shorter one.
    """
    for name, path in sorted(places.items(), key=lambda place: -len(place[1])):
        if path.strip("/"):
            pattern = rf"(?:(?<![\w.-])|(?<=\s-\w)){re.escape(path.rstrip('/'))}(?![\w-]|\.\w)"
            text = name.join(re.split(pattern, text))
    return text


@dataclass(frozen=True, slots=True)
class Redactor:
    """What a run must not show: the values of secrets, and private places by the name shown for them."""

    secrets: tuple[str, ...] = ()
    places: Mapping[str, str] = field(default_factory=dict)

    def text(self, text: str) -> str:
        """Free text without secrets and private paths."""
        return self.paths(redact(text, *self.secrets))

    def command(self, text: str) -> str:
        """A command line without secrets and private paths."""
        return self.paths(redact_command(text, *self.secrets))

    def url(self, url: str) -> str:
        """A URL without secrets."""
        return redact_url(url, *self.secrets)

    def json(self, value: Any) -> Any:
        """A JSON value without secrets and private paths."""
        return self._without_paths(redact_json(value, *self.secrets))

    def known(self, text: str) -> str:
        """A text that must otherwise stay as it is: without given secrets, known tokens and private paths."""
        return self.paths(Hiding(self.secrets).known(text))

    def paths(self, text: str) -> str:
        """The text without private paths."""
        return without_paths(text, self.places) if self.places else text

    def _without_paths(self, value: Any) -> Any:
        if isinstance(value, str):
            return self.paths(value)
        if isinstance(value, dict):
            return {name: self._without_paths(part) for name, part in value.items()}
        return [self._without_paths(part) for part in value] if isinstance(value, list) else value
