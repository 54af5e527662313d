"""The settings of a run: validated, frozen, and the same in every process of it."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Self
from urllib.parse import urlsplit

import httpx
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    JsonValue,
    PlainValidator,
    ValidationError,
    model_validator,
)

from pytest_setups import demo
from pytest_setups.config.from_entry import load_origin, settings_of
from pytest_setups.config.options import OPTIONS, GivenValue, Option, Paths, Source, ValueType, default, is_on
from pytest_setups.redaction import encodable, redact
from pytest_setups.registry.entry import Entry, Stage
from pytest_setups.registry.store import RegistryError, check_slug
from pytest_setups.regression.bounds import Bound, parse_bound
from pytest_setups.tagging.command_template import Template
from pytest_setups.tagging.prompts import PromptError, Prompts, load_prompts

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

TIMED_STAGES: Final = tuple(f"{stage.value}." for stage in Stage)
_OWN_FIELDS: Final = ("messages", "model", "stream", "stream_options")


class SettingsError(Exception):
    """A mistake of the user's; the message says which option and what to type."""


def _base_url(value: str) -> str:
    parts = urlsplit(value.strip())
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        message = "type an address such as http://localhost:24001/v1"
        raise ValueError(message)
    try:
        reachable = httpx.URL(value.strip()).host.encode("idna") and parts.port != 0
    except (httpx.InvalidURL, ValueError):
        reachable = False
    if not reachable:
        message = "its host or port cannot be; type an address such as http://localhost:24001/v1"
        raise ValueError(message)
    if parts.query or parts.fragment:
        message = "a base URL has no ? or #; put a key into an environment variable: --setup-api-key-env NAME"
        raise ValueError(message)
    return value.strip().rstrip("/").removesuffix("/chat/completions")


def _json_object(value: object) -> object:
    try:
        found = json.loads(value) if isinstance(value, str) else value
        json.dumps(found, ensure_ascii=False, allow_nan=False).encode()
    except (ValueError, RecursionError) as error:
        message = f"not JSON ({error}); type an object such as '{{\"top_k\": 1}}'"
        raise ValueError(message) from None
    return found


def _free_fields(value: dict[str, JsonValue]) -> dict[str, JsonValue]:
    taken = [key for key in _OWN_FIELDS if key in value]
    if taken:
        message = f"{taken[0]!r} is set by an option of its own or by the suite itself"
        raise ValueError(message)
    return value


def _prompts(value: object) -> Prompts:
    try:
        return value if isinstance(value, Prompts) else load_prompts(str(value))
    except PromptError as error:
        raise ValueError(str(error)) from None


def _template(value: object) -> Template:
    return value if isinstance(value, Template) else Template.parse(str(value))


def _bounds(value: Iterable[str]) -> tuple[Bound, ...]:
    return tuple(parse_bound(text) for text in value)


def _allowed(value: Iterable[str]) -> tuple[str, ...]:
    names = tuple(name.strip() for name in value)
    wrong = [name for name in names if name.partition(".")[0] not in Entry.model_fields]
    if wrong:
        message = (
            f"{wrong[0]!r} is no field of an entry; type a name as the message has it, such as server.flags"
        )
        raise ValueError(message)
    return names


def _slug(value: str) -> str:
    try:
        return check_slug(value)
    except RegistryError as error:
        raise ValueError(str(error)) from None


class Settings(BaseModel):
    """What a run works with. Times in seconds, edges in pixels."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", arbitrary_types_allowed=True, protected_namespaces=()
    )

    base_url: Annotated[str, AfterValidator(_base_url)] | None = None
    model: str | None = None
    caption_model: str | None = None
    keywords_model: str | None = None
    description_model: str | None = None
    api_key_env: str | None = None
    timeout: float = Field(default("timeout"), gt=0, le=86_400)
    wait: float = Field(default("wait"), ge=0, le=86_400)
    images: tuple[Path, ...]
    prompts: Annotated[Prompts, PlainValidator(_prompts)] = Field(
        default_factory=lambda: load_prompts(default("prompts"))
    )
    max_new_tokens: int = Field(default("max-new-tokens"), ge=1)
    temperature: float = Field(default("temperature"), ge=0, le=2)
    top_p: float = Field(default("top-p"), gt=0, le=1)
    seed: int | None = Field(default("seed"), ge=0)
    max_edge: int = Field(default("max-edge"), ge=16, le=16_384)
    extra_body: Annotated[
        dict[str, JsonValue], BeforeValidator(_json_object), AfterValidator(_free_fields)
    ] = Field(default_factory=dict)
    stream: bool = default("stream")
    concurrency: int = Field(default("concurrency"), ge=1, le=256)
    repeat: int = Field(default("repeat"), ge=1, le=1000)
    warmup: int = Field(default("warmup"), ge=0, le=100)
    server_command: str | None = None
    model_path: str | None = None
    model_repo: str | None = None
    tagger_command: Annotated[Template, PlainValidator(_template)] | None = None
    tagger_timeout: float = Field(default("tagger-timeout"), gt=0, le=604_800)
    redact_paths: bool = default("redact-paths")
    notes: str | None = None
    record: bool = default("record")
    record_failed: bool = default("record-failed")
    registry: Path
    report: Path | None = None
    slug: Annotated[str, AfterValidator(_slug)] | None = None
    environment: Path | None = None
    launch: str | None = None
    launch_timeout: float = Field(default("launch-timeout"), gt=0, le=86_400)
    from_entry: str | None = Field(None, alias="from")
    origin: Entry | None = None
    baseline: str | None = None
    baseline_allow: Annotated[tuple[str, ...], PlainValidator(_allowed)] = ()
    fail_if: Annotated[tuple[Bound, ...], PlainValidator(_bounds)] = ()
    demo: bool = default("demo")
    demo_server: str | None = None

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.demo and self.base_url:
            message = "--setup-demo starts a server of its own: leave out --setup-base-url"
            raise ValueError(message)
        if self.demo and (self.launch is not None or self.from_entry):
            message = "--setup-demo starts a server of its own: leave out --setup-launch and --setup-from"
            raise ValueError(message)
        if self.launch == "" and (self.origin is None or not self.origin.server.command):
            message = (
                "--setup-launch needs a command, or --setup-from SLUG with an entry that holds one: "
                "--setup-launch 'vllm serve MODEL --port 24001'"
            )
            raise ValueError(message)
        if self.environment and not self.recording:
            message = "--setup-environment is for the entry: add --record"
            raise ValueError(message)
        if self.slug and not self.recording:
            message = "--setup-slug names an entry: add --record"
            raise ValueError(message)
        if "tagger_timeout" in self.model_fields_set and self.tagger_command is None:
            message = "--setup-tagger-timeout goes with --setup-tagger-command"
            raise ValueError(message)
        if self.demo_server and not self.demo:
            message = "--setup-demo-server goes with --setup-demo"
            raise ValueError(message)
        return self

    @model_validator(mode="after")
    def _compares(self) -> Self:
        if self.baseline is None and (self.fail_if or self.baseline_allow):
            given = "--setup-fail-if" if self.fail_if else "--setup-baseline-allow"
            message = f"{given} goes with a baseline: add --setup-baseline latest"
            raise ValueError(message)
        for bound in self.fail_if:
            self._can_be_judged(bound)
        if self.repeat > 1 and self.tagger_command is not None:
            message = "--setup-repeat: a tagger command tags every picture once; leave one of the two out"
            raise ValueError(message)
        return self

    def _can_be_judged(self, bound: Bound) -> None:
        if self.tagger_command is not None and all(name.startswith(TIMED_STAGES) for name in bound.names):
            message = (
                f"{bound.text!r}: a tagger command tells no times of its stages; "
                "type image.mean, image.p50 or image.p95"
            )
            raise ValueError(message)
        if not self.stream and all(name.endswith(".ttft") for name in bound.names):
            message = f"{bound.text!r}: the time to first token is measured with --setup-stream alone"
            raise ValueError(message)

    @classmethod
    def load(cls, given: Mapping[str, GivenValue], root: Path) -> Self:
        """Settings from what the user gave, by field; ``root`` holds the default images and registry.

        Raises:
            SettingsError: a value does not fit.
        """
        values: dict[str, Any] = {"registry": root / default("registry")}
        fields = {info.alias or name for name, info in cls.model_fields.items()}
        for option in OPTIONS:
            found = given.get(option.field)
            if found is not None and option.field in fields:
                values[option.field] = _value(option, found)
        _let_the_nearer_win(values, given)
        if isinstance(values.get("from"), str):
            values |= _origin(values, given["from"])
        values.setdefault("images", [_default_images(root, packaged=_packaged(values))])
        try:
            settings = cls.model_validate(values)
        except ValidationError as error:
            raise SettingsError(_first_fault(error, given)) from None
        settings.api_key()
        return settings

    @property
    def launch_command(self) -> str | None:
        """The command to start the server with: the one given, or for a bare option the entry's."""
        return (self.origin.server.command if self.origin else None) if self.launch == "" else self.launch

    @property
    def recording(self) -> bool:
        """Whether an entry is wanted."""
        return self.record or self.record_failed

    @property
    def wished_models(self) -> dict[Stage, str | None]:
        """The served model name wished for at each stage."""
        return {stage: getattr(self, f"{stage.value}_model") or self.model for stage in Stage}

    @property
    def parameters(self) -> dict[str, Any]:
        """The sampling parameters of every request; those that are None are not sent.

        Every standard one is sent, because a server's own defaults change with the model folder it
        serves (vllm#15241).
        """
        return {
            "max_tokens": self.max_new_tokens,
            "temperature": self.temperature,
            "top_p": self.top_p,
            "presence_penalty": 0.0,
            "frequency_penalty": 0.0,
            "seed": self.seed,
        }

    @property
    def numbers(self) -> dict[str, str]:
        """The figures that an external tagger may be given, by placeholder, as people type them."""
        names = ("max_new_tokens", "temperature", "top_p", "timeout")
        return {name: repr(getattr(self, name)).removesuffix(".0") for name in names}

    def api_key(self) -> str | None:
        """The API key out of its environment variable; it is never kept here.

        Raises:
            SettingsError: the variable is not set, or holds what no HTTP header can.
        """
        if self.api_key_env is None:
            return None
        key = os.environ.get(self.api_key_env, "").strip()
        if not key:
            message = f"--setup-api-key-env: the environment variable {self.api_key_env!r} is not set"
            raise SettingsError(message)
        if not key.isascii() or not key.isprintable():
            message = f"--setup-api-key-env: {self.api_key_env!r} holds characters that no key has"
            raise SettingsError(message)
        return key


def _value(option: Option, found: GivenValue) -> object:
    if option.type is ValueType.SWITCH:
        try:
            return is_on(found)
        except ValueError as error:
            raise SettingsError(str(error)) from None
    if option.paths is Paths.ALWAYS:
        paths = found.value if isinstance(found.value, list) else [str(found.value)]
        homes = [os.path.expanduser(value) for value in paths]
        full = [Path(home).absolute() for home in homes]
        return full if option.type is ValueType.LIST else full[0]
    return encodable(found.value) if isinstance(found.value, str) else found.value


def _let_the_nearer_win(values: dict[str, Any], given: Mapping[str, GivenValue]) -> None:
    """Drop what a nearer place overrules: another server; and what an ini file has for another occasion."""
    base_url, demo_given, slug = given.get("base_url"), given.get("demo"), given.get("slug")
    if base_url and demo_given and values["demo"] and base_url.source != demo_given.source:
        if base_url.source > demo_given.source:
            del values["base_url"]
        else:
            values["demo"] = False
    if (
        slug
        and slug.source is not Source.COMMAND_LINE
        and not (values.get("record") or values.get("record_failed"))
    ):
        del values["slug"]
    if not values.get("baseline"):
        values.pop("baseline", None)
    for name in ("fail_if", "baseline_allow"):
        if name in values and given[name].source is not Source.COMMAND_LINE and "baseline" not in values:
            del values[name]


def _origin(values: dict[str, Any], found: GivenValue) -> dict[str, Any]:
    try:
        entry = load_origin(values["registry"], values["from"])
    except ValueError as error:
        message = f"{found.place}: {error}"
        raise SettingsError(message) from None
    return settings_of(entry, values) | {"origin": entry}


def _packaged(values: dict[str, Any]) -> bool:
    """Whether the packaged sample images are meant: for the demo, and for an entry made with them."""
    origin: Entry | None = values.get("origin")
    names = {image.name for image in origin.verification.images or ()} if origin else set()
    here = {path.name for path in demo.sample_images().iterdir()} if names else set()
    return values.get("demo") is True or bool(names and names <= here)


def _default_images(root: Path, *, packaged: bool) -> Path:
    own = root / default("images")
    return demo.sample_images() if packaged and not own.is_dir() else own


def _first_fault(error: ValidationError, given: Mapping[str, GivenValue]) -> str:
    fault = error.errors()[0]
    message = str(fault["msg"]).removeprefix("Value error, ")
    found = given.get(str(fault["loc"][0])) if fault["loc"] else None
    if found is None:
        origin = given.get("from") if fault["loc"] else None
        return f"{origin.place} {origin.value}: {fault['loc'][0]}: {message}" if origin else message
    return redact(f"{found.place}: {message}; it was given {found.value!r}")
