"""The one table of options: command line, environment and ini file. Standard library only."""

from __future__ import annotations

import os
from dataclasses import dataclass
from enum import Enum, auto
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pathlib import Path

    from pytest import Config, Parser  # noqa: PT013  # typing only


class Kind(Enum):
    """How an option is written: one text, a text that may be left out, many texts, or a switch."""

    TEXT = auto()
    OPTIONAL = auto()
    MANY = auto()
    SWITCH = auto()
    TOGGLE = auto()


@dataclass(frozen=True, slots=True)
class Option:
    """One option: ``--setup-<name>``, ini key ``setup_<name>`` and, where given, ``SETUP_*``.

    ``field`` is the field of the settings it fills; ``path`` says that its values are paths, which
    are relative to the current directory, or in an ini file to the folder of that file; ``file`` that
    its value may be a file instead of a name.
    """

    name: str
    help: str
    metavar: str = "TEXT"
    kind: Kind = Kind.TEXT
    env: str | None = None
    flags: tuple[str, ...] = ()
    path: bool = False
    file: bool = False

    @property
    def flag(self) -> str:
        """The option as it is typed."""
        return self.flags[0] if self.flags else f"--setup-{self.name}"

    @property
    def field(self) -> str:
        """The name of the field in the settings."""
        return self.name.replace("-", "_")

    @property
    def dest(self) -> str:
        """The name in pytest's options and ini file."""
        return f"setup_{self.field}"


@dataclass(frozen=True, slots=True)
class Given:
    """A value as its user wrote it, and where: 0 the command line, 1 the environment, 2 the ini file."""

    value: str | list[str]
    source: str
    distance: int = 0


OPTIONS: Final = (
    Option("base-url", "the server's OpenAI-compatible API, such as http://localhost:24001/v1; "
           "naming a server runs the setup suite", "URL", env="SETUP_BASE_URL"),
    Option("model", "served model name for all stages (default: the only one that the server lists)",
           "NAME", env="SETUP_MODEL"),
    Option("caption-model", "served model name for captions, where it differs", "NAME"),
    Option("keywords-model", "served model name for keywords, where it differs", "NAME"),
    Option("description-model", "served model name for descriptions, where it differs", "NAME"),
    Option("api-key-env", "name of the environment variable that holds the API key", "NAME",
           env="SETUP_API_KEY_ENV"),
    Option("timeout", "seconds that one whole request may take (default 120)", "SECONDS",
           env="SETUP_TIMEOUT"),
    Option("wait", "seconds to wait for the server to become ready, proved by a real answer (default 0)",
           "SECONDS", env="SETUP_WAIT"),
    Option("images", "sample image or folder of them; may be repeated (default: sample_images)", "PATH",
           Kind.MANY, env="SETUP_IMAGES", path=True),
    Option("prompts", "prompt profile: default, concise, archive, or a TOML file", "NAME|FILE", file=True),
    Option("max-new-tokens", "token limit of one answer (default 256)", "N"),
    Option("temperature", "sampling temperature (default 0.2)", "X"),
    Option("top-p", "nucleus sampling (default 0.9)", "X"),
    Option("seed", "sampling seed (default: none is sent)", "N"),
    Option("max-edge", "longest edge in pixels that pictures are scaled down to (default 1024)", "PIXELS"),
    Option("extra-body", "JSON object merged into every request; null removes a field", "JSON"),
    Option("stream", "stream answers, which measures the time to first token (default: no)",
           kind=Kind.TOGGLE),
    Option("concurrency", "images worked on at once (default 1: clean latencies)", "N"),
    Option("repeat", "samples to take of every stage of every image: all images once, then all again "
           "(default 1)", "N"),
    Option("warmup", "requests before the measured ones, left out of the figures (default 1)", "N"),
    Option("server-command", "command that started the server, for the entry", "COMMAND",
           env="SETUP_SERVER_COMMAND"),
    Option("model-path", "path of the model's weights on the server, for the entry", "PATH",
           env="SETUP_MODEL_PATH"),
    Option("model-repo", "repository of the model, such as Qwen/Qwen2.5-VL-7B-Instruct, for the entry", "ID",
           env="SETUP_MODEL_REPO"),
    Option("tagger-command", "command of an external tagger to verify in place of the built-in one, run once "
           "without a shell; placeholders: {images} {output} (both needed) {summary} {base_url} {model} "
           "{caption_model} {keywords_model} {description_model} {max_new_tokens} {temperature} {top_p} "
           "{timeout}", "COMMAND", env="SETUP_TAGGER_COMMAND"),
    Option("tagger-timeout", "seconds that the whole tagger command may take (default 3600)", "SECONDS",
           env="SETUP_TAGGER_TIMEOUT"),
    Option("redact-paths", "write ~ for the home directory, {rootdir} for the project and {images}, {output} "
           "and {summary} for a tagger's files in everything that is recorded", kind=Kind.SWITCH,
           env="SETUP_REDACT_PATHS"),
    Option("notes", "free text for the entry", env="SETUP_NOTES"),
    Option("record", "write the setup into the registry when everything passed", kind=Kind.SWITCH,
           env="SETUP_RECORD", flags=("--record", "--setup-record")),
    Option("record-failed", "like --record, and keep a failed attempt with its reason", kind=Kind.SWITCH,
           env="SETUP_RECORD_FAILED", flags=("--record-failed", "--setup-record-failed")),
    Option("registry", "registry folder (default: registry)", "DIR", env="SETUP_REGISTRY", path=True),
    Option("report", "write the run, also a failed one, as one self-contained HTML file", "FILE",
           env="SETUP_REPORT", path=True),
    Option("slug", "name of the entry (default: <served-model-name>_<backend>)", "SLUG", env="SETUP_SLUG"),
    Option("environment", "JSON file that `pytest-setups env` wrote on the server's machine, for the entry",
           "FILE", env="SETUP_ENVIRONMENT", path=True),
    Option("launch", "start the server with this command, verify it, and stop it; without a command: with "
           "the one of the entry that --setup-from names", "COMMAND", Kind.OPTIONAL),
    Option("launch-timeout", "seconds that a launched server may take to become ready (default 600)",
           "SECONDS", env="SETUP_LAUNCH_TIMEOUT"),
    Option("from", "entry to verify again: its base URL, models, settings and prompts, where no option "
           "says otherwise", "SLUG", env="SETUP_FROM"),
    Option("baseline", "compare with this entry: its slug, the path of its file, or latest, the newest "
           "success of the same setup with the same images", "SLUG|latest|PATH",
           env="SETUP_BASELINE", file=True),
    Option("baseline-allow", "a difference from the baseline that is allowed, as the message names it, such "
           "as server.flags.max-model-len or environment; may be repeated", "NAME", Kind.MANY),
    Option("fail-if", "how much worse than the baseline fails the run; may be repeated: p50:20%%, "
           "caption.p95:0.5s, tokens_per_s:-15%%, keywords_overlap:0.6", "FIGURE:LIMIT", Kind.MANY),
    Option("demo", "start a llama.cpp server with the packaged toy model and verify it",
           kind=Kind.SWITCH),
    Option("demo-server", "llama-server program for --setup-demo (default: one on PATH, else xllamacpp)",
           "PROGRAM", env="SETUP_DEMO_SERVER"),
    Option("collect-registry", "check every registry that is met while collecting (default: only one whose "
           "path is given, as in `pytest registry/`)", kind=Kind.SWITCH),
    Option("check-paths", "with a registry's checks: local paths that entries name exist on this machine",
           kind=Kind.SWITCH),
)  # fmt: skip

SERVER_OPTIONS: Final = ("base-url", "launch", "from")
RUN_OPTIONS: Final = ("record", "record-failed", "baseline", "fail-if", "report", "repeat", "tagger-command")
_BY_NAME: Final = {option.name: option for option in OPTIONS}
_TRUE: Final = frozenset({"1", "true", "yes", "on"})
_FALSE: Final = frozenset({"0", "false", "no", "off", ""})


def option(name: str) -> Option:
    """The option of that name."""
    return _BY_NAME[name]


def add_options(parser: Parser) -> None:
    """Declare every option on the command line and in the ini file."""
    group = parser.getgroup("setups", "pytest-setups: verify a served vision-language model")
    for item in OPTIONS:
        text = item.help if item.env is None else f"{item.help} [env: {item.env}]"
        flags = item.flags or (item.flag,)
        if item.kind in {Kind.SWITCH, Kind.TOGGLE}:
            group.addoption(*flags, dest=item.dest, action="store_const", const="true", help=text)
            negation = f"--no-setup-{item.name}"
            group.addoption(
                negation, dest=item.dest, action="store_const", const="false", help=f"not {flags[0]}"
            )
        elif item.kind is Kind.MANY:
            group.addoption(*flags, dest=item.dest, action="append", metavar=item.metavar, help=text)
        elif item.kind is Kind.OPTIONAL:
            group.addoption(*flags, dest=item.dest, nargs="?", const="", metavar=item.metavar, help=text)
        else:
            group.addoption(*flags, dest=item.dest, metavar=item.metavar, help=text)
        if item.kind is Kind.MANY:
            parser.addini(item.dest, f"like {flags[0]}", type="linelist")
        else:
            parser.addini(item.dest, f"like {flags[0]}", type="string")


def given(config: Config, item: Option) -> Given | None:
    """What the user gave for this option: command line, else environment, else ini file."""
    value = config.getoption(item.dest)
    if value is not None:
        return Given(value, item.flag)
    text = os.environ.get(item.env) if item.env else None
    if item.env and text:
        many = item.kind is Kind.MANY
        return Given([part for part in text.split(os.pathsep) if part] if many else text, item.env, 1)
    ini = config.getini(item.dest)
    if ini:
        return Given(_from_ini(ini, item, config), f"{item.dest} in {_ini_name(config)}", 2)
    return None


def switched_on(config: Config, name: str) -> bool:
    """Whether a switch is on.

    Raises:
        ValueError: what the user gave is neither yes nor no.
    """
    found = given(config, option(name))
    return found is not None and truth(found)


def check_switches(config: Config) -> None:
    """Read every switch.

    Raises:
        ValueError: one is neither yes nor no.
    """
    for item in OPTIONS:
        if item.kind is Kind.SWITCH:
            switched_on(config, item.name)


def truth(found: Given) -> bool:
    """A yes or no as people write it.

    Raises:
        ValueError: it is neither.
    """
    word = str(found.value).strip().lower()
    if word in _TRUE:
        return True
    if word in _FALSE:
        return False
    message = f"{found.source}: {found.value!r} is neither true nor false"
    raise ValueError(message)


def server_named(config: Config) -> bool:
    """Whether the user named a server to verify.

    Raises:
        ValueError: a switch is neither yes nor no.
    """
    named = any(given(config, option(name)) for name in SERVER_OPTIONS)
    return named or switched_on(config, "demo")


def typed_without_a_server(config: Config) -> str | None:
    """The flag of an option on the command line that means nothing where no server is named, or None."""
    typed = (option(name) for name in RUN_OPTIONS)
    return next((item.flag for item in typed if config.getoption(item.dest) not in (None, "false")), None)


def _from_ini(value: str | list[str], item: Option, config: Config) -> str | list[str]:
    anchored = _anchored(value, config)
    is_file = item.file and os.path.isfile(str(anchored))  # noqa: PTH113  # a name may be no path at all
    return anchored if item.path or is_file else value


def _anchored(value: str | list[str], config: Config) -> str | list[str]:
    folder = _ini_folder(config)
    if isinstance(value, str):
        return str(folder / os.path.expanduser(value))
    return [str(_anchored(part, config)) for part in value]


def _ini_folder(config: Config) -> Path:
    return config.inipath.parent if config.inipath else config.rootpath


def _ini_name(config: Config) -> str:
    return config.inipath.name if config.inipath else "the ini file"
