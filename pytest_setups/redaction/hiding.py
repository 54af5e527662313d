"""One pass over a text, a URL or JSON: what is secret is hidden, and noted."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote, unquote_plus

from pytest_setups.redaction.free_text import NAME, secret_after
from pytest_setups.redaction.secret_names import holds_headers, is_secret_name
from pytest_setups.redaction.secret_values import (
    HIDDEN,
    KNOWN_SHAPE,
    PEM_BEGIN,
    PEM_END,
    PLAIN_HEADERS,
    RANDOM_RUN,
    SCHEMES,
    TELLING_PREFIXES,
    WITH_SCHEME,
    is_harmless,
    is_placeholder,
    looks_random,
    pattern_of,
    reads_as_prose,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

HINT: Final = re.compile(
    "key|token|secret|pass|pwd|auth|cookie|bearer|cred|sig|session|pat(?![a-z])|jwt|hft|headers",
    re.IGNORECASE,
)
# -u user:password and --user, as curl has them (https://curl.se/docs/manpage.html#-u).
_USER_OPTION: Final = re.compile(
    r"(?<![\w-])(?P<option>(?:-[A-Za-z]{0,4}[uU]|--(?:proxy-)?user)[ =]{1,4})(?P<value>[^\s'\"]{3,}+)"
)
_USER_PASSWORD: Final = re.compile(r"(?![/.~])(?!\d+:\d+$)(?!.*://)[^:]*:.*", re.DOTALL)
# user:password@host without a scheme, as proxies are written; not image:tag@sha256:...
_USERINFO: Final = re.compile(
    r"(?<![\w/@.:%+-])([\w.%+-]{1,100}:[^\s:@/'\"<>]{1,200})@"
    r"(?!sha\d)(?=localhost\b|[\w-]{1,100}(?:\.[\w-]|:\d))"
)
# RFC 3986, 3.2: the authority ends at / ? or #, the userinfo at the last @ in it. A password in which those
# were not encoded reaches to the last @ of all: what stands behind its colon is not a port.
_AUTHORITY: Final = re.compile(r"[^/?#]*+")
_HOST: Final = re.compile(r"[^:@]*(?::\d*)?|\[[^\]]*\](?::\d*)?")
_PARAMETER: Final = re.compile(r"(?P<before>[?&;#])(?P<name>[^=&;#?]{1,200})=(?P<value>[^&;#]*+)")
_URL_IN_TEXT: Final = re.compile(r"""://[^\s"'<>`]+""")


class Hiding:
    """One pass; ``hidden`` collects what was hidden."""

    def __init__(self, secrets: Iterable[str | None] = ()) -> None:
        self._given = pattern_of(tuple(secrets))
        self.hidden: list[str] = []

    def hide(self, value: str) -> str:
        """Note a secret; returns what is shown for it."""
        self.hidden.append(value)
        return HIDDEN

    def text(self, text: str) -> str:
        """Free text without secrets."""
        text = self.known(text)
        if "://" in text:
            text = _URL_IN_TEXT.sub(lambda match: self.url(match[0]), text)
        if "@" in text:
            text = _USERINFO.sub(lambda match: f"{self.hide(match[1])}@", text)
        if ":" in text:
            text = _USER_OPTION.sub(lambda match: match["option"] + self.user(match["value"]), text)
        if HINT.search(text):
            text = self._named(text)
        return WITH_SCHEME.sub(self._with_scheme, text)

    def known(self, text: str) -> str:
        """The text without given secrets, tokens of known shape and private keys."""
        if self._given is not None:
            text = self._given.sub(lambda match: self.hide(match[0]), text)
        text = KNOWN_SHAPE.sub(lambda match: self._shape(match[0]), text)
        if "PRIVATE KEY-----" not in text:
            return text
        kept, at = [], 0
        while begin := PEM_BEGIN.search(text, at):
            end = PEM_END.search(text, begin.end())
            stop = end.end() if end else len(text)
            kept += [text[at : begin.start()], self.hide(text[begin.start() : stop])]
            at = stop
        return "".join([*kept, text[at:]])

    def _shape(self, token: str) -> str:
        """Names of models begin like some tokens (sk-learn-vision-7b); only a token has a long random run."""
        if token.startswith(TELLING_PREFIXES):
            return self.hide(token)
        if token.startswith(("sk-", "hf_")) and not any(map(looks_random, RANDOM_RUN.findall(token))):
            return token
        return self.hide(token)

    def _with_scheme(self, match: re.Match[str]) -> str:
        token, follows = match[2], match.string[match.end() : match.end() + 1]
        ends = follows in {"", '"', "'", "\n", ",", ";", ")", "}", "]"}
        if len(token) >= 20 or looks_random(token) or (ends and not reads_as_prose(token)):
            return f"{match[1]}{self.hide(token)}"
        return match[0]

    def user(self, value: str) -> str:
        """``user:password`` hidden; a user's name, ids of user and group, an address or a path as it is."""
        credentials = _USER_PASSWORD.fullmatch(value) and not is_placeholder(value)
        return self.hide(value) if credentials else value

    def _named(self, text: str) -> str:
        """The text without the values that stand behind secret names."""
        kept: list[str] = []
        copied = at = 0
        while name := NAME.search(text, at):
            at = name.end()
            value = secret_after(text, name)
            if value is not None:
                self.hide(value.text)
                kept += [text[copied : value.start], value.shown]
                copied = at = value.stop
        return "".join([*kept, text[copied:]])

    def url(self, url: str) -> str:
        """A URL, or what stands behind its scheme, without userinfo and secrets in its query and fragment."""
        scheme, slashes, rest = url.partition("//")
        if not slashes:
            return _PARAMETER.sub(self._parameter, url)
        authority = _AUTHORITY.match(rest)
        end = authority.end() if authority else 0
        at = rest.rfind("@", 0, end)
        if at < 0 and not _HOST.fullmatch(rest, 0, end):
            at = rest.rfind("@")
        if at >= 0:
            user = rest[:at]
            kept = all(map(is_placeholder, user.split(":")))
            rest = f"{user if kept else self.hide(user)}{rest[at:]}"
        return f"{scheme}{slashes}{_PARAMETER.sub(self._parameter, rest)}"

    def _parameter(self, match: re.Match[str]) -> str:
        name, value = unquote_plus(match["name"]), match["value"]
        if not is_secret_name(name) or is_placeholder(unquote(value)):
            return match[0]
        return f"{match['before']}{match['name']}={self.hide(value)}"

    def json(self, value: Any) -> Any:
        """A JSON value without secrets."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, dict):
            return {self._name(name): self.field(str(name), part) for name, part in value.items()}
        return [self.json(part) for part in value] if isinstance(value, list | tuple) else value

    def _name(self, name: Any) -> Any:
        """The name of a field, which stays what it is (an enumeration's member) if it holds no secret."""
        known = self.known(str(name))
        return name if known == str(name) else known

    def field(self, name: str, value: Any) -> Any:
        """The value of a JSON field without secrets."""
        if is_secret_name(name):
            return self._subtree(name, value)
        return self._headers(value) if holds_headers(name) else self.json(value)

    def _subtree(self, name: str, value: Any) -> Any:
        if value is None or isinstance(value, bool) or value in ([], {}):
            return value
        if isinstance(value, str) and is_harmless(name, value):
            return value
        self.hidden += _leaves(value)
        return HIDDEN

    def _headers(self, value: Any) -> Any:
        """HTTP headers, of which any server may have secret ones of its own."""
        if isinstance(value, list):
            return [self._headers(part) for part in value]
        if isinstance(value, dict):
            return {
                name: self.json(part)
                if str(name).lower() in PLAIN_HEADERS
                else self._subtree(str(name), part)
                for name, part in value.items()
            }
        if not isinstance(value, str):
            return value
        name, colon, content = value.partition(":")
        plain = not colon or name.strip().lower() in PLAIN_HEADERS
        return self.text(value) if plain else f"{name}: {self.credentials(name, content.strip())}"

    def credentials(self, name: str, value: str) -> str:
        """The value of a secret header; its scheme stays."""
        if is_harmless(name, value):
            return value
        scheme, space, rest = value.partition(" ")
        return f"{scheme} {self.hide(rest)}" if space and scheme.lower() in SCHEMES else self.hide(value)


def _leaves(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        for part in value:
            yield from _leaves(part)
    elif value is not None and not isinstance(value, bool):
        yield str(value)
