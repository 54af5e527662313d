"""When a busy server wants to be asked again: the header ``Retry-After`` (RFC 9110, 10.2.3)."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

_BUSY: Final = frozenset({HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE})
# A server that says 0 would otherwise be asked without a pause until the deadline.
_AT_LEAST_S: Final = 0.5


def retry_after_s(status: int, headers: Mapping[str, str]) -> float | None:
    """Seconds until a request may be sent again, None where the server does not say so."""
    value = headers.get("retry-after", "").strip()
    if status not in _BUSY or not value:
        return None
    if re.fullmatch(r"\d{1,9}(\.\d{0,9})?", value, re.ASCII):  # RFC 9110 has whole seconds only
        return max(float(value), _AT_LEAST_S)
    try:
        date = parsedate_to_datetime(value)
    except ValueError:
        return None
    # Without a zone it is UTC, which all HTTP dates are.
    aware = date if date.tzinfo else date.replace(tzinfo=UTC)
    return max((aware - datetime.now(UTC)).total_seconds(), _AT_LEAST_S)
