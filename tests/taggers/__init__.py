"""Tagger programs for the tests, and the options that name them."""

from __future__ import annotations

import sys
from pathlib import Path

HERE = Path(__file__).parent
SAMPLES = HERE.parent.parent / "sample_images"
STANDIN = (
    f"{sys.executable} {HERE}/standin.py --input-dir {{images}} --base-url {{base_url}} "
    "--caption-model {caption_model} --keyword-model {keywords_model} "
    "--description-model {description_model} --output-jsonl {output} --summary {summary} "
    "--max-new-tokens {max_new_tokens}"
)


def tagger(command: str = STANDIN, fault: str = "") -> tuple[str, str]:
    return "--setup-tagger-command", f"{command} --fault {fault}" if fault else command
