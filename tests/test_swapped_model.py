"""The model behind an unchanged name and command was swapped: every safeguard notices it, each on its own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.servers.llama import llama_cpp
from toy_model import companions

ROOT = Path(__file__).parent.parent
IMAGES = f"--setup-images={ROOT / 'sample_images'}"
SHORT = "--setup-max-new-tokens=128"
"""Enough for the toy model, and less to wait for where it never stops."""
GATE = ("--setup-baseline=latest", "--setup-fail-if=keywords_overlap.each:0.5")


@pytest.mark.parametrize(
    ("swap", "failing"),
    [
        (companions.make_blind, "setup::test_expectations["),
        # Random words out of a small vocabulary meet many an expectation; that they are words says nothing.
        (companions.make_babbling, "setup::test_keywords["),
    ],
)
def test_a_swapped_model_of_the_same_name_is_noticed(
    swap: Callable[[Path], Path], failing: str, project: pytest.Pytester, tmp_path: Path
) -> None:
    with llama_cpp() as url:
        recorded = project.runpytest("--setup-base-url", url, IMAGES, SHORT, "--record")
    recorded.assert_outcomes(passed=54)
    with llama_cpp(folder=swap(tmp_path / "swapped")) as url:
        result = project.runpytest("--setup-base-url", url, IMAGES, SHORT, *GATE)
    assert result.ret == 1
    summary = "\n".join(line for line in result.outlines if line.startswith("FAILED"))
    assert "setup::test_vision" in summary
    assert summary.count(failing) > 13 / 2
    result.stdout.fnmatch_lines(
        [
            "compared with toy-vlm_llama.cpp *: 13 images",
            "regression: keywords_overlap of * 0.000 is below keywords_overlap.each:0.5: *",
            "failed: vision: *",
        ]
    )
