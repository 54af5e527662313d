"""The settings of a run: validated, frozen, and the same in every process of it."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from pytest_setups.checks.vocabulary import Vocabulary
from pytest_setups.config.field_values import (
    BaseUrl,
    Bounds,
    EntryFields,
    ExtraBody,
    PromptProfile,
    Slug,
    StageLanguages,
    TaggerCommand,
)
from pytest_setups.config.load_values import MOST_AT_ONCE, Levels, SloText
from pytest_setups.config.options import default
from pytest_setups.config.soak_length import Soak
from pytest_setups.redaction import command_secrets, environment_secrets, json_secrets
from pytest_setups.registry.entry import Entry, Stage
from pytest_setups.tagging.keyword_schema import KeywordSchema
from pytest_setups.tagging.prompts import load_prompts

NO_EXPECTATIONS: Final = "none"
"""The value of ``expectations`` with which no expectations file is read."""
# A key itself is easily typed where its variable's name belongs, and no message may show it. Keys are mixed
# case, or have digits in their first word.
_VARIABLE_NAME: Final = re.compile(r"[A-Z]+(_[A-Z0-9]+)*")


class SettingsError(Exception):
    """A mistake of the user's; the message says which option and what to type."""


class Settings(BaseModel):
    """What a run works with. Times in seconds, edges in pixels."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", arbitrary_types_allowed=True, protected_namespaces=()
    )

    base_url: BaseUrl | None = None
    model: str | None = None
    caption_model: str | None = None
    keywords_model: str | None = None
    description_model: str | None = None
    api_key_env: str | None = None
    timeout: float = Field(default("timeout"), gt=0, le=86_400)
    wait: float = Field(default("wait"), ge=0, le=86_400)
    images: tuple[Path, ...]
    expectations: str | None = None
    # Before the prompts, whose validation needs it.
    language: StageLanguages = Field(default_factory=dict)
    prompts: PromptProfile = Field(
        default_factory=lambda given: load_prompts(default("prompts"), given.get("language"))
    )
    max_new_tokens: int = Field(default("max-new-tokens"), ge=1)
    temperature: float = Field(default("temperature"), ge=0, le=2)
    top_p: float = Field(default("top-p"), gt=0, le=1)
    seed: int | None = Field(default("seed"), ge=0)
    max_edge: int = Field(default("max-edge"), ge=16, le=16_384)
    extra_body: ExtraBody = Field(default_factory=dict)
    structured: bool = default("structured")
    vocabulary: Vocabulary | None = None
    vocabulary_column: str | None = None
    reference: Literal["metadata"] | None = None
    stream: bool = default("stream")
    concurrency: int = Field(default("concurrency"), ge=1, le=MOST_AT_ONCE)
    repeat: int = Field(default("repeat"), ge=1, le=1000)
    warmup: int = Field(default("warmup"), ge=0, le=100)
    capacity: Levels | None = None
    soak: Soak | None = None
    slo: SloText | None = None
    library: int | None = Field(default("library"), ge=1, le=1_000_000_000)
    price_kwh: float | None = Field(None, ge=0, le=1_000_000, allow_inf_nan=False)
    server_command: str | None = None
    model_path: str | None = None
    model_repo: str | None = None
    tagger_command: TaggerCommand | None = None
    tagger_timeout: float = Field(default("tagger-timeout"), gt=0, le=604_800)
    redact_paths: bool = default("redact-paths")
    notes: str | None = None
    record: bool = default("record")
    record_failed: bool = default("record-failed")
    registry: Path
    report: Path | None = None
    slug: Slug | None = None
    environment: Path | None = None
    launch: str | None = None
    launch_timeout: float = Field(default("launch-timeout"), gt=0, le=86_400)
    from_entry: str | None = Field(None, alias="from")
    origin: Entry | None = None
    baseline: str | None = None
    baseline_allow: EntryFields = ()
    fail_if: Bounds = ()
    demo: bool = default("demo")
    demo_server: str | None = None

    @property
    def launch_command(self) -> str | None:
        """The command to start the server with: the given one, or the entry's for a bare option."""
        if self.launch != "":
            return self.launch
        return self.origin.server.command if self.origin else None

    @property
    def bounds_coverage(self) -> bool:
        """Whether a bound judges the share of expected groups of words that are met."""
        return any("coverage" in bound.names for bound in self.fail_if)

    @property
    def recording(self) -> bool:
        """Whether this run writes an entry."""
        return self.record or self.record_failed

    @property
    def requested_models(self) -> dict[Stage, str | None]:
        """The served model name requested for each stage; None leaves it to the server's list."""
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
    def keyword_schema(self) -> KeywordSchema | None:
        """The JSON schema that keywords are asked with, None without one."""
        return KeywordSchema(self.vocabulary.terms if self.vocabulary else ()) if self.structured else None

    @property
    def numbers(self) -> dict[str, str]:
        """The figures that a tagger command may contain, by placeholder, as people type them."""
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
            raise SettingsError(_unset_variable(self.api_key_env))
        if not key.isascii() or not key.isprintable():
            message = f"--setup-api-key-env: {self.api_key_env!r} holds characters that cannot be in a key"
            raise SettingsError(message)
        return key

    def secrets(self) -> tuple[str, ...]:
        """Every secret that the settings know of: a server or a tagger may repeat it in any answer."""
        template = self.tagger_command.text if self.tagger_command else None
        commands = filter(None, (self.server_command, self.launch_command, template))
        secrets = [
            *filter(None, (self.api_key(),)),
            *(secret for command in commands for secret in command_secrets(command)),
            *json_secrets(self.extra_body),
            *environment_secrets(os.environ),
        ]
        return tuple(dict.fromkeys(secrets))


def _unset_variable(name: str) -> str:
    if _VARIABLE_NAME.fullmatch(name):
        return f"--setup-api-key-env: the environment variable {name!r} is not set"
    return (
        "--setup-api-key-env: no environment variable has the given name, which is not shown because it may "
        "be a key itself; type the name of the variable that holds the key, such as MY_API_KEY"
    )
