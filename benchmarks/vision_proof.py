"""How often the vision proof is right: servers that see must pass, and faulty ones must not.

Run ``python -m benchmarks.vision_proof [--runs 200]``. The toy model is asked on a real llama.cpp server, the
faulty servers and those that answer in other languages are scripted; all are asked over HTTP, as in a run.
"""

from __future__ import annotations

import argparse
import random
import sys
from collections import Counter
from contextlib import ExitStack, closing
from typing import TYPE_CHECKING, Final

from pytest_setups import demo
from pytest_setups.api.client import Client
from pytest_setups.proofs.vision import prove_vision
from pytest_setups.registry.entry import Stage
from pytest_setups.tagging.prompts import load_prompts
from pytest_setups.tagging.request import Request
from tests.servers import eyes
from tests.servers.llama import llama_cpp
from tests.servers.scripted import serve

if TYPE_CHECKING:
    from pytest_setups.proofs.vision import VisionProof

RUNS: Final = 200
TOY_MODEL: Final = "toy model on llama.cpp"


def prove(url: str, model: str, seed: int) -> VisionProof:
    """One proof, with the default prompts."""
    parameters = {"max_tokens": 64, "temperature": 0.2}
    request = Request(
        models=dict.fromkeys(Stage, model), prompts=load_prompts("default"), parameters=parameters
    )
    with closing(Client(base_url=url, api_key=None, timeout_s=60)) as client:
        return prove_vision(client, request, seed=seed)


def proofs(name: str, runs: int) -> list[VisionProof]:
    """The proofs of a server, one for each seed from 0."""
    with ExitStack() as servers:
        if name == TOY_MODEL:
            url = servers.enter_context(llama_cpp())
            return [prove(url, demo.SERVED_MODEL_NAME, seed) for seed in range(runs)]
        server = servers.enter_context(serve())
        results = []
        for seed in range(runs):
            server.chat = eyes.ALL[name](random.Random(seed))
            results.append(prove(server.url, "served", seed))
        return results


def row(name: str, results: list[VisionProof]) -> str:
    """A line of the table: how many passed, with one experiment or two, and what the others were called."""
    passed = Counter(len(proof.experiments) for proof in results if proof.seen)
    faults = Counter((proof.reason or "").split(":")[0] for proof in results if not proof.seen)
    called = ", ".join(f"{fault} {count}" for fault, count in faults.most_common())
    return f"{name:26} {passed.total():6} {passed[1]:10} {passed[2]:10}  {called}"


def main() -> int:
    """Print the table; 1 where a server that sees failed or a faulty one passed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=RUNS)
    runs: int = parser.parse_args().runs
    print(f"{runs} runs each{'':14} passed  first time  with more  the others were called")
    wrong = 0
    for name in (TOY_MODEL, *eyes.ALL):
        results = proofs(name, runs)
        print(row(name, results), flush=True)
        wrong += sum(proof.seen == (name in eyes.FAULTY) for proof in results)
    print(f"{wrong} wrong")
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main())
