"""The suite: the server lists the model, the model sees, and every image gets its three outputs.

``test_tagger`` is collected only where a tagger command is verified, ``test_expectations`` only for images
of which any words are expected, and ``test_capacity`` and ``test_soak`` only with their options, as the
last tests.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_setups.registry.entry import Stage

if TYPE_CHECKING:
    from pytest_setups.plugin.steps import SuiteSteps
    from pytest_setups.tagging.images import Sample


def test_models(_steps: SuiteSteps) -> None:
    _steps.check_models()


def test_vision(_steps: SuiteSteps) -> None:
    _steps.prove_vision()


def test_tagger(_steps: SuiteSteps) -> None:
    _steps.run_tagger()


def test_caption(_steps: SuiteSteps, setup_image: Sample) -> None:
    _steps.measure(setup_image, Stage.CAPTION)


def test_keywords(_steps: SuiteSteps, setup_image: Sample) -> None:
    _steps.measure(setup_image, Stage.KEYWORDS)


def test_description(_steps: SuiteSteps, setup_image: Sample) -> None:
    _steps.measure(setup_image, Stage.DESCRIPTION)


def test_expectations(_steps: SuiteSteps, setup_image: Sample) -> None:
    _steps.judge_expectation(setup_image)


def test_capacity(_steps: SuiteSteps) -> None:
    _steps.measure_capacity()


def test_soak(_steps: SuiteSteps) -> None:
    _steps.soak()
