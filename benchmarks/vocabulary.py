"""How often a keyword is matched with the right term, and what a schema with many terms costs.

Run with ``python -m benchmarks.vocabulary``. The first part reads ``tests/data/near_terms.tsv``: keywords,
each with the term that a librarian would replace it with. The second asks a llama.cpp server with the toy
model for keywords, with schemas of more and more terms: words of random letters.
"""

from __future__ import annotations

import random
import statistics
import time
from pathlib import Path
from string import ascii_lowercase
from typing import TYPE_CHECKING, Final

from pytest_setups import demo
from pytest_setups.api.client import Client
from pytest_setups.checks.vocabulary import Vocabulary
from pytest_setups.registry.entry import Stage
from pytest_setups.serving.processes.server_process import ServerProcess, free_port
from pytest_setups.serving.server import wait_until_ready
from pytest_setups.tagging.images import prepare
from pytest_setups.tagging.keyword_schema import KeywordSchema
from pytest_setups.tagging.prompts import load_prompts
from pytest_setups.tagging.request import Request, readiness_request

if TYPE_CHECKING:
    from collections.abc import Iterator

LABELLED: Final = Path(__file__).parents[1] / "tests/data/near_terms.tsv"
TERM_COUNTS: Final = (0, 100, 1_000, 4_000)
ANSWERS: Final = 3


def main() -> None:
    """Print both parts."""
    for line in near_terms():
        print(line)
    print("terms  seconds of an answer (median)")
    for terms, seconds in schema_costs():
        print(f"{terms:>6}  {seconds:.2f}")


def near_terms() -> Iterator[str]:
    """How many keywords got the right term, a wrong one, or none; then those that were not right."""
    rows = [line.split("\t") for line in LABELLED.read_text("utf-8").splitlines() if not line.startswith("#")]
    right = {keyword: None if term == "-" else term for keyword, term in rows}
    terms = tuple(sorted({term for term in right.values() if term}))
    off = {match.keyword: match.near for match in Vocabulary("near_terms.tsv", terms).match(right).off}
    near = [keyword for keyword, term in right.items() if term]
    other = [keyword for keyword, term in right.items() if not term]
    hits = sum(off[keyword] == right[keyword] for keyword in near)
    misled = sum(off[keyword] is not None for keyword in other)
    yield f"near a term: {hits} of {len(near)} matched with it"
    yield f"another word: {misled} of {len(other)} matched with a term"
    yield from (
        f"  {keyword}: {off[keyword] or 'none'}, right is {right[keyword] or 'none'}"
        for keyword in right
        if off[keyword] != right[keyword]
    )


def schema_costs() -> Iterator[tuple[int, float]]:
    """The median seconds of an answer for each number of terms."""
    port = free_port()
    process = ServerProcess(demo.command(port, None))
    client = Client(base_url=f"http://127.0.0.1:{port}/v1", api_key=None, timeout_s=600)
    picture = prepare(demo.sample_images() / "nagasaki-boats.jpg", 1024)
    prompts = load_prompts("default")
    try:
        wait_until_ready(client, readiness_request, 60, model=demo.SERVED_MODEL_NAME)
        for count in TERM_COUNTS:
            request = Request(
                models=dict.fromkeys(Stage, demo.SERVED_MODEL_NAME),
                prompts=prompts,
                parameters={"max_tokens": 256, "temperature": 0.2, "top_p": 0.9},
                schema=KeywordSchema(tuple(_word(number) for number in range(count))),
            )
            body = request.body(Stage.KEYWORDS, prompts.keywords, picture)
            yield count, statistics.median(_seconds(client, body) for _ in range(ANSWERS))
    finally:
        client.close()
        process.stop()


def _word(seed: int) -> str:
    letters = random.Random(seed)
    return "".join(letters.choices(ascii_lowercase, k=letters.randint(4, 12)))


def _seconds(client: Client, body: bytes) -> float:
    start = time.perf_counter()
    client.chat(body, stream=False)
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
