"""Expectations files: TOML with a table for each picture, beside the pictures or named by the user."""

from __future__ import annotations

import difflib
import tomllib
import unicodedata
from collections import defaultdict
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from pydantic import ValidationError

from pytest_setups.checks.expectations import Expectation, ExpectedWords
from pytest_setups.redaction import one_line
from pytest_setups.registry.durable_files import read_bounded
from pytest_setups.registry.entry import Stage
from pytest_setups.registry.parsing import EntryError
from pytest_setups.tagging.images import SUFFIXES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from collections.abc import Set as AbstractSet
    from contextlib import AbstractContextManager

    from pydantic_core import ErrorDetails

    from pytest_setups.tagging.images import Sample

FILE_NAME: Final = "expectations.toml"
DEFAULTS: Final = "defaults"
MAX_FILE_BYTES: Final = 20_000_000
MAX_MISTAKES_SHOWN: Final = 50
NO_FILES: Final[Mapping[Path, Path | None]] = MappingProxyType({})
_STAGES: Final = tuple(stage.value for stage in Stage)
_EXAMPLES: Final = {
    "must": 'must = [["boat", "ship"], ["river"]]',
    "must_not": 'must_not = ["car"]',
    "language": 'language = "en"',
    "max_keywords": "max_keywords = 20",
}


class ExpectationsError(Exception):
    """Mistakes in expectations files, a line each: the file, picture and key, and what to type."""

    def __init__(self, *mistakes: str) -> None:
        more = len(mistakes) - MAX_MISTAKES_SHOWN
        shown = mistakes[:MAX_MISTAKES_SHOWN]
        super().__init__("\n".join([*shown, f"and {more} more"] if more > 0 else shown))
        self.mistakes = mistakes


@dataclass(frozen=True, slots=True)
class ExpectationsFile:
    """An expectations file.

    Attributes:
        path: the file.
        defaults: what is expected of every picture.
        pictures: what is expected of single pictures, by the name of their table, without the defaults.
    """

    path: Path
    defaults: Expectation
    pictures: Mapping[str, Expectation]

    @classmethod
    def read(cls, path: Path) -> ExpectationsFile:
        """Read an expectations file.

        Raises:
            ExpectationsError: it cannot be read, is not TOML, or has a key or a value that is not valid.
        """
        tables: dict[str, Expectation] = {}
        with _all_mistakes() as collect:
            for name, value in _toml(path).items():
                with collect():
                    tables[name] = _table(path, name, value)
        defaults = tables.pop(DEFAULTS, Expectation())
        return cls(path, defaults, {_composed(name): table for name, table in tables.items()})

    def of_pictures(
        self, samples: Sequence[Sample], nearest: Mapping[Path, Path | None] = NO_FILES
    ) -> dict[str, Expectation]:
        """What is expected of these pictures, by their name in the run; the defaults are included.

        ``nearest`` is, for every picture of the run, the expectations file that is nearest to it.

        Raises:
            ExpectationsError: a table's name fits none of the pictures or several of them, or two tables
                fit the same one, or its picture has a nearer file.
        """
        tables: dict[str, str] = {}
        names = _PictureNames(samples, self.path.parent)
        with _all_mistakes() as collect:
            for table in self.pictures:
                with collect():
                    self._assign(table, tables, names, nearest)
        own = {name: self.pictures[table] for name, table in tables.items()}
        every = {
            sample.name: own.get(sample.name, Expectation()).with_defaults(self.defaults)
            for sample in samples
        }
        return {name: expectation for name, expectation in every.items() if expectation != Expectation()}

    def _assign(
        self,
        table: str,
        tables: dict[str, str],
        names: _PictureNames,
        nearest: Mapping[Path, Path | None],
    ) -> None:
        """Add the picture that a table names to ``tables``, the tables by picture."""
        other = nearest.get((self.path.parent / table).resolve())
        if other is not None and other != self.path:
            self._fail(table, f"{other} is nearer to this picture: write it there")
        for name in self._named_by(table, names):
            if name in tables:
                self._fail(table, f'the table ["{tables[name]}"] is of the same picture: remove one of them')
            tables[name] = table

    def _named_by(self, table: str, names: _PictureNames) -> list[str]:
        """The one picture that a table names; none where its picture is not part of the run."""
        matches = names.matching(table)
        if len(matches) > 1:
            self._fail(table, f"several pictures have this name: type {' or '.join(map(_header, matches))}")
        if not matches and not names.is_outside_the_run(table):
            self._fail(table, f"no picture has this name{names.advice(table)}")
        return matches

    def _fail(self, table: str, reason: str) -> None:
        message = f"{self.path}: {_header(table)}: {reason}"
        raise ExpectationsError(message)


class _PictureNames:
    """The pictures of a run by what a table may call them: a library has as many tables as pictures."""

    def __init__(self, samples: Sequence[Sample], folder: Path) -> None:
        self._folder = folder
        self._folders = dict.fromkeys((folder, *(sample.path.parent for sample in samples)))
        self._by_name: dict[str, list[Sample]] = defaultdict(list)
        self._by_path: dict[str, list[Sample]] = defaultdict(list)
        self._by_file: dict[str, list[Sample]] = defaultdict(list)
        self._advised = 0
        for sample in samples:
            self._by_name[_composed(sample.name)].append(sample)
            self._by_path[_composed(str(sample.path))].append(sample)
            self._by_file[_composed(sample.path.name)].append(sample)

    def matching(self, table: str) -> list[str]:
        """The names of the pictures with that name, at that path, or else at one that ends so."""
        beside = _composed(str((self._folder / table).resolve()))
        samples = self._by_name.get(table) or self._by_path.get(beside) or self._ending_in(table)
        return [sample.name for sample in samples]

    def is_outside_the_run(self, table: str) -> bool:
        """Whether a run of some of the pictures has left it out."""
        return any((folder / table).is_file() for folder in self._folders)

    def advice(self, table: str) -> str:
        """The nearest name; it is compared with all of them, so only for as many mistakes as are shown."""
        self._advised += 1
        if self._advised > MAX_MISTAKES_SHOWN:
            return ""
        return _did_you_mean(table, [DEFAULTS, *self._by_name], _header)

    def _ending_in(self, table: str) -> list[Sample]:
        parts = Path(table).parts
        return [
            sample
            for sample in self._by_file.get(Path(table).name, ())
            if _composed("/".join(sample.path.parts[-len(parts) :])) == "/".join(parts)
        ]


def find_expectations(
    samples: Sequence[Sample], images: Iterable[Path], file: Path | None
) -> dict[str, Expectation]:
    """What is expected of each picture of a run, by its name; pictures of which nothing is are left out.

    Args:
        samples: the pictures.
        images: the files and folders in which they were found.
        file: the expectations file of all of them; without it, each picture belongs to the nearest
            ``expectations.toml``, from its own folder up to the folder in ``images`` that it was found in.

    Raises:
        ExpectationsError: a file has a mistake.
    """
    if file is not None:
        return ExpectationsFile.read(file).of_pictures(samples)
    folders = {image.resolve() for image in images}
    nearest = {sample.path: _nearest_file(sample.path, folders) for sample in samples}
    groups: dict[Path, list[Sample]] = defaultdict(list)
    for sample in samples:
        if (path := nearest[sample.path]) is not None:
            groups[path].append(sample)
    expectations: dict[str, Expectation] = {}
    with _all_mistakes() as collect:
        for path, group in groups.items():
            with collect():
                expectations |= ExpectationsFile.read(path).of_pictures(group, nearest)
    return expectations


@contextmanager
def _all_mistakes() -> Iterator[Callable[[], AbstractContextManager[None]]]:
    """Raise the mistakes of all parts together at the end; each part is a ``with`` of what this gives."""
    mistakes: list[str] = []

    @contextmanager
    def collect() -> Iterator[None]:
        try:
            yield
        except ExpectationsError as error:
            mistakes.extend(error.mistakes)

    yield collect
    if mistakes:
        raise ExpectationsError(*mistakes)


def _nearest_file(picture: Path, folders: AbstractSet[Path]) -> Path | None:
    # A picture that is named itself, or that a link in a folder leads to, is looked up beside itself.
    top = picture.parent
    for folder in (picture, *picture.parents):
        top = folder if folder in folders else top
    for folder in picture.parents:
        if (folder / FILE_NAME).is_file():
            return folder / FILE_NAME
        if folder == top or not folder.is_relative_to(top):
            return None
    return None


def _toml(path: Path) -> dict[str, Any]:
    try:
        # Some editors write a byte order mark, which TOML does not allow.
        return tomllib.loads(read_bounded(path, MAX_FILE_BYTES).decode("utf-8-sig"))
    except (OSError, EntryError) as error:
        message = f"{path} cannot be read: {getattr(error, 'strerror', None) or error}"
    except (ValueError, RecursionError) as error:
        message = f"{path} is not TOML: {one_line(str(error), 200)}"
    raise ExpectationsError(message)


def _table(path: Path, name: str, value: object) -> Expectation:
    where = f"{path}: {_header(name)}"
    if not isinstance(value, dict):
        message = (
            f'{path}: {name} is outside a table: put it below [{DEFAULTS}] or a picture such as ["boats.jpg"]'
        )
        raise ExpectationsError(message)
    unquoted = next((f"{name}.{key}" for key in value if f".{key}".lower() in SUFFIXES), None)
    if unquoted is not None:
        message = f"{path}: [{unquoted}] needs quotation marks: type {_header(unquoted)}"
        raise ExpectationsError(message)
    try:
        return Expectation.model_validate(value)
    except ValidationError as error:
        raise ExpectationsError(*(f"{where} {_mistake(each)}" for each in error.errors())) from None


def _mistake(error: ErrorDetails) -> str:
    """What is wrong, and what to type."""
    keys = [str(part) for part in error["loc"] if isinstance(part, str)]
    name = ".".join(keys)
    if error["type"] == "extra_forbidden":
        known = (
            ExpectedWords.model_fields if keys[0] in _STAGES and len(keys) > 1 else Expectation.model_fields
        )
        all_keys = f"; the keys are {', '.join(known)}"
        return f"{name}: unknown key{_did_you_mean(keys[-1], known) or all_keys}"
    is_own = error["type"] == "value_error"
    got = "an empty group" if error["type"] == "too_short" else f"got {error['input']!r}"
    reason = str(error["ctx"]["error"]) if is_own else got
    example = _EXAMPLES.get(keys[-1]) if keys else None
    advice = f"; type {example}" if example else ""
    return ": ".join(filter(None, (name, one_line(reason, 200)))) + advice


def _did_you_mean(name: str, known: Iterable[str], show: Callable[[str], str] = str) -> str:
    nearest = difflib.get_close_matches(name, list(known), n=1)
    return f"; did you mean {show(nearest[0])}?" if nearest else ""


def _header(name: str) -> str:
    return f"[{name}]" if name == DEFAULTS else f'["{one_line(name, 200)}"]'


def _composed(name: str) -> str:
    # File systems of macOS decompose letters with accents; editors compose them.
    return unicodedata.normalize("NFC", name)
