"""The client: one deadline for a whole request, and connections that servers close."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest

from pytest_setups.api.client import Client
from pytest_setups.api.errors import FaultKind, ServerError
from tests.conftest import Run, entries, only_entry, recorded_measurements
from tests.servers.scripted import Ask, Reply, Scripted, as_json, completion, events, seeing, serve, words

BODY = b'{"messages": [{"role": "user", "content": [{"type": "text", "text": "hello"}]}]}'


_OPEN: list[Client] = []


@pytest.fixture(autouse=True)
def _closed() -> Iterator[None]:
    yield
    while _OPEN:
        _OPEN.pop().close()


def client(server: Scripted, timeout_s: float = 20, connections: int = 1) -> Client:
    opened = Client(base_url=server.url, api_key=None, timeout_s=timeout_s, connections=connections)
    _OPEN.append(opened)
    return opened


def test_a_connection_is_kept(server: Scripted) -> None:
    server.chat = lambda _: completion("hello")
    kept = client(server)
    for _ in range(3):
        kept.chat(BODY, stream=False)
    assert len(server.connections) == 1


def test_a_connection_that_the_server_closed_is_made_again(server: Scripted) -> None:
    closing = completion("hello")
    server.chat = lambda _: Reply(closing.body, die_after=len(closing.body))
    asker = client(server)
    assert [asker.chat(BODY, stream=False).text for _ in range(30)] == ["hello"] * 30
    assert len(server.asks) == 30


def test_a_server_that_dies_on_every_request_is_reported(server: Scripted) -> None:
    server.chat = lambda _: Reply(b"{}", die_after=0, headers={"x": "y"})
    with pytest.raises(ServerError, match=r"the connection to \S+ failed"):
        client(server).chat(BODY, stream=False)


@pytest.mark.parametrize("stream", [False, True])
def test_the_deadline_is_for_the_whole_request(server: Scripted, *, stream: bool) -> None:
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
    asker = client(server, timeout_s=0.3)
    with pytest.raises(ServerError, match="no complete answer"):
        asker.chat(BODY, stream=False)
    assert asker.chat(BODY, stream=False).text == "hello"


def test_abort_ends_the_requests_of_other_threads(server: Scripted) -> None:

    def hang(_: Ask) -> Reply:
        server.hang()
        return completion("late")

    server.chat = hang
    asker = client(server, connections=3)
    faults: list[ServerError] = []

    def ask() -> None:
        try:
            asker.chat(BODY, stream=False)
        except ServerError as error:
            faults.append(error)

    threads = [threading.Thread(target=ask) for _ in range(3)]
    for thread in threads:
        thread.start()
    server.asked.wait(10)
    asker.abort()
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
    asker = Client(base_url="http://vision.example:8000/v1", api_key=None, timeout_s=10)
    _OPEN.append(asker)
    assert asker.get("/models").data == {"data": [{"id": "behind"}]}


def test_a_proxy_gets_the_credentials_in_its_url(server: Scripted, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", f"http://ann:secret@127.0.0.1:{server.port}")
    monkeypatch.delenv("no_proxy", raising=False)
    asker = Client(base_url="http://vision.example/v1", api_key=None, timeout_s=10)
    _OPEN.append(asker)
    with pytest.raises(ServerError, match="HTTP 404"):
        asker.get("/models")
    assert server.heads[-1]["proxy-authorization"] == "Basic YW5uOnNlY3JldA=="


def test_a_proxy_of_another_kind_is_refused_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "socks5://127.0.0.1:1080")
    monkeypatch.delenv("no_proxy", raising=False)
    with pytest.raises(
        ServerError, match=r"the proxy socks5://127\.0\.0\.1:1080 that http_proxy names is of kind socks5"
    ):
        Client(base_url="http://vision.example/v1", api_key=None, timeout_s=10)


@pytest.fixture
def dead_proxy(monkeypatch: pytest.MonkeyPatch) -> str:
    """A proxy in the environment that nothing listens for."""
    for name in ("http_proxy", "HTTP_PROXY", "no_proxy", "NO_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        return f"http://ann:secret@127.0.0.1:{unused.getsockname()[1]}"


@pytest.mark.parametrize("name", ["http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"])
def test_a_proxy_that_is_down_is_named_and_not_the_server(
    run: Run, server: Scripted, monkeypatch: pytest.MonkeyPatch, dead_proxy: str, name: str
) -> None:
    monkeypatch.setenv(name, dead_proxy)
    result = run("-k", "models")
    shown = dead_proxy.replace("ann:secret@", "*")
    reason = f"cannot connect to the proxy {shown} that {name} names, on the way to {server.url}/models: *"
    result.stdout.fnmatch_lines([f"{reason}refused*; to connect directly, add 127.0.0.1 to NO_PROXY"])
    assert "secret" not in result.stdout.str()


@pytest.mark.parametrize("entry", ["127.0.0.1", "127.0.0.1:{port}", "*"])
def test_no_proxy_connects_directly(
    server: Scripted, monkeypatch: pytest.MonkeyPatch, dead_proxy: str, entry: str
) -> None:
    monkeypatch.setenv("HTTP_PROXY", dead_proxy)
    monkeypatch.setenv("NO_PROXY", entry.format(port=server.port))
    assert client(server).get("/models").data["object"] == "list"


def test_the_answer_of_a_proxy_names_it(server: Scripted, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{server.port}")
    monkeypatch.delenv("no_proxy", raising=False)
    server.routes["http://vision.example/v1/models"] = Reply(b"no route", 502, "text/plain")
    asker = Client(base_url="http://vision.example/v1", api_key=None, timeout_s=10)
    _OPEN.append(asker)
    with pytest.raises(ServerError, match=r"HTTP 502 from \S+, through the proxy \S+ that http_proxy names,"):
        asker.get("/models")


BUSY = {
    "429": as_json({"error": {"message": "too many requests"}}, 429),
    "503": as_json({"error": {"message": "queue is full"}}, 503),
}


def busy(times: int, status: str, retry_after: str | None) -> Callable[[Ask], Reply]:
    """A server that is busy so many times, and then answers."""
    headers = {} if retry_after is None else {"retry-after": retry_after}
    refused = iter([replace(BUSY[status], headers=headers)] * times)
    return lambda ask: next(refused, None) or seeing(ask)


@pytest.mark.parametrize("status", BUSY)
@pytest.mark.parametrize("stream", [False, True])
def test_a_busy_server_is_asked_again_when_it_says(server: Scripted, status: str, *, stream: bool) -> None:
    server.chat = busy(2, status, "0")
    start = time.perf_counter()
    reply = client(server).chat(BODY, stream=stream)
    assert reply.waits == 2
    assert time.perf_counter() - start > 0.9
    assert reply.latency_s < 0.5  # of the last request


def test_a_date_says_when_too(server: Scripted) -> None:
    server.chat = busy(1, "503", "Wed, 21 Oct 2015 07:28:00 GMT")
    assert client(server).chat(BODY, stream=False).waits == 1
    server.chat = busy(1, "503", "Wed, 21 Oct 2099 07:28:00 GMT")
    with pytest.raises(ServerError, match="queue is full; it asks to try again in"):
        client(server).chat(BODY, stream=False)


@pytest.mark.parametrize("retry_after", [None, "soon", "-1", "\N{SUPERSCRIPT TWO}"])
def test_a_busy_server_that_does_not_say_when_is_a_fault(server: Scripted, retry_after: str | None) -> None:
    server.chat = busy(1, "429", retry_after)
    with pytest.raises(ServerError, match=r"HTTP 429 from .*: too many requests$"):
        client(server).chat(BODY, stream=False)
    assert len(server.asks) == 1


def test_the_deadline_holds_for_all_waits_together(server: Scripted) -> None:
    server.chat = busy(100, "429", "0")
    with pytest.raises(
        ServerError, match=r"it asks to try again in 0\.5 s, and 0\S* s of the request's time"
    ):
        client(server, timeout_s=1.2).chat(BODY, stream=False)
    assert len(server.asks) == 3


def test_nothing_else_is_repeated(server: Scripted) -> None:
    server.chat = lambda _: Reply(b"{}", 500, headers={"retry-after": "0"})
    with pytest.raises(ServerError, match="HTTP 500"):
        client(server).chat(BODY, stream=False)
    assert len(server.asks) == 1


def test_abort_ends_a_wait(server: Scripted) -> None:
    server.chat = busy(1, "429", "15")
    asker = client(server)

    def abort_when_asked() -> None:
        server.asked.wait(10)
        asker.abort()

    threading.Thread(target=abort_when_asked).start()
    with pytest.raises(ServerError):
        asker.chat(BODY, stream=False)


def test_a_run_on_a_busy_server_says_how_often_it_waited(
    run: Run, project: pytest.Pytester, server: Scripted
) -> None:
    refused = iter([replace(BUSY["429"], headers={"retry-after": "0"})] * 2)

    def chat(ask: Ask) -> Reply:
        return (ask.stage == "keywords" and next(refused, None)) or seeing(ask)

    server.chat = chat
    result = run("--record")
    result.assert_outcomes(passed=11)
    result.stdout.fnmatch_lines(["the server was busy and asked 2 times to wait (HTTP 429 or 503 *"])
    waits = [line["waits"] for line in recorded_measurements(project.path)]
    assert sorted(filter(None, waits)) == [2]
    assert only_entry(project.path)["verification"]["figures"]["waits"] == 0.111111
    result.stdout.fnmatch_lines(["waits: 1 of 9 answers came after the server had asked to wait (0.111)"])


def test_waits_of_the_vision_proof_and_of_requests_that_failed_count(
    run: Run, project: pytest.Pytester, server: Scripted
) -> None:
    refused = replace(BUSY["429"], headers={"retry-after": "0"})
    first, last = iter([refused] * 2), iter([refused, as_json({"error": "no memory"}, 500)])

    def chat(ask: Ask) -> Reply:
        if ask.body["temperature"] == 0:
            return next(first, None) or seeing(ask)
        return (ask.stage == "keywords" and next(last, None)) or seeing(ask)

    server.chat = chat
    result = run("--record-failed", "--setup-warmup=0")
    result.stdout.fnmatch_lines(["the server was busy and asked 3 times to wait (HTTP 429 or 503 *"])
    assert only_entry(project.path)["verification"]["vision"]["waits"] == 2


def test_two_servers_do_not_share_anything() -> None:
    with serve() as first, serve() as second:
        first.chat = lambda _: completion("first")
        second.chat = lambda _: completion("second")
        assert client(first).chat(BODY, stream=False).text == "first"
        assert client(second).chat(BODY, stream=False).text == "second"


KEY = "qX7vLongOpaqueKey42"


def echoing(body: str, status: int = 200, **headers: str) -> Reply:
    """A server that puts the key it was sent into its answer, at the place where messages are cut."""
    return Reply(
        body.replace("KEY", KEY).encode(),
        status,
        headers={k: v.replace("KEY", KEY) for k, v in headers.items()},
    )


ECHOES = {
    "not JSON": echoing(f"{'x' * 290} KEY"),
    "no choices": echoing(json.dumps({"choices": [], "headers": {"x": f"{'x' * 140} KEY"}})),
    "an error": echoing(json.dumps({"error": {"message": f"{'x' * 490} KEY"}}), 401),
    "a page": echoing(f"<html><title>{'x' * 90} KEY</title>", 502),
    "a redirect": echoing("", 307, location="http://other/KEY"),
    "an error in a stream": echoing('data: {"error": {"message": "bad key KEY"}}\n\n'),
    "an event that is not JSON": echoing("data: bad key KEY\n\n"),
}


@pytest.mark.parametrize("echo", ECHOES)
@pytest.mark.parametrize("place", ["key", "password"])
def test_a_secret_that_the_server_echoes_is_not_shown(
    project: pytest.Pytester, server: Scripted, monkeypatch: pytest.MonkeyPatch, echo: str, place: str
) -> None:
    server.chat = lambda _: ECHOES[echo]
    monkeypatch.setenv("MY_KEY", KEY)
    url = server.url.replace("//", f"//ann:{KEY}@") if place == "password" else server.url
    more = ["--setup-api-key-env", "MY_KEY"] if place == "key" else []
    more += ["--setup-stream"] if "stream" in echo or "event" in echo else []

    result = project.runpytest("--setup-base-url", url, "--junitxml", "junit.xml", "--record-failed", *more)

    assert result.ret == pytest.ExitCode.TESTS_FAILED
    shown = result.stdout.str() + (project.path / "junit.xml").read_text("utf-8") + str(entries(project.path))
    assert KEY[:6] not in shown


def test_a_secret_in_the_identity_of_the_server_is_not_shown(
    project: pytest.Pytester, server: Scripted, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.routes["/version"] = as_json({"version": f"0.32 for {KEY}"})
    monkeypatch.setenv("MY_KEY", KEY)

    result = project.runpytest(
        "--setup-base-url", server.url, "--setup-api-key-env", "MY_KEY", "--junitxml", "junit.xml", "--record"
    )

    result.assert_outcomes(passed=11)
    shown = result.stdout.str() + (project.path / "junit.xml").read_text("utf-8") + str(entries(project.path))
    assert KEY not in shown
    assert "0.32 for [hidden]" in shown


def test_a_token_count_that_cannot_be_is_unknown(
    run: Run, server: Scripted, project: pytest.Pytester
) -> None:
    server.chat = lambda ask: completion(words(ask), prompt_tokens=2_000_000_000)

    run("--record").assert_outcomes(passed=11)

    (entry,) = entries(project.path).values()
    assert entry["verification"]["status"] == "success"
