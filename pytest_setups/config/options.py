"""The table of options: each is declared here once, and the rest is derived from its row.

``plugin/option_values.py`` declares the options with pytest and reads what the user gave, ``settings.py``
takes its defaults from here, and the documentation prints this table. Part of every pytest run, also of
those that have nothing to do with a server: standard library only.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, IntEnum, StrEnum
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterable


class ValueType(StrEnum):
    """What a value is; the value of each member is pytest's name of that ini type."""

    TEXT = "string"
    INTEGER = "int"
    NUMBER = "float"
    SWITCH = "bool"
    LIST = "linelist"


class Group(StrEnum):
    """A section of ``pytest --help`` and of the documentation, by its title."""

    CONNECTION = "connection"
    PICTURES = "pictures and prompts"
    LIBRARY = "photo library"
    MEASUREMENT = "measurement"
    LOAD = "load"
    TAGGER = "tagger"
    LAUNCH = "launch"
    RECORD = "record"
    COMPARE = "compare"
    REPORT = "report"
    DEMO = "demo"
    REGISTRY = "registry checks"


class Paths(Enum):
    """Whether a value names files of this machine: never, always, or only where such a file exists."""

    NEVER = "never"
    ALWAYS = "always"
    EXISTING = "existing"


@dataclass(frozen=True, slots=True)
class Option:
    """One option: a row of the table.

    Attributes:
        name: The part after ``--setup-``.
        group: Its section of ``pytest --help``.
        help: What it does, as one clause; without its default and environment variable.
        metavar: Its value in ``pytest --help``; unused by switches.
        type: What its value is. A list is an option that may be repeated.
        default: The value without one given; None where there is none or where it depends on other values.
        default_text: The default in words, where ``default`` cannot say it.
        in_environment: Whether the environment variable ``env`` sets it.
        aliases: Further spellings, the first of which is the usual one: ``--record``.
        paths: Whether its values are paths. They are relative to the current directory, and in an ini
            file to the folder of that file.
        value_optional: Whether its value may be left out, which is the same as an empty one.
        starts_run: Whether it names a server, so that pytest runs the suite.
        needs_run: Whether it is a mistake on a command line that names no server.
    """

    name: str
    group: Group
    help: str
    metavar: str = "TEXT"
    type: ValueType = ValueType.TEXT
    default: str | float | bool | None = None
    default_text: str | None = None
    in_environment: bool = False
    aliases: tuple[str, ...] = ()
    paths: Paths = Paths.NEVER
    value_optional: bool = False
    starts_run: bool = False
    needs_run: bool = False

    @property
    def flags(self) -> tuple[str, ...]:
        """Every spelling on the command line, the usual one first."""
        return (*self.aliases, f"--setup-{self.name}")

    @property
    def flag(self) -> str:
        """The usual spelling on the command line."""
        return self.flags[0]

    @property
    def negation(self) -> str | None:
        """The flag that switches it off; only switches have one."""
        return f"--no-setup-{self.name}" if self.type is ValueType.SWITCH else None

    @property
    def field(self) -> str:
        """The name of the field in the settings."""
        return self.name.replace("-", "_")

    @property
    def key(self) -> str:
        """The key in an ini file, which is also the name among pytest's parsed options."""
        return f"setup_{self.field}"

    @property
    def env(self) -> str | None:
        """The environment variable that sets it."""
        return self.key.upper() if self.in_environment else None

    @property
    def ini_type(self) -> str:
        """The type of the ini key: string, int, float, bool or linelist (a list of strings)."""
        return self.type.value

    @property
    def ini_example(self) -> str:
        """The option as it is written in a TOML file."""
        values = {
            ValueType.TEXT: f'"{self.metavar}"',
            ValueType.LIST: f'["{self.metavar}"]',
            ValueType.SWITCH: "true",
            ValueType.INTEGER: str(self.default or 1),
            ValueType.NUMBER: str(self.default or 1.0),
        }
        return f"{self.key} = {values[self.type]}"

    @property
    def described_default(self) -> str | None:
        """The default as the user reads it, None for a switch and where there is nothing to say."""
        if self.default_text is not None or self.default is None or self.type is ValueType.SWITCH:
            return self.default_text
        return f"{self.default:g}" if isinstance(self.default, float) else str(self.default)


class Source(IntEnum):
    """Where a value was given. The nearer one wins, which is the smaller."""

    COMMAND_LINE = 0
    ENVIRONMENT = 1
    INI_FILE = 2


@dataclass(frozen=True, slots=True)
class GivenValue:
    """A value as its user wrote it; ``place`` is the flag, the variable, or the key and its file."""

    value: str | float | list[str]
    place: str
    source: Source = Source.COMMAND_LINE


_C, _P, _L, _M, _R = Group.CONNECTION, Group.PICTURES, Group.LIBRARY, Group.MEASUREMENT, Group.RECORD
_INT, _NUM, _SWITCH, _LIST = ValueType.INTEGER, ValueType.NUMBER, ValueType.SWITCH, ValueType.LIST

# fmt: off
OPTIONS: Final = (
    Option("base-url", _C, "the server's OpenAI-compatible API, such as http://localhost:24001/v1; naming a "
           "server runs the setup suite", "URL", in_environment=True, starts_run=True),
    Option("model", _C, "served model name for all stages", "NAME",
           default_text="the only model that the server lists", in_environment=True),
    Option("caption-model", _C, "served model name for captions, where it differs", "NAME"),
    Option("keywords-model", _C, "served model name for keywords, where it differs", "NAME"),
    Option("description-model", _C, "served model name for descriptions, where it differs", "NAME"),
    Option("api-key-env", _C, "name of the environment variable that holds the API key", "NAME",
           in_environment=True),
    Option("timeout", _C, "seconds that one whole request may take", "SECONDS", _NUM, 120.0,
           in_environment=True),
    Option("wait", _C, "seconds to wait for the server to become ready, proved by a real answer", "SECONDS",
           _NUM, 0.0, in_environment=True),

    Option("images", _P, "sample image or folder of them; may be repeated", "PATH", _LIST, "sample_images",
           in_environment=True, paths=Paths.ALWAYS),
    Option("expectations", _P, "TOML file of words that the outputs of each image must and must not have; "
           "none reads no file", "FILE|none", default_text="expectations.toml beside the images",
           in_environment=True, paths=Paths.EXISTING),
    Option("prompts", _P, "prompt profile: default, concise, archive, or a TOML file", "NAME|FILE",
           default="default", paths=Paths.EXISTING),
    Option("language", _P, "language that the outputs must be in and that prompts ask for: an ISO 639-1 code "
           "such as de, or that of one stage: keywords=de; may be repeated", "[STAGE=]CODE", _LIST,
           in_environment=True),
    Option("max-edge", _P, "longest edge in pixels that pictures are scaled down to", "PIXELS", _INT, 1024),
    Option("max-new-tokens", _P, "token limit of one answer", "N", _INT, 256),
    Option("temperature", _P, "sampling temperature", "X", _NUM, 0.2),
    Option("top-p", _P, "nucleus sampling", "X", _NUM, 0.9),
    Option("seed", _P, "sampling seed", "N", _INT, default_text="none is sent"),
    Option("structured", _P, "send a JSON schema with the request for keywords, with the terms of the "
           "vocabulary where there is one; an answer that does not obey it fails", type=_SWITCH,
           default=False, in_environment=True),
    Option("extra-body", _P, "JSON object merged into every request; null removes a field", "JSON"),

    Option("vocabulary", _L, "terms that keywords should be: a text file with one on each line, or a CSV "
           "file; adds the figures off_vocabulary, near_vocabulary and used_once", "FILE",
           in_environment=True, paths=Paths.ALWAYS, needs_run=True),
    Option("vocabulary-column", _L, "column of a CSV file that holds the terms", "NAME",
           default_text="the one named keyword, term, name, tag or label", in_environment=True),
    Option("reference", _L, "metadata: compare with the keywords that people wrote into the pictures and "
           "their .xmp files; adds the figure keywords_recall", "metadata", in_environment=True,
           needs_run=True),

    Option("stream", _M, "stream answers, which measures the time to first token", type=_SWITCH,
           default=False),
    Option("concurrency", _M, "images worked on at once; 1 gives clean latencies", "N", _INT, 1),
    Option("repeat", _M, "samples to take of every stage of every image: all images once, then all again",
           "N", _INT, 1, needs_run=True),
    Option("warmup", _M, "requests before the measured ones, left out of the figures", "N", _INT, 1),

    Option("capacity", Group.LOAD, "measure images per second and the times of an image at these numbers of "
           "images at once; without a value: at 1, 2, 4 and so on, until the throughput stops growing",
           "N,N,...", value_optional=True, needs_run=True),
    Option("slo", Group.LOAD, "how long an image may take, for the largest number at once that keeps it: "
           "image.p95:10s", "FIGURE:TIME", in_environment=True, needs_run=True),
    Option("library", Group.LOAD, "photographs to predict the hours for, such as 80000", "N", _INT,
           in_environment=True, needs_run=True),
    Option("price-kwh", Group.LOAD, "what a kilowatt-hour costs, in any currency; adds the cost of 1,000 "
           "images where the energy of the server's machine can be measured", "PRICE", _NUM,
           in_environment=True, needs_run=True),

    Option("soak", Group.LOAD, "tag the pictures in turn for so long, each time as a new picture, and fail "
           "where the server's memory or latency rises, or an output is not populated: 90s, 30m, 2h or "
           "300images", "DURATION", needs_run=True),

    Option("tagger-command", Group.TAGGER, "command of a tagger to verify in place of the built-in one, run "
           "once without a shell; placeholders: {images} {output} (both required) {summary} "
           "{base_url} {model} {caption_model} {keywords_model} {description_model} {max_new_tokens} "
           "{temperature} {top_p} {timeout} {language} {caption_language} {keywords_language} "
           "{description_language}", "COMMAND", in_environment=True, needs_run=True),
    Option("tagger-timeout", Group.TAGGER, "seconds that the whole tagger command may take", "SECONDS", _NUM,
           3600.0, in_environment=True),

    Option("launch", Group.LAUNCH, "start the server with this command, verify it, and stop it; without a "
           "command: with that of the entry that --setup-from names", "COMMAND", value_optional=True,
           starts_run=True),
    Option("launch-timeout", Group.LAUNCH, "seconds that a launched server may take to become ready",
           "SECONDS", _NUM, 600.0, in_environment=True),
    Option("from", Group.LAUNCH, "entry to verify again: its base URL, models, settings and prompts, except "
           "where another option is given", "SLUG", in_environment=True, starts_run=True),

    Option("record", _R, "write the setup into the registry when everything passed", type=_SWITCH,
           default=False, in_environment=True, aliases=("--record",), needs_run=True),
    Option("record-failed", _R, "like --record, and keep a failed attempt with its reason", type=_SWITCH,
           default=False, in_environment=True, aliases=("--record-failed",), needs_run=True),
    Option("registry", _R, "registry folder", "DIR", default="registry", in_environment=True,
           paths=Paths.ALWAYS),
    Option("slug", _R, "name of the entry", "SLUG", default_text="<served-model-name>_<backend>",
           in_environment=True),
    Option("server-command", _R, "command that started the server, for the entry", "COMMAND",
           in_environment=True),
    Option("model-path", _R, "path of the model's weights on the server, for the entry", "PATH",
           in_environment=True),
    Option("model-repo", _R, "repository of the model, such as Qwen/Qwen2.5-VL-7B-Instruct, for the entry",
           "ID", in_environment=True),
    Option("environment", _R, "JSON file that `pytest-setups env` wrote on the server's machine, for the "
           "entry", "FILE", in_environment=True, paths=Paths.ALWAYS),
    Option("notes", _R, "free text for the entry", in_environment=True),
    Option("redact-paths", _R, "write ~ for the home directory, {rootdir} for the project and {images}, "
           "{output} and {summary} for a tagger's files in everything that is recorded", type=_SWITCH,
           default=False, in_environment=True),

    Option("baseline", Group.COMPARE, "compare with this entry: its slug, the path of its file, or latest, "
           "the newest success of the same setup with the same images", "SLUG|latest|PATH",
           in_environment=True, paths=Paths.EXISTING, needs_run=True),
    Option("baseline-allow", Group.COMPARE, "a difference from the baseline that is allowed, as the message "
           "names it, such as server.flags.max-model-len or environment; may be repeated", "NAME", _LIST),
    Option("fail-if", Group.COMPARE, "how much worse than the baseline fails the run; may be repeated: "
           "p50:20%, caption.p95:0.5s, tokens_per_s:-15%, keywords_overlap:0.6, for each picture "
           "keywords_overlap.each:0.3; figures of one run need no baseline: retries:2%",
           "FIGURE:LIMIT", _LIST,
           needs_run=True),

    Option("report", Group.REPORT, "write the run, also a failed one, as one self-contained HTML file",
           "FILE", in_environment=True, paths=Paths.ALWAYS, needs_run=True),

    Option("demo", Group.DEMO, "start a llama.cpp server with the packaged toy model and verify it",
           type=_SWITCH, default=False, starts_run=True),
    Option("demo-server", Group.DEMO, "llama-server program for --setup-demo", "PROGRAM",
           default_text="the one on PATH, else xllamacpp", in_environment=True),

    Option("collect-registry", Group.REGISTRY, "check every registry that is met while collecting, not only "
           "one whose path is given, as in `pytest registry/`", type=_SWITCH, default=False),
    Option("check-paths", Group.REGISTRY, "with a registry's checks: local paths that entries name exist on "
           "this machine", type=_SWITCH, default=False),
)
# fmt: on

FLAG_PREFIXES: Final = ("--setup-", "--no-setup-", "--record")

_BY_NAME: Final = {option.name: option for option in OPTIONS}
# The words that pytest understands in an ini file, so that they mean the same everywhere.
_TRUE: Final = frozenset({"1", "y", "yes", "t", "true", "on"})
_FALSE: Final = frozenset({"0", "n", "no", "f", "false", "off", ""})


def option(name: str) -> Option:
    """The option of that name."""
    return _BY_NAME[name]


def default(name: str) -> Any:
    """The default of the option of that name."""
    return _BY_NAME[name].default


def is_on(given: GivenValue | None) -> bool:
    """Whether a switch is on; without a value it is off.

    Raises:
        ValueError: the value is neither true nor false.
    """
    if given is None:
        return False
    word = str(given.value).strip().lower()
    if word not in _TRUE | _FALSE:
        message = f"{given.place}: {given.value!r} is neither true nor false"
        raise ValueError(message)
    return word in _TRUE


def nearest(name: str, names: Iterable[str]) -> str | None:
    """The name that was probably meant by a misspelt one, None where none is similar."""
    import difflib

    return next(iter(difflib.get_close_matches(name, list(names), n=1)), None)
