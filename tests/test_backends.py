"""Which server answers: each kind is recognised by its answers over HTTP.

``tests/answers/*.json`` hold the answers; ``source`` is the server or the documentation that they are from.
"""

from __future__ import annotations

import json
import time
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pytest_setups.api.client import Client
from pytest_setups.registry.entry import Stage
from pytest_setups.serving.backends import Identity
from pytest_setups.serving.server import Server, query_server
from tests.conftest import draw, entries
from tests.servers.scripted import Reply, Scripted, as_json, models, serve

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ANSWERS = sorted(path.stem for path in (Path(__file__).parent / "answers").glob("*.json"))


def recorded(name: str) -> dict[str, Any]:
    answers: dict[str, Any] = json.loads((Path(__file__).parent / "answers" / f"{name}.json").read_bytes())
    return answers


def routes(name: str) -> dict[str, Reply | Callable[[], Reply]]:
    return {
        path: Reply(json.dumps(answer["body"]).encode(), answer["status"], headers=answer.get("headers", {}))
        for path, answer in recorded(name)["routes"].items()
    }


@contextmanager
def serving(name: str) -> Iterator[Scripted]:
    with serve(routes={"/version": Reply(b"{}", 404)} | routes(name)) as server:
        yield server


def met(server: Scripted, model: str, timeout_s: float = 20.0) -> Server:
    client = Client(base_url=server.url, api_key=None, timeout_s=timeout_s)
    try:
        return query_server(client, dict.fromkeys(Stage, model))
    finally:
        client.close()


@pytest.mark.parametrize("name", [name for name in ANSWERS if name != "transformers"])
def test_a_server_is_recognised_by_its_answers_and_nothing_is_guessed(name: str) -> None:
    case = recorded(name)

    with serving(name) as server:
        identity = met(server, case["model"]).identity

    assert asdict(identity) == asdict(Identity()) | case["expected"]


def test_a_server_that_cannot_list_its_models_fails_with_its_words(project: pytest.Pytester) -> None:
    with serving("transformers") as server:
        result = project.runpytest("--setup-base-url", server.url, "-p", "no:cacheprovider")

    result.assert_outcomes(failed=11)
    result.stdout.fnmatch_lines(["*HTTP 500 from */v1/models: Internal Server Error*"])


def test_the_row_of_the_served_model_counts_not_the_first() -> None:
    listed = models("adapter", "served")
    listed["data"][1] |= {"root": "/models/served", "max_model_len": 4096}

    with serve(routes={"/v1/models": as_json(listed)}) as server:
        identity = met(server, "served").identity

    assert (identity.model_path, identity.context_length) == ("/models/served", 4096)


@pytest.mark.parametrize(
    "wrong",
    [
        {"version": 3},
        {"version": ["0.32.0"]},
        [],
        None,
    ],
)
def test_a_fact_of_the_wrong_kind_is_not_taken(wrong: object) -> None:
    with serve(routes={"/version": as_json(wrong)}) as server:
        identity = met(server, "served").identity

    assert (identity.backend, identity.version) == ("vllm", None)


def test_a_context_length_that_is_true_is_no_length() -> None:
    listed = models("served")
    listed["data"][0]["max_model_len"] = True

    with serve(routes={"/v1/models": as_json(listed)}) as server:
        assert met(server, "served").identity.context_length is None


def test_a_probe_that_hangs_costs_no_more_than_the_deadline() -> None:
    with serve() as server:
        server.routes["/version"] = lambda: (server.closing.wait(), Reply(b"{}"))[1]
        start = time.monotonic()
        identity = met(server, "served", timeout_s=0.3).identity

    assert (identity.backend, identity.version) == ("vllm", None)
    assert time.monotonic() - start < 5


def test_words_of_a_server_are_printable_and_bounded() -> None:
    loud = "0.32\x1b[31m" + "x" * 10_000
    with serve(routes={"/version": as_json({"version": loud})}) as server:
        version = met(server, "served").identity.version

    assert version is not None
    assert version.startswith("0.32xxx")
    assert len(version) < 600


def test_the_entry_names_the_server_that_answered(pytester: pytest.Pytester) -> None:
    pytester.makeini("[pytest]")
    draw(pytester.path / "sample_images" / "cat.jpg", "navy")
    with serving("ollama") as server:
        model = recorded("ollama")["model"]
        result = pytester.runpytest("--setup-base-url", server.url, "--setup-model", model, "--record")

    result.assert_outcomes(passed=5)
    (entry,) = entries(pytester.path).values()
    assert entry["server"]["backend"] == "ollama"
    assert entry["server"]["version"] == "0.12.6"
    assert entry["server"]["context_length"] == 4096
    assert entry["model"]["quantization"] == "Q4_K_M"
    assert entry["model"]["digest"].startswith("5ced39dfa4ba")
