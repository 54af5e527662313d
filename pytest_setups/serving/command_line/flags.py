"""The options of a launch command: their long names and typed values."""

from __future__ import annotations

import json
import math
import re
from typing import TYPE_CHECKING, Final

from pytest_setups.redaction import is_secret_name, redact_json

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from pydantic import JsonValue

    from pytest_setups.serving.command_line.programs import Program

    Options = dict[str, list[JsonValue]]

_MAX_DIGITS: Final = 20
_NUMBER: Final = re.compile(r"-?(?:0|[1-9]\d{0,18})(?:\.\d+)?(?:[eE][+-]?\d{1,2})?")
_ATTACHED: Final = re.compile(r"-([A-Za-z])(\d+)")  # -O2
# A commit such as 1234567 or 12e4 is not a number.
_TEXTS: Final = frozenset({"revision", "tokenizer-revision", "code-revision"})
_SWITCH: Final = re.compile(r"(?:enable|disable|no|skip)-.+")


def _int_or_text(digits: str) -> int | str:
    return int(digits) if len(digits) < _MAX_DIGITS else digits


def _float_or_text(digits: str) -> float | str:
    return float(digits) if math.isfinite(float(digits)) else digits


# An entry is strict JSON that other tools read as well: numbers that these cannot hold stay texts.
_DECODER: Final = json.JSONDecoder(parse_int=_int_or_text, parse_float=_float_or_text, parse_constant=str)


def read_options(program: Program, words: Sequence[str]) -> tuple[Options, list[str]]:
    """The options of a program by their long names, and the words that belong to none.

    Only a program's own parser knows which of its options take a value. For the others, a word that
    follows an option is its value, and so are further words (``--allowed-origins a b``).
    """
    options: Options = {}
    positionals: list[str] = []
    last: str | None = None
    for at, word in enumerate(words):
        if word == "--":
            positionals += words[at + 1 :]
            break
        if _is_option(word):
            last, value = _option(program, word)
            if value is not None:
                options.setdefault(last, []).append(_typed(last, value))
                last = None
            elif (
                at + 1 == len(words) or _is_option(words[at + 1]) or _is_switch(program, last, words[at + 1])
            ):
                options.setdefault(last, []).append(True)
                last = None
        elif last is None or _is_model(program, last, options, positionals):
            positionals.append(word)
        else:
            options.setdefault(last, []).append(_typed(last, word))
    return options, positionals


def _option(program: Program, word: str) -> tuple[str, str | None]:
    """The long name of an option, and its value where that is attached."""
    name, equals, value = word.lstrip("-").partition("=")
    # argparse of vLLM and SGLang takes --max_model_len for --max-model-len.
    name = name if name in program.spellings else name.replace("_", "-")
    attached = _ATTACHED.fullmatch(word)
    if attached and name not in program.spellings and attached[1] in program.spellings:
        return program.spellings[attached[1]], attached[2]
    return program.spellings.get(name, name), value if equals else None


def _is_option(word: str) -> bool:
    return len(word) > 1 and word.startswith("-") and not _NUMBER.fullmatch(word)


def _is_model(program: Program, last: str, options: Options, positionals: Sequence[str]) -> bool:
    """Whether a word after an option and its value is the model: ``vllm serve --max-model-len 4096 MODEL``.

    After ``--api-key S1`` it is one more key, for vLLM too.
    """
    return last in options and program.positional and not positionals and not is_secret_name(last)


def _is_switch(program: Program, name: str, following: str) -> bool:
    # Click's options have an explicit value in places: --trust-remote-code true.
    known = name in program.switches or _SWITCH.fullmatch(name) is not None
    return known and following not in {"true", "false", "True", "False"}


def _typed(name: str, text: str) -> JsonValue:
    if name in _TEXTS:
        return text
    if text in {"True", "False"}:
        return text == "True"
    if text in {"true", "false"} or text[:1] in {"{", "["} or _NUMBER.fullmatch(text):
        try:
            value: JsonValue = _DECODER.decode(text)
        except (ValueError, RecursionError):
            return text
        return value
    return text


def shown(name: str, values: Sequence[JsonValue]) -> JsonValue:
    """The values as the entry keeps them: a single one or a list; several keys are hidden together."""
    public: list[JsonValue] = list(
        redact_json({name: values[0] if len(values) == 1 else list(values)}).values()
    )
    return public[0]


def pop_text(options: Options, names: Iterable[str]) -> str | None:
    """Take the first of these options that has a value, as text."""
    for name in names:
        text = first_text(options, (name,))
        if text is not None:
            del options[name]
            return text
    return None


def first_text(options: Mapping[str, Sequence[JsonValue]], names: Iterable[str]) -> str | None:
    """The first value of the first of these options that has one, as text."""
    for name in names:
        values = options.get(name)
        if values and values[0] is not True:
            first = values[0]
            return first if isinstance(first, str) else json.dumps(first)
    return None
