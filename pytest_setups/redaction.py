"""What may be shown and kept: text that is printable, bounded and without secrets."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

if TYPE_CHECKING:
    from collections.abc import Mapping

HIDDEN: Final = "[hidden]"
_SENSITIVE: Final = r"[\w.-]*(?:api[_-]?key|authorization|token|secret|password|passwd|credential)s?"
_SENSITIVE_NAME: Final = re.compile(rf"(?i)(?:{_SENSITIVE}|key|sig|signature)")
_SECRET_NAME: Final = re.compile(rf"(?i)-*{_SENSITIVE}|\w*_key")
_ASSIGNED: Final = re.compile(
    rf"""(?ix)
    ( (?<![\w-]) --?{_SENSITIVE} (?:\s*=\s*|\s+)            # --api-key VALUE, --token=VALUE
    | \b\w*(?:_KEY|TOKEN|SECRET|PASSWORD|PASSWD) \s*=\s*    # OPENAI_API_KEY=VALUE
    | (?<![\w-]) {_SENSITIVE} ["']* \s*:\s*                 # "api_key": "VALUE", X-Api-Key: VALUE
    )
    ( (?P<quote>["']) .*? (?P=quote) | [^\s"';&|,}}]+ )
    """
)
_BEARER: Final = re.compile(r"(?i)(\b(?:bearer|basic)\s+)[\w.~+/=-]{6,}")
_KNOWN_TOKEN: Final = re.compile(r"\b(?:hf_|sk-|ghp_|github_pat_|xox[abp]-|AKIA)[\w-]{8,}")
_URL: Final = re.compile(r"""[a-z][a-z0-9+.-]*://[^\s"'<>]+""", re.IGNORECASE)
_NOT_PRINTABLE: Final = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff]"
)
_ESCAPE_SEQUENCE: Final = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[@-Z\\-_])")
# Flags whose value merely counts tokens or names a tokenizer, and prose about tokens: no secrets.
_COUNTS_TOKENS: Final = re.compile(
    r"(?i)max[\w-]*tokens?|tokens?-|^(?:one-token|(?:template-)?tokens)\s*:\s|new[_-]tokens|num[\w-]*tokens?|(?:in|out)put[_-]tokens|batched[_-]tokens"
)


def printable(text: str, limit: int = 4000) -> str:
    """The text without control and direction characters (line ends and tabs stay), cut at ``limit``."""
    kept = _ESCAPE_SEQUENCE.sub("", text[: limit * 2].replace("\r\n", "\n"))
    kept = _NOT_PRINTABLE.sub("", kept)
    return kept if len(kept) <= limit and len(text) <= limit * 2 else f"{kept[:limit]}…"


def one_line(text: str, limit: int = 300) -> str:
    """The printable text on one line, cut at ``limit`` characters."""
    return printable(" ".join(printable(text, limit * 4).split()), limit)


def encodable(text: str) -> str:
    """The text with a question mark for each byte that the command line could not decode."""
    return text.encode("utf-8", "replace").decode()


def redact(text: str, *secrets: str | None) -> str:
    """The text with secrets replaced by ``[hidden]``.

    Hidden are the given values, values of options and variables named like a key, token, secret or
    password, bearer tokens, tokens of known shape, and passwords and keys inside URLs.
    """
    for secret in secrets:
        if secret:
            text = text.replace(secret, HIDDEN)
    text = _BEARER.sub(rf"\1{HIDDEN}", text)
    text = _ASSIGNED.sub(_hide_value, text)
    text = _KNOWN_TOKEN.sub(HIDDEN, text)
    return _URL.sub(lambda match: redact_url(match[0]), text)


def redact_json(value: Any, *secrets: str | None) -> Any:
    """The JSON value with :func:`redact` applied to each text, and texts under sensitive names hidden."""
    if isinstance(value, str):
        return redact(value, *secrets)
    if isinstance(value, dict):
        return {
            name: HIDDEN if isinstance(part, str) and _is_sensitive(name) else redact_json(part, *secrets)
            for name, part in value.items()
        }
    return [redact_json(part, *secrets) for part in value] if isinstance(value, list) else value


def _is_sensitive(name: str) -> bool:
    return _SENSITIVE_NAME.fullmatch(name) is not None and _COUNTS_TOKENS.search(name) is None


def without_paths(text: str, places: Mapping[str, str]) -> str:
    """The text with each path of ``places`` replaced by its name, whole path components only.

    ``places`` is by name, such as ``{"~": "/home/ann"}``; a longer path goes before a shorter one.
    """
    for name, path in sorted(places.items(), key=lambda place: -len(place[1])):
        if path.strip("/"):
            pattern = rf"(?:(?<![\w.-])|(?<=\s-\w)){re.escape(path.rstrip('/'))}(?![\w-]|\.\w)"
            text = name.join(re.split(pattern, text))
    return text


def is_secret_name(name: str) -> bool:
    """Whether an option, variable or field of that name holds a secret."""
    return bool(_SECRET_NAME.fullmatch(name)) and not _COUNTS_TOKENS.search(name)


def redact_url(url: str) -> str:
    """The URL with its user name and password, and query values named like secrets, replaced."""
    try:
        parts = urlsplit(url)
        query = parse_qsl(parts.query, keep_blank_values=True)
    except ValueError:
        return HIDDEN
    netloc = f"{HIDDEN}@{parts.netloc.rpartition('@')[2]}" if "@" in parts.netloc else parts.netloc
    if any(_SENSITIVE_NAME.fullmatch(name) for name, _ in query):
        hidden = [(name, HIDDEN if _SENSITIVE_NAME.fullmatch(name) else value) for name, value in query]
        parts = parts._replace(query=urlencode(hidden, safe="[]/:,"))
    return urlunsplit(parts._replace(netloc=netloc))


def _hide_value(match: re.Match[str]) -> str:
    return match[0] if _COUNTS_TOKENS.search(match[1]) else f"{match[1]}{HIDDEN}"


@dataclass(frozen=True, slots=True)
class Redactor:
    """Hides the secrets of one run and, where ``places`` names any, private paths."""

    secrets: tuple[str, ...] = ()
    places: Mapping[str, str] = field(default_factory=dict)

    def text(self, text: str) -> str:
        """Free text."""
        return without_paths(redact(text, *self.secrets), self.places)

    def command(self, text: str) -> str:
        """A command line."""
        return self.text(text)

    def json(self, value: Any) -> Any:
        """A JSON value."""
        return self._paths_in(redact_json(value, *self.secrets))

    def url(self, url: str) -> str:
        """A URL."""
        return redact_url(url)

    def paths(self, text: str) -> str:
        """Text with private paths only."""
        return without_paths(text, self.places)

    def _paths_in(self, value: Any) -> Any:
        if isinstance(value, str):
            return self.paths(value)
        if isinstance(value, dict):
            return {key: self._paths_in(part) for key, part in value.items()}
        return [self._paths_in(part) for part in value] if isinstance(value, list) else value
