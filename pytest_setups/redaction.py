"""What a secret and a private path look like, and text without them: the one place that knows.

One predicate, :func:`is_secret_name`, decides for options, JSON fields, environment variables, headers and
the query of a URL. What it hides reads ``[hidden]``. In doubt an option's value is hidden; prose about keys,
counts of tokens and names of files stay.

The text comes from servers and models, so everything here takes time in proportion to its length: patterns
have possessive quantifiers, and no scan starts again before the end of an earlier one.

Only the standard library is imported: plain ``pytest`` loads this module.
"""

from __future__ import annotations

import json
import re
import shlex
from base64 import b64encode
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote, unquote, unquote_plus

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

HIDDEN: Final = "[hidden]"
MIN_LENGTH: Final = 8
"""Characters of a secret that is replaced wherever it stands: a shorter one may be a part of other words."""


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


# ----------------------------------------------------------------------------------------------------
# Printable text

_NOT_PRINTABLE: Final = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff]"
)
_ESCAPE_SEQUENCE: Final = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[@-Z\\-_])")


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


# ----------------------------------------------------------------------------------------------------
# Names: is what stands under this name a secret?

# Parts of a name in any spelling: api_key, X-Api-Key, apiKey, APIKey. Digits decide nothing (API_KEY_2).
_PART: Final = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[^\W\d_A-Za-z]+")
_LONGEST_NAME: Final = 200

# Anywhere in the name, its parts written together.
_SECRET_PART: Final = re.compile(
    "(?:api|access|private|secret|master|auth|encryption|signing|account|subscription)keys?|"
    "(?:auth|access)token|password|passwd|passphrase|passcode|userpass|sshpass|secret|credential|"
    "authorization|bearer|cookie"
)
# Of these, what people also write before a colon in a sentence: "recorded without its secret: give ...".
_IN_SENTENCES: Final = _words("secret secrets credential credentials cookie cookies")
# At the end of the name. `hft` is llama-server's short form of --hf-token.
_SECRET_ENDS: Final = _words(
    "key keys token auth authentication authtoken pass pwd pat sig signature jwt cred creds hft"
)
# As the whole name: a session is a cookie's value, session_len is a number of tokens.
_SECRET_NAMES: Final = _words("session sessionid")
# `image_token`, `one-token`, `first_pass` count or name something; so do `sort_key` and `public_key`.
_COUNTED: Final = _words(
    "one two single multi first second last next per each max min num new eos bos pad unk sep cls mask "
    "image video audio start end stop begin special system think thinking draft input output prompt "
    "completion cached generated text word sub implicit"
)
_LOOKED_UP: Final = _words(
    "sort primary foreign cache group partition public lookup hot image text caption keyword prompt "
    "answer index dict json map unique column field num"
)
_SECRET_TOKENS: Final = _words("api auth access bearer refresh session secret hf")
# What ends so does not hold the secret itself, but says where it is, what it is called or how long it lives.
_DESCRIBES: Final = _words(
    "file files filename keyfile path paths dir directory folder env var variable name names type types "
    "mode format length len size count limit header headers url uri endpoint required optional policy "
    "expiry ttl timeout manager provider algorithm prefix suffix error errors jar helper stdin"
)
# Switches: --allow-credentials and HF_HUB_DISABLE_IMPLICIT_TOKEN take a truth value.
_SWITCH_STARTS: Final = _words("no allow enable disable require skip ignore has is return")


def is_secret_name(name: str) -> bool:
    """Whether an option, JSON field, variable, header or query parameter of that name holds a secret."""
    return _is_secret_name(name[-_LONGEST_NAME:])


@lru_cache(maxsize=4096)
def _is_secret_name(name: str) -> bool:
    parts = [part.lower() for part in _PART.findall(name)]
    if not parts or parts[0] in _SWITCH_STARTS or {"enable", "disable"} & set(parts):
        return False
    *_, before, last = ("", *parts)
    if last in _DESCRIBES:
        return False
    return _is_strong(name) or "".join(parts) in _SECRET_NAMES or _is_secret_end(before, last)


def _is_strong(name: str) -> bool:
    """Whether the name alone says that it is about a secret, as ``password`` does and ``key`` does not."""
    together = "".join(_PART.findall(name)).lower()
    return _SECRET_PART.search(together) is not None


def _holds_headers(name: str) -> bool:
    return name.lower().endswith("headers")


def _is_secret_end(before: str, last: str) -> bool:
    if last == "tokens":
        return before in _SECRET_TOKENS
    if last.endswith("token") and last != "token":  # hftoken, bostoken
        before, last = last.removesuffix("token"), "token"
    return last in _SECRET_ENDS and before not in (_LOOKED_UP if last.startswith("key") else _COUNTED)


# ----------------------------------------------------------------------------------------------------
# Values: is this a secret at all?

# What the shell, a template or the reader replaces. A variable is upper case: '$ecret' is a password.
_PLACEHOLDER: Final = re.compile(
    r"""
      \$\{?[A-Z_][A-Z0-9_]*\}? | \$\(.*\) | `.*` | \$\{\{[^{}]*\}\} | %[A-Z_][A-Z0-9_]*%
    | \{\{?\ ?[a-z_.]+\ ?\}\}? | <[^<>\s][^<>]*> | os\.environ/\w+
    | (?:[a-z]{2,8}[-_])?(?:\.{3,}|…|\*{3,}|x{3,}|X{3,})
    | (?i:your|my)(?:[-_](?i:api|access|secret|private|hf|key|token|password|here))+
    | (?:API_)?KEY | TOKEN | SECRET | PASSWORD | PASS | VALUE | NAME | STRING | TEXT
    | (?i:none|null|true|false)
    """,
    re.VERBOSE | re.DOTALL,
)
# Values of -p and -k that are no passwords: a port or its mapping, a number with its unit, a path, an
# address, a file, a Python, a plugin. What else an unknown program takes may be one (`openssl enc -k`).
_PLAIN: Final = re.compile(
    r"""
      -?\d{1,5}(?:[.,]\d{1,5})*[A-Za-z]{0,3}
    | (?:[\d.*]+:|\[[\da-f:]*\]:|localhost:)?\d{1,5}(?:-\d{1,5})?:\d{1,5}(?:-\d{1,5})?(?:/\w{3,4})?
    | (?:~|\.{1,2})?/.* | [A-Za-z]:\\.* | [A-Za-z][\w+.-]*://.*
    | (?:localhost|[\d.]+):\d{1,5}(?:/\S*)?
    | [\w./-]+\.(?:json|ya?ml|toml|txt|pem|crt|key|gguf|safetensors|py|sh|log|md|csv|ini|com|org|net|io)
    | (?:python|pypy)[\d.]* | no:\w+
    """,
    re.VERBOSE | re.DOTALL,
)
_KEY_FILE: Final = re.compile(r"[\w./~\\:{}-]+\.(?:pem|key|crt|cer|der|p12|pfx|jks)")
# Words that follow "token:" or "--api-key" in a sentence, and states and types that code writes there.
_PROSE: Final = _words(
    "a an the this that your our any no not to or and is are was were be must may can should will needs "
    "need has with without in on for from if when which while as at by of than then only into it its you "
    "we but option options flag argument instead required missing invalid incorrect wrong unknown "
    "unauthorized forbidden empty set unset given optional expected failed failure denied rejected "
    "refused expired accepted verified default str string int bool bytes none null true false yes ok "
    "error token tokens key keys header headers auth authentication authorization scheme schema realm "
    "challenge format"
)
# Schemes of the Authorization header, registered (https://www.iana.org/assignments/http-authschemes) or not.
_SCHEMES: Final = _words(
    "bearer basic token digest apikey api-key negotiate ntlm oauth hawk ssws aws4-hmac-sha256"
)
_SCHEMES_WITH_FIELDS: Final = _words("digest oauth hawk aws4-hmac-sha256")
# Headers that are known to hold no secret; of all others below `extra_headers` that is not known.
_PLAIN_HEADERS: Final = _words(
    "accept accept-charset accept-encoding accept-language cache-control connection content-encoding "
    "content-length content-type date host origin referer server user-agent x-request-id"
)


def _is_placeholder(value: str) -> bool:
    if not value or value.startswith(HIDDEN):
        return True
    scheme, _, rest = value.lstrip().partition(" ")
    hidden = rest.startswith(HIDDEN) and scheme.lower() in _SCHEMES
    return hidden or _PLACEHOLDER.fullmatch(value) is not None


def _is_harmless(name: str, value: str) -> bool:
    """Whether a value under a secret name is none: a placeholder, a key's file, the working directory."""
    if _is_placeholder(value) or _KEY_FILE.fullmatch(value):
        return True
    return name in {"PWD", "OLDPWD"} and value.startswith("/")


def _reads_as_prose(word: str) -> bool:
    return word.strip(".,;:!?()'\"").lower() in _PROSE


def _looks_random(text: str) -> bool:
    """Whether no word of a language looks like this: digits among letters, or capitals inside."""
    letters = re.search(r"[A-Za-z]", text) is not None
    return letters and re.search(r"\d|[a-z][A-Z]|[A-Z]{2}[a-z]", text) is not None


# ----------------------------------------------------------------------------------------------------
# Secrets by their value and by their shape

# A user may choose such a word as the key of a server of their own (LM Studio's examples say "lm-studio").
# Hidden wherever they stand, these would spoil every entry, which says them itself.
_VOCABULARY: Final = _words(
    "keywords description descriptions captions measurement measurements verification performance "
    "environment temperature completion completions messages response responses connection concurrency "
    "incomplete registry templates reasoning localhost lmstudio lm-studio lmdeploy tensorrt-llm "
    "trtllm-serve llama.cpp llama-server llama_server transformers sample_images fingerprint quantization "
    "chat_template vision-language max_tokens image_url assistant"
)
_RANDOM_LENGTH: Final = 12

_KNOWN_SHAPE: Final = re.compile(
    r"""(?<![\w-])(?:
      hf_(?:oauth_|jwt_)?[A-Za-z0-9]{20,}+  # https://huggingface.co/docs/hub/security-tokens: hf_ and 34 more
    | sk-[A-Za-z0-9_-]{20,}+                # OpenAI, Anthropic (sk-ant-), OpenRouter (sk-or-)
    | [sr]k_(?:live|test)_[A-Za-z0-9]{16,}+ # Stripe
    | gh[pousr]_[A-Za-z0-9]{36,}+           # GitHub: https://github.blog/engineering/platform-security/
    | github_pat_[A-Za-z0-9_]{22,}+         #   behind-githubs-new-authentication-token-formats/
    | glpat-[A-Za-z0-9_-]{20,}+             # GitLab
    | xox[abeoprs]-[A-Za-z0-9-]{10,}+       # Slack
    | (?:AKIA|ASIA)[A-Z0-9]{16}(?!\w)       # AWS: 20 characters
    | AIza[A-Za-z0-9_-]{35}                 # Google
    | nvapi-[A-Za-z0-9_-]{40,}+             # NVIDIA NIM
    | eyJ[A-Za-z0-9_-]{8,}+(?:\.[A-Za-z0-9_-]*+){2,4}  # JSON Web Token (RFC 7519): '{"' in base64url
    )""",
    re.VERBOSE,
)
_TELLING_PREFIXES: Final = ("sk-proj-", "sk-svcacct-", "sk-ant-", "sk-or-v1-")
_RANDOM_RUN: Final = re.compile(r"[A-Za-z0-9_]{16,}+")
_PEM_BEGIN: Final = re.compile(r"-----BEGIN [A-Z ]{0,40}PRIVATE KEY-----")  # RFC 7468
_PEM_END: Final = re.compile(r"-----END [A-Z ]{0,40}PRIVATE KEY-----")
_WITH_SCHEME: Final = re.compile(r"(?i)(?<![\w-])((?:bearer|basic)[ \t]{1,8})([\w.~+/=-]{6,}+)")


def _is_replaceable(secret: str) -> bool:
    return len(secret) >= MIN_LENGTH and secret.lower() not in _VOCABULARY


def _replaceable(secrets: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(filter(_is_replaceable, secrets)))


@lru_cache(maxsize=64)
def _pattern_of(secrets: tuple[str | None, ...]) -> re.Pattern[str] | None:
    """What matches the given secrets as whole tokens; one that no word looks like, also inside a token."""
    kept = [secret for secret in secrets if secret and _is_replaceable(secret)]
    spelt = {spelling for secret in kept for spelling in _spellings(secret)}
    # The end of an escape (%22, \n) separates tokens, although it may be a letter or a digit.
    start, end = r"(?:(?<!\w)|(?<=%[0-9A-Fa-f]{2})|(?<=\\[nrt]))", r"(?!\w)"
    patterns = [
        re.escape(text)
        if len(text) >= _RANDOM_LENGTH and _looks_random(text)
        else f"{start if text[0].isalnum() else ''}{re.escape(text)}{end if text[-1].isalnum() else ''}"
        for text in sorted(spelt, key=lambda text: (-len(text), text))
    ]
    return re.compile("|".join(patterns)) if patterns else None


def _spellings(secret: str) -> tuple[str, ...]:
    """The secret as it is, as URLs have it and as JSON has it."""
    in_json = (json.dumps(secret)[1:-1], json.dumps(secret, ensure_ascii=False)[1:-1])
    return secret, quote(secret, safe=""), *in_json


# ----------------------------------------------------------------------------------------------------
# Values in free text

_NAME: Final = re.compile(r"[\w.-]++")
_QUOTE: Final = re.compile(r"""\\{0,8}["'`]""")
_ASSIGNS: Final = re.compile(r"[ \t]{0,8}(?P<by>=>|:=|=(?!=)|:(?!//|:))\s{0,8}")
_SPACE: Final = re.compile(r"(?P<by>)(?:[ \t]|\\\n)++")
_OPTION_LIKE: Final = re.compile(r"--?[A-Za-z]")
_STRING: Final = {
    '"': re.compile(r'"(?:[^"\\\n]|\\.)*+"?', re.DOTALL),
    "'": re.compile(r"'(?:[^'\\\n]|\\.)*+'?", re.DOTALL),
}
_BRACKET: Final = re.compile(
    r""""(?:[^"\\]|\\.)*+"?|'(?:[^'\\]|\\.)*+'?|(?P<opens>[\[{(])|(?P<closes>[\]})])""", re.DOTALL
)
# Up to the next space; a quote belongs to it unless it closes something.
_BARE: Final = re.compile(r"""(?:[^\s"'`]|["'`](?=[^\s,}\]):;"'`]))++""")
_BARE_IN_QUERY: Final = re.compile(r"""[^\s"'`&;#<>]++""")
_REST_OF_LINE: Final = re.compile(r"""[^\n"']++""")
_DIGITS_OF_A_NUMBER: Final = 5
_CLOSERS: Final = "])},.;:!?"
_PLACEHOLDER_WITH_SPACES: Final = re.compile(r"<[^<>\n]{1,60}>|\$\(|`")


@dataclass(frozen=True, slots=True)
class _Value:
    """A value in a text, from ``start`` to ``stop``, and what is written in its place if it is a secret."""

    start: int
    stop: int
    text: str
    shown: str = HIDDEN


def _secret_after(text: str, name: re.Match[str]) -> _Value | None:
    """The secret behind a name: ``name=value``, ``"name": value``, ``Name: value``, ``--name value``."""
    at = name.end()
    quoted = _QUOTE.match(text, at)
    marks = quoted[0] if quoted and text.endswith(quoted[0], 0, name.start()) else ""
    assigns = _ASSIGNS.match(text, at + len(marks))
    if assigns is None and name[0].startswith("-"):
        assigns = _SPACE.match(text, at)
    if assigns is None or not (is_secret_name(name[0]) or _opens_headers(text, name[0], assigns)):
        return None
    if assigns["by"] and "\n" in assigns[0] and not marks:  # `password:` ends a line: a prompt or a heading
        return None
    if (
        not marks
        and name.start()
        and text[name.start() - 1] == text[assigns.end() : assigns.end() + 1] in "\"'`"
    ):
        return None  # "token:" in quotes: they close here
    value = _value_at(text, assigns.end(), _end_of_bare(text, name, assigns["by"]))
    if value is None or not _is_secret(text, name[0], value, assigns["by"], marks):
        return None
    return replace(value, shown=f"{marks}{HIDDEN}{marks}")


def _opens_headers(text: str, name: str, assigns: re.Match[str]) -> bool:
    """Whether HTTP headers follow in brackets, of which any server may have secret ones of its own."""
    return _holds_headers(name) and text[assigns.end() : assigns.end() + 1] in {"{", "["}


def _end_of_bare(text: str, name: re.Match[str], by: str) -> re.Pattern[str]:
    """What a value without quotes consists of."""
    if name.start() and text[name.start() - 1] in "?&":  # in a query whose URL has no scheme
        return _BARE_IN_QUERY
    if by == ":" and name[0].lower().endswith("cookie"):  # RFC 6265: name=value pairs with semicolons
        return _REST_OF_LINE
    return _BARE


def _value_at(text: str, at: int, bare: re.Pattern[str]) -> _Value | None:
    if text.startswith(HIDDEN, at) or _PLACEHOLDER_WITH_SPACES.match(text, at):
        return None
    if opening := _QUOTE.match(text, at):
        return _quoted(text, at, opening[0])
    if text[at : at + 1] in {"[", "{"}:
        stop = _closing(text, at)
        return _Value(at, stop, text[at:stop])
    match = bare.match(text, at)
    return _bare(text, match) if match else None


def _quoted(text: str, at: int, delimiter: str) -> _Value:
    if string := _STRING.get(delimiter):
        match = string.match(text, at)
        stop = match.end() if match else at
    else:  # JSON in a string: \"value\"
        closing = text.find(delimiter, at + len(delimiter))
        stop = len(text) if closing < 0 else closing + len(delimiter)
    return _Value(at, stop, text[at:stop].removeprefix(delimiter).removesuffix(delimiter))


def _closing(text: str, at: int) -> int:
    """Where the bracket that opens at ``at`` closes; the end of the text when it does not."""
    depth = 0
    for match in _BRACKET.finditer(text, at):
        depth += (match["opens"] is not None) - (match["closes"] is not None)
        if depth == 0:
            return match.end()
    return len(text)


def _bare(text: str, match: re.Match[str]) -> _Value | None:
    start, stop = match.span()
    scheme = match[0].lower()
    space = _SPACE.match(text, stop) if scheme in _SCHEMES else None
    if space is not None:
        pattern = _REST_OF_LINE if scheme in _SCHEMES_WITH_FIELDS else _BARE
        credentials = None if text.startswith(HIDDEN, space.end()) else pattern.match(text, space.end())
        if credentials is None:
            return None
        start, stop = credentials.span()
    whole = text[start:stop]
    kept = whole.rstrip(_CLOSERS) or whole
    dots = whole.rstrip(_CLOSERS.replace(".", ""))
    return None if _is_placeholder(dots) else _Value(start, start + len(kept), kept)


def _is_secret(text: str, name: str, value: _Value, by: str, marks: str) -> bool:
    if _is_harmless(name, value.text) or (by == "" and _OPTION_LIKE.match(value.text)):
        return False
    if _holds_headers(name):
        return HIDDEN not in value.text
    if marks or by not in {"", ":"} or text[value.start] in "\"'\\[{":
        return True
    if _reads_as_prose(value.text):
        return False
    strong = _is_strong(name) and name not in _IN_SENTENCES
    if by == "" or name.startswith("-") or strong or _looks_random(value.text):
        return True
    # "session: 5 images", "auth: asked the user": a number, or a plain word in the middle of a sentence.
    follows = text[value.stop : value.stop + 1] == " " and _NAME.match(text, value.stop + 1)
    number = value.text.isdigit() and len(value.text) <= _DIGITS_OF_A_NUMBER
    return not (number or (follows and value.text.isalpha()))


# ----------------------------------------------------------------------------------------------------
# One pass over text, URLs, JSON or a command line

_HINT: Final = re.compile(
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


class _Hiding:
    """One pass; ``hidden`` collects what was hidden."""

    def __init__(self, secrets: Iterable[str | None] = ()) -> None:
        self._given = _pattern_of(tuple(secrets))
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
        if _HINT.search(text):
            text = self._named(text)
        return _WITH_SCHEME.sub(self._with_scheme, text)

    def known(self, text: str) -> str:
        """The text without given secrets, tokens of known shape and private keys."""
        if self._given is not None:
            text = self._given.sub(lambda match: self.hide(match[0]), text)
        text = _KNOWN_SHAPE.sub(lambda match: self._shape(match[0]), text)
        if "PRIVATE KEY-----" not in text:
            return text
        kept, at = [], 0
        while begin := _PEM_BEGIN.search(text, at):
            end = _PEM_END.search(text, begin.end())
            stop = end.end() if end else len(text)
            kept += [text[at : begin.start()], self.hide(text[begin.start() : stop])]
            at = stop
        return "".join([*kept, text[at:]])

    def _shape(self, token: str) -> str:
        """Names of models begin like some tokens (sk-learn-vision-7b); only a token has a long random run."""
        if token.startswith(_TELLING_PREFIXES):
            return self.hide(token)
        if token.startswith(("sk-", "hf_")) and not any(map(_looks_random, _RANDOM_RUN.findall(token))):
            return token
        return self.hide(token)

    def _with_scheme(self, match: re.Match[str]) -> str:
        token, follows = match[2], match.string[match.end() : match.end() + 1]
        ends = follows in {"", '"', "'", "\n", ",", ";", ")", "}", "]"}
        if len(token) >= 20 or _looks_random(token) or (ends and not _reads_as_prose(token)):
            return f"{match[1]}{self.hide(token)}"
        return match[0]

    def user(self, value: str) -> str:
        """``user:password`` hidden; a user's name, ids of user and group, an address or a path as it is."""
        credentials = _USER_PASSWORD.fullmatch(value) and not _is_placeholder(value)
        return self.hide(value) if credentials else value

    def _named(self, text: str) -> str:
        """The text without the values that stand behind secret names."""
        kept: list[str] = []
        copied = at = 0
        while name := _NAME.search(text, at):
            at = name.end()
            value = _secret_after(text, name)
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
            kept = all(map(_is_placeholder, user.split(":")))
            rest = f"{user if kept else self.hide(user)}{rest[at:]}"
        return f"{scheme}{slashes}{_PARAMETER.sub(self._parameter, rest)}"

    def _parameter(self, match: re.Match[str]) -> str:
        name, value = unquote_plus(match["name"]), match["value"]
        if not is_secret_name(name) or _is_placeholder(unquote(value)):
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
        return self._headers(value) if _holds_headers(name) else self.json(value)

    def _subtree(self, name: str, value: Any) -> Any:
        if value is None or isinstance(value, bool) or value in ([], {}):
            return value
        if isinstance(value, str) and _is_harmless(name, value):
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
                if str(name).lower() in _PLAIN_HEADERS
                else self._subtree(str(name), part)
                for name, part in value.items()
            }
        if not isinstance(value, str):
            return value
        name, colon, content = value.partition(":")
        plain = not colon or name.strip().lower() in _PLAIN_HEADERS
        return self.text(value) if plain else f"{name}: {self.credentials(name, content.strip())}"

    def credentials(self, name: str, value: str) -> str:
        """The value of a secret header; its scheme stays."""
        if _is_harmless(name, value):
            return value
        scheme, space, rest = value.partition(" ")
        return f"{scheme} {self.hide(rest)}" if space and scheme.lower() in _SCHEMES else self.hide(value)

    def command(self, text: str, depth: int = 0) -> str:
        """A command line without secrets; a word that holds none stays as it was typed."""
        text = self.known(text)
        if not _COMMAND_HINT.search(text):
            return self.text(text)
        kept: list[str] = []
        reader = _Words(self, depth)
        for match in _SHELL.finditer(text):
            raw = match[0]
            if match.lastgroup == "word":
                word = _Word.read(raw)
                raw = word.rewritten(reader.take(word.text))
            elif match.lastgroup == "comment":
                raw = self.text(raw)
            elif match.lastgroup == "operator":
                reader.end_command(by=raw)
            elif match.lastgroup == "redirect":
                reader.end_list()
            kept.append(raw)
        # What no shell would take for words, such as JSON without quotes around it, is text.
        return self.text("".join(kept))


def _leaves(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        for part in value:
            yield from _leaves(part)
    elif value is not None and not isinstance(value, bool):
        yield str(value)


# ----------------------------------------------------------------------------------------------------
# Command lines

# POSIX shell, 2.2 and 2.3. A quote that is never closed is a character like others: every text can be read.
_SHELL: Final = re.compile(
    r"""
      (?P<space>(?:[^\S\n]|\\\n)++)
    | (?P<comment>(?<![^\s;&|])\#[^\n]*+)
    | (?P<redirect>(?:\d++(?=[<>])|&(?=>))?(?:>>|<<<|<<|>\||>&|<&|<>|[<>]))
    | (?P<operator>[;&|()]|\n)
    | (?P<word>(?:
        '[^']*+' | "(?:[^"\\]|\\.)*+" | \$\((?:[^()]|\([^()]*+\))*+\) | `[^`]*+`
      | \\. | [^\s;&|()<>'"`\\$]++ | [$'"`\\] )++)
    """,
    re.VERBOSE | re.DOTALL,
)
_PIECE: Final = re.compile(
    r"""'[^']*+'|"(?:[^"\\]|\\.)*+"|\$\((?:[^()]|\([^()]*+\))*+\)|`[^`]*+`|\\.|[^'"`\\$]++|.""", re.DOTALL
)
_QUOTING: Final = re.compile(r"""['"`\\]""")
_START: Final = re.compile(r"-{0,2}[A-Za-z_][\w.-]*+[=:]")
_OPTION: Final = re.compile(
    r"(?P<dashes>--?)(?P<name>[A-Za-z][\w.-]*+)(?:(?P<separator>[=:])(?P<value>.*))?", re.DOTALL
)
_ASSIGNMENT: Final = re.compile(r"(?P<name>[A-Za-z_][\w.-]*+)(?P<by>=)(?P<value>.*)", re.DOTALL)
_HEADER: Final = re.compile(r"(?P<name>[A-Za-z][\w-]*+)(?P<by>:\s*)(?!//)(?P<value>.*)", re.DOTALL)
_COMMAND_HINT: Final = re.compile(rf"{_HINT.pattern}|(?<![\w-])-[a-z]{{0,4}}[upkab]", re.IGNORECASE)
_USER_NAMES: Final = frozenset({"user", "proxy-user"})
_DEEPEST: Final = 4
# One-letter options whose values are secrets, by program.
_SECRET_LETTERS: Final[Mapping[str, tuple[str, ...]]] = {
    "curl": ("b",),
    "mariadb": ("p",),
    "mysql": ("p",),
    "mysqldump": ("p",),
    "redis-cli": ("a",),
    "sshpass": ("p",),
}
# Programs whose -p and -k are known, and no secrets.
_PLAIN_LETTERS: Final = _words(
    "pytest py vllm sglang llama-server llama-cli llama-mtmd-cli ollama lmdeploy trtllm-serve litellm lms "
    "text-generation-launcher mkdir cp tar ssh scp curl kill ps"
)
# Long options that begin with -p, in programs that write long options with one dash.
_P_OPTIONS: Final = _words(
    "p pp ps port path paths parallel parser pass password passphrase pat patch pid pipeline plugin pool "
    "precision prefix preset print processes profile progress project prompt protocol proxy pwd"
)


@dataclass(frozen=True, slots=True)
class _Word:
    """A word of a command line: as it was typed, and as a program receives it.

    What a shell fills in stays.
    """

    raw: str
    text: str

    @classmethod
    def read(cls, raw: str) -> _Word:
        """The word that was typed; JSON without quotes around it was meant as JSON."""
        if not _QUOTING.search(raw) or _is_json(raw[len(_option_start(raw)) :]):
            return cls(raw, raw)
        return cls(raw, "".join(map(_unquoted, _PIECE.findall(raw))))

    def rewritten(self, new: str) -> str:
        """The new text in the old quotes; ``[hidden]`` itself needs none: it cannot be run anyway."""
        if new == self.text:
            return self.raw
        start = _option_start(self.raw)
        start = start if self.text.startswith(start) and new.startswith(start) else ""
        raw, new = self.raw[len(start) :], new[len(start) :]
        if new == HIDDEN or self.raw == self.text:
            return start + new
        if raw[0] == "'" and "'" not in new:
            return f"{start}'{new}'"
        if raw[0] == '"':
            escaped = re.sub(r'\\(?![$`])|"', lambda match: f"\\{match[0]}", new)
            return f'{start}"{escaped}"'
        return start + shlex.quote(new)


def _option_start(raw: str) -> str:
    """``--option=`` or ``NAME=``, where it stands before the quotes."""
    match = _START.match(raw)
    return match[0] if match else ""


def _is_json(text: str) -> bool:
    if text[:1] not in {"{", "["}:
        return False
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


def _unquoted(piece: str) -> str:
    if len(piece) == 1:
        return piece
    if piece[0] == "'":
        return piece[1:-1]
    if piece[0] == '"':
        return re.sub(r'\\(?:\n|(["\\]))', r"\1", piece[1:-1])
    return piece[1:].removeprefix("\n") if piece[0] == "\\" else piece


class _Words:
    """The words of a command line, taken one after the other.

    ``_awaited`` is the name of the option whose value comes next, ``_LIST`` for more values of a list.
    """

    _LIST: Final = "a list of keys"

    def __init__(self, hiding: _Hiding, depth: int = 0) -> None:
        self._hiding = hiding
        self._depth = depth
        self._program = ""
        self._after_option = False
        self._awaited: str | None = None
        self._in_header = False

    def end_list(self) -> None:
        """End the values of an option, as a redirection does."""
        self._awaited = None

    def end_command(self, *, by: str) -> None:
        """End the simple command; a value that is awaited may stand on the next line."""
        if by != "\n" or self._awaited == self._LIST:
            self._awaited = None
        self._program = ""
        self._after_option = False

    def take(self, word: str) -> str:
        """The next word without secrets."""
        awaited, self._awaited = self._awaited, None
        self._in_header = self._in_header and awaited is not None
        option = _OPTION.fullmatch(word)
        if option is not None:
            self._after_option, self._in_header = True, False
            return self._option(word, option)
        if awaited is not None:
            self._after_option = False
            return self._value(awaited, word)
        if re.match("-[A-Za-z]", word):  # -pS3+cret, which the name of an option cannot be
            self._after_option = True
            return self._attached(word) or self._hiding.text(word)
        if not self._after_option:
            name = re.split(r"[/\\]", word)[-1].partition(".")[0]
            # The last one counts: sshpass -p PASSWORD ssh -p 22
            self._program = name if name in _PLAIN_LETTERS or name in _SECRET_LETTERS else self._program
        self._after_option = False
        return self._plain(word)

    def _option(self, word: str, option: re.Match[str]) -> str:
        name, value = option["name"], option["value"]
        short = option["dashes"] == "-"
        attached = self._attached(word) if short else None
        if attached is not None:
            return attached
        if value is None:
            self._awaited = name if self._judges(name, short=short) else None
            self._after_option = name != "m"  # python -m pytest: a program comes next
            return word
        start = word[: len(word) - len(value)]
        if self._judges(name, short=short):
            shown = self._value(name, value)
            self._awaited = None
            return start + shown
        return start + self._plain(value)

    def _judges(self, name: str, *, short: bool) -> bool:
        """Whether the value of an option is judged by the option's name."""
        if is_secret_name(name) or name in _USER_NAMES or _holds_headers(name):
            return True
        if not short:
            return False
        unknown = name in {"p", "k"} and self._program not in _PLAIN_LETTERS
        return unknown or self._is_secret_letter(name) or _is_user_switch(name)

    def _is_secret_letter(self, name: str) -> bool:
        return name in _SECRET_LETTERS.get(self._program, ())

    def _attached(self, word: str) -> str | None:
        """``-pSECRET``, ``-uuser:password``, ``-HName: value``; None for anything else."""
        letter, value = word[1], word[2:]
        if not value or value[0] == "=":
            return None
        if letter in "uU" and self._hiding.user(value) == HIDDEN:
            return f"-{letter}{HIDDEN}"
        if letter == "H" and ":" in value:
            return f"-H{self._plain(value)}"
        long = re.split("[=-]", word[1:], maxsplit=1)[0] in _P_OPTIONS
        known = long or self._program in _PLAIN_LETTERS or _is_placeholder(value)
        plain = _PLAIN.fullmatch(value) and not self._is_secret_letter(letter)
        return None if letter != "p" or known or plain else f"-p{self._hiding.hide(value)}"

    def _value(self, name: str, word: str) -> str:
        """The value of an option that is judged by its name."""
        if self._in_header:
            return self._after_header(name, word)
        if name in _USER_NAMES or (_is_user_switch(name) and not is_secret_name(name)):
            shown = self._hiding.user(word)
            return shown if shown != word else self._plain(word)
        if _holds_headers(name):
            return self._headers(name, word)
        if name != self._LIST and is_secret_name(name):
            if word.lower() in _SCHEMES:  # --auth Bearer SECRET
                self._awaited = name
                return word
            # --api-key S1 S2, as vLLM and LMDeploy take them
            self._awaited = self._LIST if name.lower().endswith(("key", "keys", "tokens")) else None
            return self._secret(name, word)
        self._awaited = self._LIST if name == self._LIST else None
        plain = _PLAIN.fullmatch(word) and not self._is_secret_letter(name)
        return self._plain(word) if plain else self._secret(name, word)

    def _headers(self, name: str, word: str) -> str:
        if word[:1] not in {"{", "["} or word.startswith(HIDDEN):
            return self._plain(word)
        shown = self._json(word, name)
        return self._hiding.hide(word) if shown is None else shown

    def _after_header(self, name: str, word: str) -> str:
        """``Authorization: Token S`` in words of their own, or a sentence (``the token: be short``)."""
        if word.lower() in _SCHEMES:
            self._awaited = name
            return word
        self._in_header = False
        secret = (_is_strong(name) or _looks_random(word)) and not _reads_as_prose(word)
        return self._secret(name, word) if secret else self._plain(word)

    def _secret(self, name: str, value: str) -> str:
        if _is_harmless(name, value):
            return self._hiding.text(value)
        return self._hiding.credentials(name, value)

    def _plain(self, word: str, *, nested: bool = False) -> str:
        """A word that no option announces: an assignment, a header, JSON, a command line, or text."""
        pair = _ASSIGNMENT.fullmatch(word) or _HEADER.fullmatch(word)
        if pair is None or not (is_secret_name(pair["name"]) or (pair["by"] == "=" and not nested)):
            return self._structured(word)
        name, value = pair["name"], pair["value"]
        start = word[: len(word) - len(value)]
        if not is_secret_name(name):
            return start + self._plain(value, nested=True)
        if pair["by"] == "=":
            return start + self._secret(name, value)
        if not value:
            self._awaited, self._in_header = name, True
            return word
        first = value.partition(" ")[0]
        prose = first != value and first.lower() not in _SCHEMES and _reads_as_prose(first)
        return word if prose else start + self._secret(name, value)

    def _structured(self, word: str) -> str:
        if word.lstrip()[:1] in {"{", "["} and not word.startswith(HIDDEN):
            shown = self._json(word)
            return self._hiding.text(word) if shown is None else shown
        if self._depth < _DEEPEST and re.search(r"\S\s+\S", word):
            return self._hiding.command(word, self._depth + 1)
        return self._hiding.text(word)

    def _json(self, word: str, name: str = "") -> str | None:
        """The JSON without secrets that stands in a field of that name; None if it is not JSON."""
        try:
            value = json.loads(word)
            public = self._hiding.field(name, value)
        except (ValueError, RecursionError):
            return None
        if public == value:
            return word
        separators = (", ", ": ") if re.search(r'":\s', word) else (",", ":")
        return json.dumps(public, ensure_ascii=False, separators=separators)


def _is_user_switch(name: str) -> bool:
    """``-u``, also at the end of others: ``curl -sSku user:password``."""
    return name[-1] in "uU" and len(name) <= 5 and name.isalpha()


# ----------------------------------------------------------------------------------------------------
# What the rooms use


def redact(text: str, *secrets: str | None) -> str:
    """Free text without secrets: an error, a log, a note.

    Hidden are the given secrets of at least ``MIN_LENGTH`` characters as whole tokens, the values behind
    secret names, credentials in headers, tokens of known shape, and passwords and secret parameters of URLs.
    """
    return _Hiding(secrets).text(text)


def redact_command(text: str, *secrets: str | None) -> str:
    """A command line without secrets, word by word; the rest stays as typed, so that it can be copied."""
    return _Hiding(secrets).command(text)


def redact_words(words: Iterable[str], *secrets: str | None) -> list[str]:
    """The words of one command without secrets, as many as were given."""
    reader = _Words(_Hiding(secrets))
    return [reader.take(word) for word in words]


def redact_json(value: Any, *secrets: str | None) -> Any:
    """The JSON value without secrets: whole subtrees below secret names, and what is secret in any text."""
    return _Hiding(secrets).json(value)


def redact_url(url: str, *secrets: str | None) -> str:
    """The URL without its user name and password, and without the values of secret parameters."""
    hiding = _Hiding(secrets)
    return hiding.known(hiding.url(url))


def environment_secrets(environ: Mapping[str, str]) -> tuple[str, ...]:
    """The secrets among environment variables that can be replaced wherever they stand in a text.

    Those are the values of variables with secret names, and passwords in URLs (``http_proxy``), of at least
    ``MIN_LENGTH`` characters. The path of a key's file is not one.
    """
    secrets: list[str] = []
    for name, value in environ.items():
        if is_secret_name(name) and not _is_harmless(name, value) and not _PLAIN.fullmatch(value):
            secrets.append(value)
        elif "://" in value:
            secrets += url_secrets(value)
    return _replaceable(secrets)


def url_secrets(url: str) -> tuple[str, ...]:
    """The password of a URL as written and as sent (Basic, RFC 7617), and the secrets in its query."""
    hiding = _Hiding()
    hiding.url(url)
    secrets: list[str] = []
    for value in hiding.hidden:
        user, colon, password = value.rpartition(":")
        secrets += [password, unquote(password)]
        if colon:
            secrets.append(b64encode(f"{unquote(user)}:{unquote(password)}".encode()).decode())
    return _replaceable(secrets)


def command_secrets(text: str) -> tuple[str, ...]:
    """The values that :func:`redact_command` hides, as far as they can be replaced wherever they stand."""
    hiding = _Hiding()
    hiding.command(text)
    parts = [(value, *value.split(","), value.rpartition(":")[2]) for value in hiding.hidden]
    return _replaceable(part for several in parts for part in several)


def json_secrets(value: Any) -> tuple[str, ...]:
    """The values that :func:`redact_json` hides, as far as they can be replaced wherever they stand."""
    hiding = _Hiding()
    hiding.json(value)
    return _replaceable(hiding.hidden)


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

    def paths(self, text: str) -> str:
        """The text without private paths."""
        return without_paths(text, self.places) if self.places else text

    def _without_paths(self, value: Any) -> Any:
        if isinstance(value, str):
            return self.paths(value)
        if isinstance(value, dict):
            return {name: self._without_paths(part) for name, part in value.items()}
        return [self._without_paths(part) for part in value] if isinstance(value, list) else value
