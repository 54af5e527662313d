"""What a user types that pytest misreads or does not know, and what to type in its place."""

from __future__ import annotations

import copy
import os
import re
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

from pytest_setups.config.options import FLAG_PREFIXES, OPTIONS, ValueType, nearest

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_PYTESTS_OWN: Final = ("--setup-show", "--setup-only", "--setup-plan")
_UNKNOWN_KEY: Final = re.compile(r"Unknown config option: (setup_\w+)\s*")
# Where pytest looks for its configuration, and setup.py, which marks a project's root without one.
_PROJECT_FILES: Final = (
    *("pytest.toml", ".pytest.toml", "pytest.ini", ".pytest.ini"),
    *("pyproject.toml", "tox.ini", "setup.cfg", "setup.py"),
)


def refuse_misread_paths(config: pytest.Config, args: list[str]) -> None:
    """Refuse ``--setup-images /elsewhere`` where pytest was misled by it.

    pytest looks for the project's root and ini file before it knows the options of plugins. An existing
    path after a space is a path of tests to it, and the search begins there.

    Args:
        config: The configuration, with its root and ini file, before conftest files are loaded.
        args: All arguments, those of the ini file's ``addopts`` first.

    Raises:
        pytest.UsageError: the root or the ini file may be another one than without that path.
    """
    known = config.known_args_namespace
    if known.rootdir or known.inifilename:
        return
    misread = list(_paths_after_a_space(args[len(config.getini("addopts")) :]))
    if not misread:
        return
    here = config.invocation_params.dir
    own = [folder for arg in known.file_or_dir if (folder := _folder(here, arg.partition("::")[0]))]
    values = [folder for _, value in misread if (folder := _folder(here, value))]
    if _is_same_project(config, _common(own) or here, _common([*own, *values]) or here):
        return
    typed = " ".join(f"{flag}={value}" for flag, value in misread)
    message = (
        f"type {typed} with an equals sign: after a space, pytest takes an existing path for a path of tests "
        "and looks for the project there"
    )
    raise pytest.UsageError(message)


def refuse_unknown_options(config: pytest.Config, parser: pytest.Parser, args: list[str]) -> None:
    """Refuse a misspelt ``--setup-*``, with the option that was probably meant.

    Raises:
        pytest.UsageError: no plugin or conftest file declares such an option.
    """
    _, unknown = parser.parse_known_and_unknown_args(args, namespace=copy.copy(config.option))
    typed = next((arg.partition("=")[0] for arg in unknown if arg.startswith(FLAG_PREFIXES)), None)
    if typed is None:
        return
    prefix = next(prefix for prefix in ("--setup-", "--no-setup-", "--") if typed.startswith(prefix))
    names = [flag.removeprefix(prefix) for flag in _known_flags() if flag.startswith(prefix)]
    meant = nearest(typed.removeprefix(prefix), names)
    advice = f"did you mean {prefix}{meant}?" if meant else "`pytest --help` lists the options"
    message = f"unknown option {typed}; {advice}"
    raise pytest.UsageError(message)


def with_known_key(message: str) -> str | None:
    """The message of pytest about an unknown ``setup_*`` key, with the key that was probably meant.

    None where the message is another one, or no key is similar.
    """
    unknown = _UNKNOWN_KEY.fullmatch(message)
    if unknown is None:
        return None
    meant = nearest(unknown[1].removeprefix("setup_"), [option.field for option in OPTIONS])
    return f"Unknown config option: {unknown[1]}; did you mean setup_{meant}?" if meant else None


def _known_flags() -> Iterator[str]:
    yield from _PYTESTS_OWN
    for option in OPTIONS:
        yield from option.flags
        if option.negation is not None:
            yield option.negation


def _paths_after_a_space(args: Iterable[str]) -> Iterator[tuple[str, str]]:
    with_value = {flag for option in OPTIONS if option.type is not ValueType.SWITCH for flag in option.flags}
    for flag, value in pairwise(args):
        if flag == "--":
            return
        if flag in with_value and not value.startswith("-") and os.path.exists(value):
            yield flag, value


def _is_same_project(config: pytest.Config, start: Path, misled_start: Path) -> bool:
    """Whether the search for the project from ``start`` ends where that from ``misled_start`` ended."""
    root, seen = config.rootpath, {misled_start, *misled_start.parents}
    # A folder that pytest did not search may hold the project's own configuration.
    unseen = [folder for folder in (start, *start.parents) if folder not in seen]
    if any((folder / name).is_file() for folder in unseen for name in _PROJECT_FILES):
        return False
    if config.inipath is None and not (root / "setup.py").is_file():
        return root == _common([config.invocation_params.dir, start])
    return root in (start, *start.parents)


def _common(folders: list[Path]) -> Path | None:
    try:
        return Path(os.path.commonpath(folders)) if folders else None
    except ValueError:  # two drives of Windows
        return None


def _folder(here: Path, path: str) -> Path | None:
    """The folder in which pytest begins to search because of this path, None where there is no such path."""
    full = Path(os.path.normpath(here / path))
    if not os.path.exists(full):
        return None
    return full if full.is_dir() else full.parent
