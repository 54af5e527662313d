"""A model whose answers try to break out of pages, terminals and log files."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from tests.servers.scripted import completion, words

if TYPE_CHECKING:
    from tests.servers.scripted import Ask, Reply

HOSTILE = (
    "</p></script><script>window.taken = 1</script>"
    '<img src="https://example.invalid/x.png" onerror="window.taken = 2">'
    "\x1b[31mred\x07 \u202egnp.exe {{ 7 * 7 }} " + "x" * 400
)


def hostile(ask: Ask) -> Reply:
    text = json.dumps([HOSTILE, words(ask)]) if ask.stage == "keywords" else f"{HOSTILE} {words(ask)}"
    return completion(text, prompt_tokens=100 + (200 if ask.picture else 0))
