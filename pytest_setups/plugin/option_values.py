"""The table of options as pytest knows it: declared with its parser, and read from its configuration.

A value on the command line wins over the environment, which wins over the ini file. Every process of a
run resolves this itself: xdist hands the command line to its workers, the others they read as usual.
"""

from __future__ import annotations

import os
import warnings
from typing import TYPE_CHECKING, Any, Final

import pytest

from pytest_setups.config.options import (
    OPTIONS,
    GivenValue,
    Group,
    Option,
    Paths,
    Source,
    ValueType,
    is_on,
    option,
)

if TYPE_CHECKING:
    from pathlib import Path

# Before 9.0 every value of an ini file was a text. 9.0 brought TOML's own types, and 9.2 types such as
# `int | str`, which also accept a number in quotation marks and an empty value.
_UNIONS: Final = {
    ValueType.INTEGER: int | str,
    ValueType.NUMBER: float | str,
    ValueType.SWITCH: bool | str,
}


def declare_options(parser: pytest.Parser) -> None:
    """Declare every option on the command line, in the sections of the table, and in the ini file."""
    for group in Group:
        section = parser.getgroup(f"setups-{group.name.lower()}", f"pytest-setups: {group.value}")
        for item in OPTIONS:
            if item.group is group:
                _declare_flags(section, item)
    for item in OPTIONS:
        parser.addini(item.key, f"like {item.flag}", type=_ini_type(item), default=None)


def given_values(config: pytest.Config) -> dict[str, GivenValue]:
    """What the user gave, by the field of the settings.

    Raises:
        pytest.UsageError: a value in the ini file has the wrong type.
    """
    values = {item.field: given_value(config, item) for item in OPTIONS}
    return {field: given for field, given in values.items() if given is not None}


def given_value(config: pytest.Config, item: Option) -> GivenValue | None:
    """What the user gave for this option.

    Raises:
        pytest.UsageError: its value in the ini file has the wrong type.
    """
    typed = config.getoption(item.key)
    if typed is not None:
        return GivenValue(typed, item.flag)
    return _from_environment(item) or _from_ini_file(config, item)


def switched_on(config: pytest.Config, name: str) -> bool:
    """Whether the switch of that name is on.

    Raises:
        pytest.UsageError: what the user gave is neither true nor false.
    """
    try:
        return is_on(given_value(config, option(name)))
    except ValueError as error:
        raise pytest.UsageError(str(error)) from None


def check_switches(config: pytest.Config) -> None:
    """Read every switch, whether or not this run looks at it.

    Raises:
        pytest.UsageError: one is neither true nor false.
    """
    for item in OPTIONS:
        if item.type is ValueType.SWITCH:
            switched_on(config, item.name)


def server_named(config: pytest.Config) -> bool:
    """Whether the user named a server to verify.

    Raises:
        pytest.UsageError: a switch is neither true nor false, or a value in the ini file has the wrong type.
    """
    return any(
        switched_on(config, item.name)
        if item.type is ValueType.SWITCH
        else given_value(config, item) is not None
        for item in OPTIONS
        if item.starts_run
    )


def typed_without_a_server(config: pytest.Config) -> str | None:
    """The flag of an option on the command line that has no meaning where no server is named, or None."""
    options = (item for item in OPTIONS if item.needs_run)
    return next((item.flag for item in options if config.getoption(item.key) not in (None, "false")), None)


def _declare_flags(section: pytest.OptionGroup, item: Option) -> None:
    common = {"dest": item.key, "help": _help(item)}
    if item.negation is not None:
        section.addoption(*item.flags, action="store_const", const="true", **common)
        negated = {"dest": item.key, "help": f"switch {item.flag} off"}
        section.addoption(item.negation, action="store_const", const="false", **negated)
    elif item.type is ValueType.LIST:
        section.addoption(*item.flags, action="append", metavar=item.metavar, **common)
    elif item.value_optional:
        section.addoption(*item.flags, nargs="?", const="", metavar=item.metavar, **common)
    else:
        section.addoption(*item.flags, metavar=item.metavar, **common)


def _help(item: Option) -> str:
    parts = [item.help]
    if item.described_default is not None:
        parts.append(f"(default: {item.described_default})")
    if item.env is not None:
        parts.append(f"[env: {item.env}]")
    return " ".join(parts).replace("%", "%%")  # argparse formats help texts with %


def _ini_type(item: Option) -> Any:
    if pytest.version_tuple < (9, 0):
        return "linelist" if item.type is ValueType.LIST else "string"
    if pytest.version_tuple < (9, 2):
        return item.ini_type
    return _UNIONS.get(item.type, item.ini_type)


def _from_environment(item: Option) -> GivenValue | None:
    text = os.environ.get(item.env) if item.env else None
    if not item.env or not text:
        return None
    is_list = item.type is ValueType.LIST
    value = [part for part in text.split(os.pathsep) if part] if is_list else text
    return GivenValue(value, item.env, Source.ENVIRONMENT)


def _from_ini_file(config: pytest.Config, item: Option) -> GivenValue | None:
    place = f"{item.key} in {_ini_name(config)}"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # pytest warns of a list for a text, which is an error below
            value = config.getini(item.key)
    except (pytest.UsageError, TypeError, ValueError) as error:  # only from 9.2 always a UsageError
        fault = str(error).removeprefix(f"{config.inipath}: config option '{item.key}' ")
        raise _wrong_type(f"{place}: {fault}; type {item.ini_example}") from None
    if value is None or value in ("", []):
        return None
    if not _fits(value, item):
        raise _wrong_type(f"{place}: type {item.ini_example}; got {value!r}")
    return GivenValue(_anchored(value, item, config), place, Source.INI_FILE)


def _wrong_type(message: str) -> pytest.UsageError:
    from pytest_setups.redaction import redact

    return pytest.UsageError(redact(message))


def _fits(value: object, item: Option) -> bool:
    """Whether a value is a list of texts or a single value, as the option has it."""
    if item.type is ValueType.LIST:
        return isinstance(value, list) and all(isinstance(part, str) for part in value)
    return isinstance(value, str | int | float)


def _anchored(value: Any, item: Option, config: pytest.Config) -> Any:
    """The value with its paths made absolute: they are relative to the folder of the ini file."""
    if item.paths is Paths.NEVER:
        return value
    folder = config.inipath.parent if config.inipath else config.rootpath
    absolute = [_below(folder, part) for part in value] if isinstance(value, list) else _below(folder, value)
    is_missing = item.paths is Paths.EXISTING and not os.path.isfile(str(absolute))
    return value if is_missing else absolute


def _below(folder: Path, path: str) -> str:
    return str(folder / os.path.expanduser(path))


def _ini_name(config: pytest.Config) -> str:
    return config.inipath.name if config.inipath else "the ini file"
