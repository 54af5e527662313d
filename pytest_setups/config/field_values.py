"""The types of the settings' fields that need more than a number's bounds: parsed, checked, normalised.

Each validator raises a ValueError that says what to type; pydantic reports it with its field.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Final
from urllib.parse import SplitResult, urlsplit

import httpx
from pydantic import AfterValidator, BeforeValidator, JsonValue, PlainValidator, ValidationInfo

from pytest_setups.registry.entry import Entry, Stage
from pytest_setups.registry.store import RegistryError, check_slug
from pytest_setups.regression.bounds import Bound, parse_bound
from pytest_setups.tagging.command_template import CommandTemplate
from pytest_setups.tagging.language_codes import Languages, parse_languages
from pytest_setups.tagging.prompts import PromptError, Prompts, load_prompts

if TYPE_CHECKING:
    from collections.abc import Iterable

_ADDRESS: Final = "type an address such as http://localhost:24001/v1"
_ENDPOINT: Final = "/chat/completions"
_RESERVED_FIELDS: Final = ("messages", "model", "stream", "stream_options")


def _base_url(value: str) -> str:
    url = value.strip()
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError(_ADDRESS)
    if not _has_valid_host_and_port(url, parts):
        message = f"invalid host or port; {_ADDRESS}"
        raise ValueError(message)
    if parts.query or parts.fragment:
        message = (
            "a base URL has no query or fragment (? or #); "
            "put a key into an environment variable: --setup-api-key-env NAME"
        )
        raise ValueError(message)
    return url.rstrip("/").removesuffix(_ENDPOINT)


def _has_valid_host_and_port(url: str, parts: SplitResult) -> bool:
    try:
        # The resolver encodes the host in the same way, and its error would be a traceback.
        return bool(httpx.URL(url).host.encode("idna")) and parts.port != 0
    except (httpx.InvalidURL, ValueError):
        return False


def _json_object(value: object) -> object:
    try:
        parsed = json.loads(value) if isinstance(value, str) else value
        # Python reads NaN and lone surrogates, which no request can carry.
        json.dumps(parsed, ensure_ascii=False, allow_nan=False).encode()
    except (ValueError, RecursionError) as error:
        message = f"not JSON ({error}); type an object such as '{{\"top_k\": 1}}'"
        raise ValueError(message) from None
    return parsed


def _without_reserved_fields(value: dict[str, JsonValue]) -> dict[str, JsonValue]:
    reserved = [key for key in _RESERVED_FIELDS if key in value]
    if reserved:
        message = f"{reserved[0]!r} is set by another option or by the suite itself"
        raise ValueError(message)
    return value


def _languages(value: Mapping[Stage, str] | Iterable[str]) -> Languages:
    # A mapping comes from an entry.
    return parse_languages(
        [f"{stage}={code}" for stage, code in value.items()] if isinstance(value, Mapping) else value
    )


def _prompts(value: object, info: ValidationInfo) -> Prompts:
    try:
        return value if isinstance(value, Prompts) else load_prompts(str(value), info.data.get("language"))
    except PromptError as error:
        raise ValueError(str(error)) from None


def _template(value: object) -> CommandTemplate:
    return value if isinstance(value, CommandTemplate) else CommandTemplate.parse(str(value))


def _bounds(value: Iterable[str]) -> tuple[Bound, ...]:
    return tuple(parse_bound(text) for text in value)


def _entry_fields(value: Iterable[str]) -> tuple[str, ...]:
    names = tuple(name.strip() for name in value)
    wrong = [name for name in names if name.partition(".")[0] not in Entry.model_fields]
    if wrong:
        message = (
            f"{wrong[0]!r} is not a field of an entry; "
            "type a name as the comparison prints it, such as server.flags"
        )
        raise ValueError(message)
    return names


def _slug(value: str) -> str:
    try:
        return check_slug(value)
    except RegistryError as error:
        raise ValueError(str(error)) from None


BaseUrl = Annotated[str, AfterValidator(_base_url)]
ExtraBody = Annotated[
    dict[str, JsonValue], BeforeValidator(_json_object), AfterValidator(_without_reserved_fields)
]
StageLanguages = Annotated[Languages, PlainValidator(_languages)]
PromptProfile = Annotated[Prompts, PlainValidator(_prompts)]
TaggerCommand = Annotated[CommandTemplate, PlainValidator(_template)]
Bounds = Annotated[tuple[Bound, ...], PlainValidator(_bounds)]
EntryFields = Annotated[tuple[str, ...], PlainValidator(_entry_fields)]
Slug = Annotated[str, AfterValidator(_slug)]
