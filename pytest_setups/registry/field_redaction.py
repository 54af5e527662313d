"""Redaction by field: what each text of an entry, a measurement or a piece of evidence may hold.

Only fields that are marked are changed. Statuses, hashes, dates and the names of images, backends and checks
are what entries are found and compared by: an API key that equals one of them must not rewrite it.
"""

from __future__ import annotations

from enum import Enum, auto
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import BaseModel

from pytest_setups.redaction import Redactor, redact_json

if TYPE_CHECKING:
    from pydantic.fields import FieldInfo

ModelT = TypeVar("ModelT", bound=BaseModel)


class TextKind(Enum):
    """What a field holds, and so how it is redacted."""

    FREE_TEXT = auto()
    # Prompts and templates: known secrets are hidden, and nothing that merely looks like one.
    EXACT_TEXT = auto()
    COMMAND = auto()
    URL = auto()
    PATH = auto()
    JSON = auto()


def redact_fields(model: ModelT, redactor: Redactor) -> ModelT:
    """A copy of the model in which every marked field, also of its parts, is redacted."""
    # model_copy does not validate again: what was valid before is valid with shorter texts.
    changes = {
        name: _redact(getattr(model, name), field, redactor)
        for name, field in type(model).model_fields.items()
        if getattr(model, name) is not None
    }
    return model.model_copy(update=changes)


def public_document(model: BaseModel, **options: Any) -> dict[str, Any]:
    """The JSON object of an entry that people may have written by hand, without what is secret in it.

    ``options`` are those of ``model_dump``. Fields that the model does not know are judged by their names.
    """
    document = redact_fields(model, Redactor()).model_dump(mode="json", **options)
    public: dict[str, Any] = redact_json(document)
    return public


def _redact(value: Any, field: FieldInfo, redactor: Redactor) -> Any:
    kind = next((mark for mark in field.metadata if isinstance(mark, TextKind)), None)
    return _redact_parts(value, redactor) if kind is None else _redact_text(value, kind, redactor)


def _redact_parts(value: Any, redactor: Redactor) -> Any:
    if isinstance(value, BaseModel):
        return redact_fields(value, redactor)
    if isinstance(value, list | tuple):
        return type(value)(_redact_parts(part, redactor) for part in value)
    return value


def _redact_text(value: Any, kind: TextKind, redactor: Redactor) -> Any:
    if kind is TextKind.JSON:
        return redactor.json(value)
    if isinstance(value, list | tuple):
        return type(value)(_redact_text(part, kind, redactor) for part in value)
    change = {
        TextKind.FREE_TEXT: redactor.text,
        TextKind.EXACT_TEXT: redactor.known,
        TextKind.COMMAND: redactor.command,
        TextKind.URL: redactor.url,
        TextKind.PATH: redactor.text,
    }[kind]
    return change(value)
