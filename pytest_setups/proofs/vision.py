"""The proof that the model sees: two views of the same pictures get answers that belong together.

A server that drops pictures answers with HTTP 200 (ollama#17501), and one with a stale cache describes the
picture of another request (vllm#20261).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_setups.proofs.two_views import is_proved, joint_p_value
from pytest_setups.proofs.vision_experiment import Examiner
from pytest_setups.proofs.vision_faults import find_fault, unproved

if TYPE_CHECKING:
    from pytest_setups.api.client import Client
    from pytest_setups.api.reply import Reply
    from pytest_setups.proofs.vision_experiment import Experiment
    from pytest_setups.tagging.request import Request


@dataclass(frozen=True, slots=True)
class VisionProof:
    """The result of the experiment, with its evidence.

    Attributes:
        seen: whether the model sees.
        reason: why it does not, None where it does.
        p_value: how likely chance alone makes the answers as consistent as they are.
        experiments: one, or two where the first did not decide.
        without_picture: the reply to the question without a picture, None where the server refused it.
    """

    seen: bool
    reason: str | None
    p_value: float
    experiments: tuple[Experiment, ...]
    without_picture: Reply | None

    @property
    def waits(self) -> int:
        """How often a busy server asked to wait."""
        rounds = [
            replies for experiment in self.experiments for replies in (experiment.first, experiment.second)
        ]
        replies = [reply for replies in rounds for reply in replies]
        return sum(reply.waits for reply in (*replies, self.without_picture) if reply is not None)


def prove_vision(client: Client, request: Request, *, seed: int, at_once: int = 1) -> VisionProof:
    """Ask for captions of two views of eight coded pictures, and of eight more where those do not decide.

    Args:
        client: asks the server.
        request: what every request carries.
        seed: what is drawn is drawn from this seed and, for the second eight, from the next number.
        at_once: how many questions of the second round are asked at the same time.

    Raises:
        ServerError: the server failed, as text-only servers do when they are sent a picture.
    """
    examiner = Examiner(client, request, at_once)
    without = examiner.ask_without_picture()
    experiments = [examiner.run(seed, without)]
    fault = find_fault(experiments[0], without)
    if fault is None and not is_proved([experiments[0].views]):
        experiments.append(examiner.run(seed + 1, without))
        fault = find_fault(experiments[1], without)
    views = [experiment.views for experiment in experiments]
    seen, p_value = fault is None and is_proved(views), joint_p_value(views)
    return VisionProof(
        seen=seen,
        reason=None if seen else fault or unproved(experiments, p_value),
        p_value=p_value,
        experiments=tuple(experiments),
        without_picture=without,
    )
