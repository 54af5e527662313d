"""Names: whether an option, a field, a variable or a header of that name holds a secret."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final


def word_set(text: str) -> frozenset[str]:
    """The words of a text as a set."""
    return frozenset(text.split())


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
IN_SENTENCES: Final = word_set("secret secrets credential credentials cookie cookies")
# At the end of the name. `hft` is llama-server's short form of --hf-token.
_SECRET_ENDS: Final = word_set(
    "key keys token auth authentication authtoken pass pwd pat sig signature jwt cred creds hft"
)
# As the whole name: a session is a cookie's value, session_len is a number of tokens.
_SECRET_NAMES: Final = word_set("session sessionid")
# `image_token`, `one-token`, `first_pass` count or name something; so do `sort_key` and `public_key`.
_COUNTED: Final = word_set(
    "one two single multi first second last next per each max min num new eos bos pad unk sep cls mask "
    "image video audio start end stop begin special system think thinking draft input output prompt "
    "completion cached generated text word sub implicit"
)
_LOOKED_UP: Final = word_set(
    "sort primary foreign cache group partition public lookup hot image text caption keyword prompt "
    "answer index dict json map unique column field num"
)
_SECRET_TOKENS: Final = word_set("api auth access bearer refresh session secret hf")
# What ends so does not hold the secret itself, but says where it is, what it is called or how long it lives.
_DESCRIBES: Final = word_set(
    "file files filename keyfile path paths dir directory folder env var variable name names type types "
    "mode format length len size count limit header headers url uri endpoint required optional policy "
    "expiry ttl timeout manager provider algorithm prefix suffix error errors jar helper stdin"
)
# Switches: --allow-credentials and HF_HUB_DISABLE_IMPLICIT_TOKEN take a truth value.
_SWITCH_STARTS: Final = word_set("no allow enable disable require skip ignore has is return")


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
    return is_strong(name) or "".join(parts) in _SECRET_NAMES or _is_secret_end(before, last)


def is_strong(name: str) -> bool:
    """Whether the name alone says that it is about a secret, as ``password`` does and ``key`` does not."""
    together = "".join(_PART.findall(name)).lower()
    return _SECRET_PART.search(together) is not None


def holds_headers(name: str) -> bool:
    """Whether a field of that name holds headers, each of which has a name of its own."""
    return name.lower().endswith("headers")


def _is_secret_end(before: str, last: str) -> bool:
    if last == "tokens":
        return before in _SECRET_TOKENS
    if last.endswith("token") and last != "token":  # hftoken, bostoken
        before, last = last.removesuffix("token"), "token"
    return last in _SECRET_ENDS and before not in (_LOOKED_UP if last.startswith("key") else _COUNTED)
