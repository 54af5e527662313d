"""The client: one deadline for a whole request, and connections that servers close."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from pytest_setups.api.client import Client, FaultKind, ServerError
from tests.servers.scripted import Ask, Reply, Scripted, completion, events, serve

BODY = b'{"messages": [{"role": "user", "content": [{"type": "text", "text": "hello"}]}]}'


_OPEN: list[Client] = []


@pytest.fixture(autouse=True)
def _closed() -> Iterator[None]:
    yield
    while _OPEN:
        _OPEN.pop().close()


def client(server: Scripted, timeout_s: float = 20, connections: int = 1) -> Client:
    one = Client(base_url=server.url, api_key=None, timeout_s=timeout_s, connections=connections)
    _OPEN.append(one)
    return one


def test_a_connection_is_kept(server: Scripted) -> None:
    ports = set[int]()
    server.chat = lambda _: completion("hello")
    one = client(server)
    for _ in range(3):
        one.chat(BODY, stream=False)
        stream = next(iter(one._transport._backend.streams))  # noqa: SLF001  # no other way to see the connection
        ports.add(stream.get_extra_info("client_addr")[1])  # type: ignore[index]
    assert len(ports) == 1


def test_a_connection_that_the_server_closed_is_made_again(server: Scripted) -> None:
    closing = completion("hello")
    server.chat = lambda _: Reply(closing.body, die_after=len(closing.body))
    one = client(server)
    assert [one.chat(BODY, stream=False).text for _ in range(30)] == ["hello"] * 30
    assert len(server.asks) == 30


def test_a_server_that_dies_on_every_request_is_told(server: Scripted) -> None:
    server.chat = lambda _: Reply(b"{}", die_after=0, headers={"x": "y"})
    with pytest.raises(ServerError, match="broke off its answer"):
        client(server).chat(BODY, stream=False)


@pytest.mark.parametrize("stream", [False, True])
def test_the_deadline_is_for_the_whole_request(server: Scripted, stream: bool) -> None:  # noqa: FBT001
    def slow(_: Ask) -> Iterator[bytes]:
        for event in events("one two three four five six seven eight nine ten " * 20):
            if server.closing.wait(0.03):
                return
            yield event

    server.chat = slow
    with pytest.raises(ServerError, match=r"within 0\.5 s") as error:
        client(server, timeout_s=0.5).chat(BODY, stream=stream)
    assert error.value.kind is FaultKind.TIMEOUT


def test_a_deadline_leaves_the_client_usable(server: Scripted) -> None:
    def hang_once(ask: Ask) -> Reply:
        if ask.number == 0:
            server.hang()
        return completion("hello")

    server.chat = hang_once
    one = client(server, timeout_s=0.3)
    with pytest.raises(ServerError, match="no complete answer"):
        one.chat(BODY, stream=False)
    assert one.chat(BODY, stream=False).text == "hello"


def test_abort_ends_the_requests_of_other_threads(server: Scripted) -> None:

    def hang(_: Ask) -> Reply:
        server.hang()
        return completion("late")

    server.chat = hang
    one = client(server, connections=3)
    faults: list[ServerError] = []

    def ask() -> None:
        try:
            one.chat(BODY, stream=False)
        except ServerError as error:
            faults.append(error)

    threads = [threading.Thread(target=ask) for _ in range(3)]
    for thread in threads:
        thread.start()
    server.asked.wait(10)
    one.abort()
    for thread in threads:
        thread.join(10)
    assert len(faults) == 3


def test_a_streamed_answer_is_put_together(server: Scripted) -> None:
    server.chat = lambda _: events("Wooden boats rest on a river.")
    reply = client(server).chat(BODY, stream=True)
    assert reply.text == "Wooden boats rest on a river."
    assert reply.finish_reason == "stop"
    assert (reply.prompt_tokens, reply.output_tokens) == (300, 12)
    assert reply.ttft_s is not None
    assert 0 < reply.ttft_s <= reply.latency_s


def test_content_in_parts_and_reasoning_of_either_name(server: Scripted) -> None:
    server.chat = lambda _: completion(None, reasoning_content="hm")
    assert client(server).chat(BODY, stream=False).reasoning == "hm"
    server.chat = lambda _: completion(None, reasoning="hm")
    assert client(server).chat(BODY, stream=False).reasoning == "hm"
    parts: object = [{"type": "text", "text": "Wooden "}, {"type": "text", "text": "boats"}]
    server.chat = lambda _: completion(parts)  # type: ignore[arg-type]
    assert client(server).chat(BODY, stream=False).text == "Wooden boats"


def test_a_proxy_of_the_environment_is_used(server: Scripted, monkeypatch: pytest.MonkeyPatch) -> None:
    server.routes["http://vision.example:8000/v1/models"] = Reply(b'{"data": [{"id": "behind"}]}')
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{server.port}")
    monkeypatch.delenv("no_proxy", raising=False)
    one = Client(base_url="http://vision.example:8000/v1", api_key=None, timeout_s=10)
    _OPEN.append(one)
    assert one.get("/models").data == {"data": [{"id": "behind"}]}


def test_a_proxy_is_told_who_asks(server: Scripted, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", f"http://ann:secret@127.0.0.1:{server.port}")
    monkeypatch.delenv("no_proxy", raising=False)
    one = Client(base_url="http://vision.example/v1", api_key=None, timeout_s=10)
    _OPEN.append(one)
    with pytest.raises(ServerError, match="HTTP 404"):
        one.get("/models")
    assert server.heads[-1]["proxy-authorization"] == "Basic YW5uOnNlY3JldA=="


def test_a_proxy_of_another_kind_is_refused_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "socks5://127.0.0.1:1080")
    monkeypatch.delenv("no_proxy", raising=False)
    with pytest.raises(ServerError, match="proxy for it is of kind socks5, not http"):
        Client(base_url="http://vision.example/v1", api_key=None, timeout_s=10)


def test_two_servers_do_not_share_anything() -> None:
    with serve() as first, serve() as second:
        first.chat = lambda _: completion("first")
        second.chat = lambda _: completion("second")
        assert client(first).chat(BODY, stream=False).text == "first"
        assert client(second).chat(BODY, stream=False).text == "second"
