"""A server that stops answering: three requests in a row and a probe, and then nothing is waited for."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pytest

from pytest_setups.api.client import Client
from pytest_setups.api.errors import FaultKind, ServerError
from pytest_setups.serving.processes.server_process import free_port
from tests.servers.scripted import Ask, Reply, Scripted, as_json, completion, seeing

BODY = b'{"model": "served", "messages": [{"role": "user", "content": [{"type": "text", "text": "hello"}]}]}'
DEADLINE_S = 0.3


@pytest.fixture
def client(server: Scripted) -> Iterator[Client]:
    with closing(Client(base_url=server.url, api_key=None, timeout_s=DEADLINE_S, connections=8)) as client:
        yield client


def fault(client: Client) -> ServerError:
    with pytest.raises(ServerError) as caught:
        client.chat(BODY, stream=False)
    return caught.value


def test_after_three_deadlines_and_a_probe_nothing_is_asked(server: Scripted, client: Client) -> None:
    server.stop_answering(from_request=0)

    assert [fault(client).kind for _ in range(3)] == [FaultKind.TIMEOUT] * 3
    later = fault(client)

    assert later.kind is FaultKind.STOPPED
    assert str(later) == (
        "the server stopped answering: 3 requests in a row and a small one after them got no answer; the "
        f"first: no complete answer from {server.url}/chat/completions within 0.3 s"
    )
    probe = server.asks[3].body
    assert (probe["model"], probe["max_tokens"], server.asks[3].picture) == ("served", 4, None)
    assert len(server.asks) == 4


def test_a_refused_connection_counts_as_well() -> None:
    client = Client(base_url=f"http://127.0.0.1:{free_port()}/v1", api_key=None, timeout_s=5)

    assert [fault(client).kind for _ in range(3)] == [FaultKind.UNREACHABLE] * 3
    assert "; the first: cannot connect to " in str(fault(client))


def slow_for(ask: Ask, server: Scripted) -> Reply:
    """A server that is too slow for what the run asks, and answers a few words in time."""
    if ask.body.get("max_tokens") != 4:
        server.hang()
    return completion("Yes.")


def test_a_server_that_answers_the_probe_is_slow_and_goes_on_being_asked(
    server: Scripted, client: Client
) -> None:
    server.chat = lambda ask: slow_for(ask, server)

    assert {fault(client).kind for _ in range(5)} == {FaultKind.TIMEOUT}
    assert len(server.asks) == 6  # one probe: the count has begun anew


@pytest.mark.parametrize("answer", [completion("Yes."), as_json({"error": "no memory"}, 500)])
def test_any_answer_begins_the_count_anew(server: Scripted, client: Client, answer: Reply) -> None:
    def every_third(ask: Ask) -> Reply:
        if ask.number % 3 != 2:
            server.hang()
        return answer

    server.chat = every_third
    for number in range(6):
        if number % 3 == 2 and answer.status == 200:
            client.chat(BODY, stream=False)
        else:
            assert fault(client).kind is not FaultKind.STOPPED
    assert len(server.asks) == 6


def test_threads_make_one_probe_and_their_requests_are_cut(server: Scripted, client: Client) -> None:
    server.stop_answering(from_request=0)
    started = time.perf_counter()

    def ask_until_it_is_given_up(_: int) -> None:
        while fault(client).kind is not FaultKind.STOPPED:
            pass

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(ask_until_it_is_given_up, range(8)))

    assert time.perf_counter() - started < 3 * DEADLINE_S
    assert sum(ask.body.get("max_tokens") == 4 for ask in server.asks) == 1


def test_another_process_may_find_the_server_gone(server: Scripted, client: Client) -> None:
    server.stop_answering(from_request=0)
    client.timeout_s = 60
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(fault, client)
        assert server.asked.wait(10)
        client.trip("the server stopped answering: process 7 says so")
        assert str(waiting.result(10)) == "the server stopped answering: process 7 says so"
    assert fault(client).kind is FaultKind.STOPPED
    assert len(server.asks) == 1


def test_a_server_that_loads_its_model_is_not_given_up(server: Scripted, client: Client) -> None:
    """Requests that wait for readiness fail often before the first one is answered."""
    loaded = threading.Event()

    def chat(ask: Ask) -> Reply:
        if not loaded.is_set():
            server.hang()
        return seeing(ask)

    server.chat = chat
    for _ in range(4):
        with pytest.raises(ServerError, match="no complete answer"):
            client.chat(BODY, stream=False, timeout_s=0.05, may_wait=False)
    loaded.set()
    assert client.chat(BODY, stream=False, may_wait=False).text
    assert json.loads(BODY)["model"] == server.asks[-1].body["model"]
