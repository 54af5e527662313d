"""Servers that fail: a failed test with the server's words, no entry, nothing broken."""

from __future__ import annotations

import socket
from collections.abc import Callable

import pytest

from tests.conftest import Run, entries, no_traceback_of_ours
from tests.servers.scripted import Ask, Reply, Scripted, as_json, completion, models, seeing

HTML = b"<!DOCTYPE html><html><head><title>Bad Gateway</title></head><body>nginx</body></html>"
PAGE = Reply(HTML, 502, "text/html")

CHAT_FAULTS: dict[str, tuple[Callable[[Ask], Reply], str]] = {
    "401": (
        lambda _: as_json({"error": {"message": "Invalid API Key", "code": 401}}, 401),
        "HTTP 401 from *: Invalid API Key",
    ),
    "404 model": (
        lambda _: as_json({"error": {"message": "The model `served` does not exist."}}, 404),
        "HTTP 404 from *: The model `served` does not exist.",
    ),
    "400 context": (
        lambda _: as_json(
            {"error": {"message": "request (3773 tokens) exceeds the available context size"}}, 400
        ),
        "HTTP 400 from *: request (3773 tokens) exceeds the available context size",
    ),
    "422 detail": (
        lambda _: as_json({"detail": "Unexpected fields in the request: {'seed'}"}, 422),
        "HTTP 422 from *: Unexpected fields in the request: {'seed'}",
    ),
    "500": (
        lambda _: Reply(b"Internal Server Error", 500, "text/plain"),
        "HTTP 500 from *: Internal Server Error",
    ),
    "502 page": (lambda _: PAGE, "HTTP 502 from *: an HTML page titled 'Bad Gateway'"),
    "redirect": (
        lambda _: Reply(b"", 307, headers={"location": "https://other/v1"}),
        "HTTP 307 from *: it redirects to https://other/v1; use that address",
    ),
    "HTML, 200": (
        lambda _: Reply(HTML, content_type="text/html"),
        "the answer of * is not JSON (* bytes): an HTML page*",
    ),
    "cut JSON": (lambda _: Reply(b'{"choices": [{"mess'), "the answer of * is not JSON (19 bytes)*"),
    "not an object": (lambda _: as_json([1]), "the answer has no choices: [[]1]"),
    "no choices": (lambda _: as_json({"choices": []}), "the answer has no choices*"),
    "50 MB": (lambda _: Reply(b'{"choices": "' + b"x" * 50_000_000 + b'"}'), "* answered more than 8 MiB*"),
    "dies half-way": (
        lambda _: Reply(b'{"choices": [{"message"', die_after=9),
        "the connection to * failed: *",
    ),
    "deep JSON": (lambda _: Reply(b"[" * 200_000), "the answer of * is not JSON (200000 bytes)*"),
}


@pytest.mark.parametrize("name", CHAT_FAULTS)
def test_a_fault_is_a_failed_test_with_the_servers_words(
    name: str, run: Run, project: pytest.Pytester, server: Scripted
) -> None:
    server.chat, reason = CHAT_FAULTS[name]
    result = run("--record", "-k", "models or vision or (caption and cat)")
    result.assert_outcomes(passed=1, failed=2, deselected=8)
    counted = "1 more test failed because of this: * (test_caption[[]cat.jpg])"
    result.stdout.fnmatch_lines([reason, "*= setup =*", counted, "not recorded: *"])
    no_traceback_of_ours(result)
    assert entries(project.path) == {}


def test_null_content_is_an_empty_answer(run: Run, server: Scripted) -> None:
    server.chat = lambda _: completion(None)
    result = run("-k", "caption and cat")
    result.stdout.fnmatch_lines(["empty: the answer is empty"])
    no_traceback_of_ours(result)


def test_nobody_listening(project: pytest.Pytester) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}/v1"
        result = project.runpytest("--setup-base-url", url, "--record")
    result.assert_outcomes(failed=11)
    result.stdout.fnmatch_lines([f"setups: {url}, 3 images: cannot connect to {url}/models: *refused*"])
    result.stdout.fnmatch_lines(
        ["not recorded: only successful runs are recorded; --record-failed keeps the attempt"]
    )
    no_traceback_of_ours(result)


def test_a_base_url_without_v1_is_told(project: pytest.Pytester, server: Scripted) -> None:
    result = project.runpytest("--setup-base-url", server.url.removesuffix("/v1"), "-k", "models")
    result.assert_outcomes(failed=1, deselected=10)
    result.stdout.fnmatch_lines([f"HTTP 404 from *: Not Found; {server.url} answers: is that the base URL?"])


def test_a_server_that_lists_no_models(run: Run, server: Scripted) -> None:
    server.routes["/v1/models"] = Reply(b"Internal Server Error", 500, "text/plain")
    run("-k", "models").stdout.fnmatch_lines(["HTTP 500 from *: Internal Server Error"])
    server.routes["/v1/models"] = as_json({"data": []})
    run("-k", "models").stdout.fnmatch_lines(["/models lists no models"])


def test_a_server_that_hangs_fails_every_test_after_one_deadline(run: Run, server: Scripted) -> None:
    def hang(_: Ask) -> Reply:
        server.hang()
        return completion("late")

    server.chat = hang
    result = run("--setup-timeout=0.3", "--record")
    result.assert_outcomes(passed=1, failed=10)
    result.stdout.fnmatch_lines(["no complete answer from */chat/completions within 0.3 s"])
    no_traceback_of_ours(result)
    assert len(server.asks) == 1


def test_a_server_that_trickles_is_cut_at_the_deadline(run: Run, server: Scripted) -> None:
    def trickle(_: Ask) -> Reply:
        def events() -> object:
            while not server.closing.wait(0.05):
                yield b": still thinking\n\n"

        return events()  # type: ignore[return-value]

    server.chat = trickle
    result = run("--setup-timeout=0.4", "-k", "caption and cat", "--setup-warmup=0")
    result.stdout.fnmatch_lines(["server: no complete answer from */chat/completions within 0.4 s"])


def test_a_server_that_loads_is_told_at_once_without_wait(run: Run, server: Scripted) -> None:
    server.routes["/v1/models"] = as_json({"error": {"message": "Loading model", "code": 503}}, 503)
    run("-k", "models").stdout.fnmatch_lines(["HTTP 503 from *: Loading model"])


def test_wait_waits_for_a_real_answer(run: Run, server: Scripted) -> None:
    loading = iter([as_json({"error": {"message": "Loading model"}}, 503)] * 2)
    server.routes["/v1/models"] = lambda: next(loading, as_json(models("served")))
    refused = iter([as_json({"error": {"message": "Loading model"}}, 503)] * 2)
    server.chat = lambda ask: next(refused, None) or seeing(ask)
    result = run("--setup-wait=30")
    result.assert_outcomes(passed=11)
    result.stdout.fnmatch_lines(["setups: waiting up to 30 s for http://*"])


def test_wait_ends(run: Run, server: Scripted) -> None:
    server.routes["/v1/models"] = as_json({"error": {"message": "Loading model", "code": 503}}, 503)
    result = run("--setup-wait=0.5", "-k", "models")
    result.stdout.fnmatch_lines(["not ready after 0.5 s: HTTP 503 from *: Loading model"])


def test_an_unreadable_image_fails_its_own_tests_and_the_others_go_on(
    run: Run, project: pytest.Pytester
) -> None:
    (project.path / "sample_images/cat.jpg").write_bytes(b"not really a picture")
    result = run("--record-failed")
    result.assert_outcomes(passed=8, failed=3)
    result.stdout.fnmatch_lines(
        [
            "image: cat.jpg is not an image that Pillow can read",
            "*not-asked: skipped: no caption*",
        ]
    )
    (entry,) = entries(project.path).values()
    assert entry["verification"]["status"] == "failed"
    reason = "3 of 9 answers are not populated; caption of cat.jpg: image: cat.jpg is not an image"
    assert entry["verification"]["failure_reason"].startswith(reason)


def test_hostile_text_is_shown_without_its_control_characters(run: Run, server: Scripted) -> None:
    server.chat = lambda _: as_json({"error": {"message": "\x1b[2J\x1b]0;owned\x07 bad\u202e thing"}}, 500)
    text = run("-k", "vision").stdout.str()
    assert "HTTP 500" in text
    assert "\x1b[2J" not in text
    assert "\u202e" not in text
    assert " bad thing" in text
