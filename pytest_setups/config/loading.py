"""From what the user gave to the settings of a run: parsing, precedence, defaults that depend on others."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from pytest_setups import demo
from pytest_setups.config.contradictions import contradictions
from pytest_setups.config.from_entry import load_entry, settings_of
from pytest_setups.config.options import OPTIONS, Group, Option, Paths, Source, ValueType, default, is_on
from pytest_setups.config.settings import Settings, SettingsError
from pytest_setups.config.vocabulary_file import load_vocabulary
from pytest_setups.redaction import encodable, redact, redact_command
from pytest_setups.regression.bounds import names_run_figure
from pytest_setups.regression.performance_figures import CAPACITY_PREFIX

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pytest_setups.checks.vocabulary import Vocabulary
    from pytest_setups.config.options import GivenValue
    from pytest_setups.registry.entry import Entry


def load_settings(given: Mapping[str, GivenValue], root: Path) -> Settings:
    """Settings from what the user gave.

    Args:
        given: The values that the user gave, by field.
        root: The folder that holds the default images and registry.

    Raises:
        SettingsError: a value is not valid, or two do not fit together.
    """
    # The options of the registry's checks are no settings of a run.
    options = [item for item in OPTIONS if item.group is not Group.REGISTRY and item.field in given]
    values: dict[str, Any] = {item.field: _parsed(item, given[item.field]) for item in options}
    values.setdefault("registry", root / default("registry"))
    _keep_the_nearer_server(values, given)
    _drop_what_this_run_does_not_use(values, given)
    if "from" in values:
        values |= _values_of_entry(values, given["from"])
    if "vocabulary" in values:
        values["vocabulary"] = _vocabulary(values, given["vocabulary"])
    values.setdefault("images", [_default_images(root, values)])
    try:
        settings = Settings.model_validate(values)
    except ValidationError as error:
        raise SettingsError(_first_mistake(error, given)) from None
    for contradiction in contradictions(settings):
        raise SettingsError(redact(contradiction))
    settings.api_key()
    if "images" not in given and not settings.images[0].exists():
        message = (
            f"no such file or folder: {settings.images[0]}, the default of --setup-images; "
            "type --setup-images=FOLDER with a folder of pictures"
        )
        raise SettingsError(redact(message))
    return settings


def _parsed(option: Option, given: GivenValue) -> object:
    """The value as the settings take it: switches as booleans, paths absolute, the rest as it is written."""
    if option.type is ValueType.SWITCH:
        try:
            return is_on(given)
        except ValueError as error:
            raise SettingsError(str(error)) from None
    if option.paths is Paths.ALWAYS:
        if isinstance(given.value, list):
            return [_absolute(path) for path in given.value]
        return _absolute(str(given.value))
    return encodable(given.value) if isinstance(given.value, str) else given.value


def _absolute(path: str) -> Path:
    return Path(os.path.expanduser(path)).absolute()


def _keep_the_nearer_server(values: dict[str, Any], given: Mapping[str, GivenValue]) -> None:
    """Of a base URL and the demo given in two places, keep the nearer; given in one they contradict."""
    if not values.get("demo") or "base_url" not in values:
        return
    base_url, demo_switch = given["base_url"].source, given["demo"].source
    if base_url > demo_switch:
        del values["base_url"]
    elif base_url < demo_switch:
        values["demo"] = False


def _drop_what_this_run_does_not_use(values: dict[str, Any], given: Mapping[str, GivenValue]) -> None:
    """Drop what the environment or an ini file holds for other runs: that is a mistake only where typed."""
    unused: set[str] = set()
    if not values.get("baseline"):  # empty: without the one of the ini file
        values.pop("baseline", None)
        unused |= {"fail_if", "baseline_allow"}
    if not values.get("record") and not values.get("record_failed"):
        unused.add("slug")
    if "capacity" not in values:
        unused |= {"slo", "library"}
        _drop_bounds_on_capacity(values, given)
    for field in unused & set(values):
        if given[field].source is not Source.COMMAND_LINE:
            unused_value = values.pop(field)
            if field == "fail_if":  # figures of one run are judged without a baseline
                values[field] = [text for text in unused_value if names_run_figure(text)]


def _drop_bounds_on_capacity(values: dict[str, Any], given: Mapping[str, GivenValue]) -> None:
    if "fail_if" in values and given["fail_if"].source is not Source.COMMAND_LINE:
        bounds = values["fail_if"]
        values["fail_if"] = [text for text in bounds if not text.strip().lower().startswith(CAPACITY_PREFIX)]


def _values_of_entry(values: dict[str, Any], given: GivenValue) -> dict[str, Any]:
    try:
        entry = load_entry(values["registry"], values["from"])
        return settings_of(entry, values) | {"origin": entry}
    except ValueError as error:
        message = f"{given.place}: {error}"
        raise SettingsError(message) from None


def _vocabulary(values: dict[str, Any], given: GivenValue) -> Vocabulary:
    try:
        return load_vocabulary(values["vocabulary"], values.get("vocabulary_column"))
    except ValueError as error:
        message = f"{given.place}: {error}"
        raise SettingsError(message) from None


def _default_images(root: Path, values: dict[str, Any]) -> Path:
    """The project's own sample images, or the packaged ones for the demo and entries made with them."""
    own: Path = root / default("images")
    if own.is_dir():
        return own
    packaged = demo.sample_images()
    return packaged if values.get("demo") or _was_made_with(packaged, values.get("origin")) else own


def _was_made_with(folder: Path, entry: Entry | None) -> bool:
    names = {image.name for image in entry.verification.images or ()} if entry else set()
    return bool(names) and names <= {path.name for path in folder.iterdir()}


def _first_mistake(error: ValidationError, given: Mapping[str, GivenValue]) -> str:
    mistake = error.errors()[0]
    message = str(mistake["msg"]).removeprefix("Value error, ")
    if mistake["type"] == "literal_error":
        message = "type " + mistake["ctx"]["expected"].replace("'", "")
    field = str(mistake["loc"][0])
    if field in given:
        return f"{redact(f'{given[field].place}: {message}')}; got {_shown(given[field].value)}"
    origin = given.get("from")
    return redact(f"{origin.place} {origin.value}: {field}: {message}" if origin else message)


def _shown(value: object) -> str:
    """A value without secrets, in quotation marks where it is a text; it may be a command."""
    if isinstance(value, list):
        return ", ".join(map(_shown, value))
    return repr(redact_command(value) if isinstance(value, str) else value)
