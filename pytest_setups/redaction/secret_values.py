"""Values: whether one is a secret at all, by what it says, by its value and by its shape."""

from __future__ import annotations

import json
import re
from functools import lru_cache
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from pytest_setups.redaction.secret_names import word_set

if TYPE_CHECKING:
    from collections.abc import Iterable

HIDDEN: Final = "[hidden]"
MIN_LENGTH: Final = 8
"""Characters of a secret that is replaced wherever it stands; a shorter one would tear other words apart."""

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
PLAIN: Final = re.compile(
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
_PROSE: Final = word_set(
    "a an the this that your our any no not to or and is are was were be must may can should will needs "
    "need has with without in on for from if when which while as at by of than then only into it its you "
    "we but option options flag argument instead required missing invalid incorrect wrong unknown "
    "unauthorized forbidden empty set unset given optional expected failed failure denied rejected "
    "refused expired accepted verified default str string int bool bytes none null true false yes ok "
    "error token tokens key keys header headers auth authentication authorization scheme schema realm "
    "challenge format"
)
# Schemes of the Authorization header, registered (https://www.iana.org/assignments/http-authschemes) or not.
SCHEMES: Final = word_set(
    "bearer basic token digest apikey api-key negotiate ntlm oauth hawk ssws aws4-hmac-sha256"
)
SCHEMES_WITH_FIELDS: Final = word_set("digest oauth hawk aws4-hmac-sha256")
# Headers that are known to hold no secret; of all others below `extra_headers` that is not known.
PLAIN_HEADERS: Final = word_set(
    "accept accept-charset accept-encoding accept-language cache-control connection content-encoding "
    "content-length content-type date host origin referer server user-agent x-request-id"
)


def is_placeholder(value: str) -> bool:
    """Whether the value stands for another: a variable, ``<your key>``, ``...``."""
    if not value or value.startswith(HIDDEN):
        return True
    scheme, _, rest = value.lstrip().partition(" ")
    hidden = rest.startswith(HIDDEN) and scheme.lower() in SCHEMES
    return hidden or _PLACEHOLDER.fullmatch(value) is not None


def is_harmless(name: str, value: str) -> bool:
    """Whether a value under a secret name is none: a placeholder, a key's file, the working directory."""
    if is_placeholder(value) or _KEY_FILE.fullmatch(value):
        return True
    return name in {"PWD", "OLDPWD"} and value.startswith("/")


def reads_as_prose(word: str) -> bool:
    """Whether the word belongs to a sentence, and is not a value."""
    return word.strip(".,;:!?()'\"").lower() in _PROSE


def looks_random(text: str) -> bool:
    """Whether no word of a language looks like this: digits among letters, or capitals inside."""
    letters = re.search(r"[A-Za-z]", text) is not None
    return letters and re.search(r"\d|[a-z][A-Z]|[A-Z]{2}[a-z]", text) is not None


# A user may choose such a word as the key of a server of their own (LM Studio's examples say "lm-studio").
# Hidden wherever they stand, these would spoil every entry, which says them itself.
_VOCABULARY: Final = word_set(
    "keywords description descriptions captions measurement measurements verification performance "
    "environment temperature completion completions messages response responses connection concurrency "
    "incomplete registry templates reasoning localhost lmstudio lm-studio lmdeploy tensorrt-llm "
    "trtllm-serve llama.cpp llama-server llama_server transformers sample_images fingerprint quantization "
    "chat_template vision-language max_tokens image_url assistant"
)
_RANDOM_LENGTH: Final = 12

KNOWN_SHAPE: Final = re.compile(
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
TELLING_PREFIXES: Final = ("sk-proj-", "sk-svcacct-", "sk-ant-", "sk-or-v1-")
RANDOM_RUN: Final = re.compile(r"[A-Za-z0-9_]{16,}+")
PEM_BEGIN: Final = re.compile(r"-----BEGIN [A-Z ]{0,40}PRIVATE KEY-----")  # RFC 7468
PEM_END: Final = re.compile(r"-----END [A-Z ]{0,40}PRIVATE KEY-----")
WITH_SCHEME: Final = re.compile(r"(?i)(?<![\w-])((?:bearer|basic)[ \t]{1,8})([\w.~+/=-]{6,}+)")


def _is_replaceable(secret: str) -> bool:
    return len(secret) >= MIN_LENGTH and secret.lower() not in _VOCABULARY


def replaceable(secrets: Iterable[str]) -> tuple[str, ...]:
    """The secrets that can be replaced wherever they stand, each once."""
    return tuple(dict.fromkeys(filter(_is_replaceable, secrets)))


@lru_cache(maxsize=64)
def pattern_of(secrets: tuple[str | None, ...]) -> re.Pattern[str] | None:
    """What matches the given secrets as whole tokens; one that no word looks like, also inside a token."""
    kept = [secret for secret in secrets if secret and _is_replaceable(secret)]
    spelt = {spelling for secret in kept for spelling in _spellings(secret)}
    # The end of an escape (%22, \n) separates tokens, although it may be a letter or a digit.
    start, end = r"(?:(?<!\w)|(?<=%[0-9A-Fa-f]{2})|(?<=\\[nrt]))", r"(?!\w)"
    patterns = [
        re.escape(text)
        if len(text) >= _RANDOM_LENGTH and looks_random(text)
        else f"{start if text[0].isalnum() else ''}{re.escape(text)}{end if text[-1].isalnum() else ''}"
        for text in sorted(spelt, key=lambda text: (-len(text), text))
    ]
    return re.compile("|".join(patterns)) if patterns else None


def _spellings(secret: str) -> tuple[str, ...]:
    """The secret as it is, as URLs have it and as JSON has it."""
    in_json = (json.dumps(secret)[1:-1], json.dumps(secret, ensure_ascii=False)[1:-1])
    return secret, quote(secret, safe=""), *in_json
