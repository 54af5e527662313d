"""The kinds of fields that the parts of an entry have, and what all the parts have in common."""

from __future__ import annotations

from typing import Annotated, Final

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from pytest_setups.registry.field_redaction import TextKind

MAX_NAME: Final = 1000
MAX_FIGURE: Final = 1_000_000_000_000_000
"""Beyond the figures of any measurement; tables and plots can still compute with it."""

Name = Annotated[str, Field(max_length=MAX_NAME)]
Amount = Annotated[float, Field(ge=0, le=MAX_FIGURE)]
Change = Annotated[float, Field(ge=-MAX_FIGURE, le=MAX_FIGURE)]
Count = Annotated[int, Field(ge=0, le=MAX_FIGURE)]
Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]

FreeText = Annotated[str | None, TextKind.FREE_TEXT]
ExactText = Annotated[str | None, TextKind.EXACT_TEXT]
CommandText = Annotated[str | None, TextKind.COMMAND]
UrlText = Annotated[str | None, TextKind.URL]
PathText = Annotated[str | None, TextKind.PATH]
JsonObject = Annotated[dict[str, JsonValue], TextKind.JSON]
OptionalJsonObject = Annotated[dict[str, JsonValue] | None, TextKind.JSON]


class EntryPart(BaseModel):
    """Any part of an entry: frozen, and keeping the fields it does not know."""

    model_config = ConfigDict(extra="allow", frozen=True, allow_inf_nan=False)
