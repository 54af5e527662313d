"""Streamed answers: put together as sent, and refused where the server says or shows that they failed."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Iterator
from functools import partial

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pytest_setups.api.client import Client
from pytest_setups.api.errors import FaultKind, ServerError
from pytest_setups.api.streaming import StreamedReply
from pytest_setups.redaction import Redactor
from tests.conftest import Run
from tests.servers.scripted import Ask, Reply, Scripted, as_json, completion, events, seeing, words

BODY = b'{"messages": [{"role": "user", "content": [{"type": "text", "text": "hello"}]}]}'
CUDA = {"object": "error", "message": "CUDA out of memory", "code": 500}
WHOLE = "Wooden boats rest on a river."
# The same examples every time, and no deadline, which a busy machine would miss.
examples = partial(settings, derandomize=True, deadline=None, database=None)


@pytest.fixture
def client(server: Scripted) -> Iterator[Client]:
    opened = Client(base_url=server.url, api_key=None, timeout_s=20)
    yield opened
    opened.close()


def data(value: object, end: str = "\n\n") -> bytes:
    return f"data: {value if isinstance(value, str) else json.dumps(value)}{end}".encode()


def delta(text: str, finish_reason: str | None = None, **more: object) -> dict[str, object]:
    choice = {"index": 0, "delta": {"content": text}, "finish_reason": finish_reason}
    return {"choices": [choice], **more}


def stop(reason: str | None = "stop") -> bytes:
    return data(delta("", reason))


DONE = b"data: [DONE]\n\n"
CUT = data(delta("Wooden boats rest on a ri"))

FAILED: dict[str, tuple[list[bytes], str]] = {
    "an error object": ([CUT, data(CUDA), DONE], "CUDA out of memory"),
    "an error beside choices": ([data(delta("Wooden", error={"message": "lost"})), stop(), DONE], "lost"),
    "an error after the finish reason": ([data(delta(WHOLE)), stop(), data(CUDA), DONE], "CUDA"),
    "an error in a choice": (
        [CUT, data({"choices": [{"delta": {"content": ""}, "error": {"message": "provider lost"}}]}), DONE],
        "provider lost",
    ),
    "an error event": ([CUT, b"event: error\n" + data({"message": "the engine died"}), DONE], "engine died"),
    "an error event of text": ([CUT, b"event: error\ndata: the engine died\n\n"], "the engine died"),
    "an error event without data": ([CUT, b"event: error\n\n", DONE], "no text"),
    "llama.cpp's field": ([CUT, b'error: {"code":500,"message":"no slot"}\n\n', DONE], "no slot"),
    "an error without framing": ([CUT, b'{"error": {"message": "exceeds context"}}'], "exceeds context"),
    "an error in place of a stream": ([b'{"error": {"message": "exceeds context"}}'], "exceeds context"),
    "FastAPI's error": ([CUT, data({"detail": "worker lost"}), DONE], "worker lost"),
    "text": ([CUT, data("upstream timed out"), DONE], "is not JSON .*upstream timed out"),
    "a list": ([CUT, data([1, 2]), DONE], "is not a JSON object"),
    "the end": ([CUT], "ended without a finish reason after 25 characters"),
    "[DONE] only": ([CUT, DONE], "broke off: no finish reason, after 25 characters that end 'Wooden .* ri'"),
    "[DONE] in JSON": ([data(delta('{"keywords": ["sunset", "palm tr')), DONE], "broke off"),
    "nothing": ([DONE], "broke off: no finish reason, without text"),
    "no bytes": ([], "ended without a finish reason after 0 characters"),
    "a page": ([b"<html><title>Bad Gateway</title>"], "an HTML page titled 'Bad Gateway'"),
    "abort": ([CUT, stop("abort"), DONE], "with finish reason 'abort', after 25 characters"),
    "a tool": ([stop("tool_calls"), DONE], "the model called a tool"),
    "an unknown reason": ([CUT, stop("load"), DONE], "broke off: finish reason 'load'"),
}


@pytest.mark.parametrize("name", FAILED)
def test_a_stream_that_failed_is_no_answer(server: Scripted, client: Client, name: str) -> None:
    sent, reason = FAILED[name]
    server.chat = lambda _: iter(sent)
    with pytest.raises(ServerError, match=reason):
        client.chat(BODY, stream=True)


def stream(*, line_end: str = "\n", usage: bool = True, done: bool = True) -> bytes:
    return b"".join(events(WHOLE, usage=usage))[: None if done else -len(DONE)].replace(
        b"\n", line_end.encode()
    )


KEPT: dict[str, bytes] = {
    "LF": stream(),
    "CR": stream(line_end="\r"),
    "CRLF": stream(line_end="\r\n"),
    "a byte order mark": b"\xef\xbb\xbf" + stream(),
    "comments": b": ping\n\n" + stream().replace(b"data: [DONE]", b": ping\r\n\r\ndata: [DONE]"),
    "numbers and names": stream().replace(b"data: {", b"id: 7\nevent: message\nretry: 10\ndata: {"),
    "no space": stream().replace(b"data: ", b"data:"),
    "no end of the last event": stream().rstrip(),
    "no [DONE]": stream(done=False),
    "no [DONE], no end": stream(done=False).rstrip(),
    "no empty lines": stream().replace(b"\n\n", b"\n"),
    "empty data": b"data:\n\n" + stream(),
    "several data lines": stream().replace(b'{"choices": [', b'{"choices":\ndata: ['),
    "text after [DONE]": stream() + data(delta(" Not this.")) + data(CUDA) + b"\xff\xfe junk",
    "error: null": stream().replace(b'"choices"', b'"error": null, "choices"'),
    "no reason, but a whole sentence": data(delta(WHOLE)) + DONE,  # vllm-mlx#628
    "an answer in one piece": completion(WHOLE, prompt_tokens=300).body,
}


@pytest.mark.parametrize("name", KEPT)
@pytest.mark.parametrize("size", [1, 7, 100_000])
def test_a_stream_is_read_however_it_is_sent(server: Scripted, client: Client, name: str, size: int) -> None:
    sent = KEPT[name]
    server.chat = lambda _: (sent[start : start + size] for start in range(0, len(sent), size))
    for _ in range(2):
        reply = client.chat(BODY, stream=True)
        assert reply.text == WHOLE
        assert reply.prompt_tokens in {300, None}


def test_an_answer_is_over_at_done_though_the_connection_stays_open(server: Scripted, client: Client) -> None:
    def leave_open(_: Ask) -> Iterator[bytes]:
        yield from events(WHOLE)
        server.hang()

    server.chat = leave_open
    replies = [client.chat(BODY, stream=True) for _ in range(3)]
    assert [reply.text for reply in replies] == [WHOLE] * 3
    assert all(reply.latency_s < 2 for reply in replies)
    assert len(server.connections) == 3  # an answer that never ended is in the way of the next


def test_a_server_that_never_stops_sending_after_done_does_not_hold_the_run(
    server: Scripted, client: Client
) -> None:
    def pour(_: Ask) -> Iterator[bytes]:
        yield from events(WHOLE)
        while not server.closing.is_set():
            yield b": still here\n\n" * 1000

    server.chat = pour
    assert [client.chat(BODY, stream=True).text for _ in range(2)] == [WHOLE] * 2


def test_a_streamed_connection_is_used_again(server: Scripted, client: Client) -> None:
    server.chat = lambda _: events(WHOLE)
    for _ in range(4):
        client.chat(BODY, stream=True)
    assert len(server.connections) == 1


def test_a_missing_reason_is_a_fault_where_other_answers_have_one(server: Scripted, client: Client) -> None:
    server.chat = lambda _: iter([data(delta(WHOLE)), DONE])
    assert client.chat(BODY, stream=True).finish_reason is None
    server.chat = lambda _: iter([data(delta(WHOLE)), stop(), DONE])
    assert client.chat(BODY, stream=True).finish_reason == "stop"
    server.chat = lambda _: iter([data(delta(WHOLE)), DONE])
    with pytest.raises(ServerError, match="no finish reason, which other answers have") as error:
        client.chat(BODY, stream=True)
    assert error.value.kind is FaultKind.UNFINISHED


GIVEN_UP: dict[str, tuple[object, str]] = {
    "an error": ({"error": {"message": "CUDA out of memory"}}, "answered with an error: CUDA out of memory"),
    "an error object": (CUDA, "answered with an error: CUDA out of memory"),
    "an error in a choice": (
        {"choices": [{"message": {"content": "Wooden"}, "error": {"message": "provider lost"}}]},
        "answered with an error: provider lost",
    ),
    "an error beside choices": (
        json.loads(completion(WHOLE).body) | {"error": {"message": "half of the layers are missing"}},
        "answered with an error: half of the layers are missing",
    ),
    **{
        reason: (json.loads(completion("Wooden boats rest on a ri", finish_reason=reason).body), message)
        for reason, message in {
            "error": "with finish reason 'error', after 25 characters that end 'Wooden boats rest on a ri'",
            "abort": "with finish reason 'abort'",
            "cancelled": "with finish reason 'cancelled'",
            "time_limit": "with finish reason 'time_limit'",
            "function_call": "the model called a tool",
            "": "broke off: no finish reason",
        }.items()
    },
    "no reason": (
        json.loads(completion("Wooden boats rest on a ri", finish_reason=None).body),
        "broke off: no finish reason",
    ),
    "Ollama cancelled it": (
        json.loads(completion("", finish_reason=None, reasoning="Here's a thinking process:").body),
        "broke off: no finish reason, without text",
    ),
}


@pytest.mark.parametrize("name", GIVEN_UP)
def test_an_answer_that_failed_is_no_answer(server: Scripted, client: Client, name: str) -> None:
    answer, reason = GIVEN_UP[name]
    server.chat = lambda _: as_json(answer)
    with pytest.raises(ServerError, match=reason):
        client.chat(BODY, stream=False)


@pytest.mark.parametrize(
    "reason", ["stop", "eos", "eos_token", "stop_sequence", "end_turn", "COMPLETE", "STOP"]
)
def test_a_reason_that_says_the_model_ended_its_answer(server: Scripted, client: Client, reason: str) -> None:
    server.chat = lambda _: completion("a boat", finish_reason=reason)
    assert client.chat(BODY, stream=False).finish_reason == reason


@pytest.mark.parametrize(
    ("given_reason", "kept"),
    [
        ("MAX_TOKENS", "length"),
        ("model_length", "length"),
        ("SAFETY", "content_filter"),
        ("length", "length"),
    ],
)
def test_a_reason_for_the_checks_has_one_name(
    server: Scripted, client: Client, given_reason: str, kept: str
) -> None:
    server.chat = lambda _: completion("a boat on a ri", finish_reason=given_reason)
    assert client.chat(BODY, stream=False).finish_reason == kept


WHOLE_ENDS = (
    "A boat.",
    "Is it a boat?",
    "船が川に浮かんでいる。",
    "नाव नदी पर है।",
    'A sign says "open"',
    "He calls it “home”",
    "A boat (old)",
    "A boat ⛵",
    "A boat \N{SNOWMAN}\ufe0f",
    '{"keywords": ["a", "b"]}',
    '```json\n["a", "b"]\n```',
)
CUT_ENDS = (
    "A boat on a ri",
    "A boat,",
    "A boat -",
    "A boat and (",
    "船が川に、",
    '{"keywords": ["sunset", "',
    '["a", "b"',
    '```json\n{"keywords": ["a"]}',
)


@pytest.mark.parametrize("text", WHOLE_ENDS)
def test_without_a_reason_a_whole_text_is_an_answer(server: Scripted, client: Client, text: str) -> None:
    server.chat = lambda _: completion(text, finish_reason=None)
    assert client.chat(BODY, stream=False).text == text


@pytest.mark.parametrize("text", CUT_ENDS)
def test_without_a_reason_a_cut_text_is_none(server: Scripted, client: Client, text: str) -> None:
    server.chat = lambda _: completion(text, finish_reason=None)
    with pytest.raises(ServerError, match="broke off"):
        client.chat(BODY, stream=False)


def test_counts_of_zero_are_unknown(server: Scripted, client: Client) -> None:
    usage = {"prompt_tokens": 0, "completion_tokens": 0}
    server.chat = lambda _: as_json(json.loads(completion(WHOLE).body) | {"usage": usage})
    reply = client.chat(BODY, stream=False)
    assert (reply.prompt_tokens, reply.output_tokens) == (None, None)


@pytest.mark.parametrize("streamed", [False, True])
def test_a_generation_that_failed_halfway_is_not_recorded_as_a_success(
    run: Run, server: Scripted, *, streamed: bool
) -> None:
    def chat(ask: Ask) -> Reply | Iterable[bytes]:
        text = words(ask)
        failed = ask.stage == "description"
        if streamed:
            return iter([data(delta(text[:20])), data(CUDA), DONE]) if failed else events(text, usage=False)
        return completion(text[:20], finish_reason="abort") if failed else seeing(ask)

    server.chat = chat
    result = run("--record", *(["--setup-stream"] if streamed else []))
    assert result.parseoutcomes()["failed"] == 3
    result.stdout.fnmatch_lines(["failed: 3 of 9 answers are not populated; *", "not recorded: *"])


# Properties: whatever the bytes, and however they are cut.
REDACTOR = Redactor(())


def read(chunks: Iterable[bytes]) -> tuple[object, ...] | str:
    """What a stream gives: the reply without its times, or the fault."""
    streamed = StreamedReply(REDACTOR, time.perf_counter)
    try:
        streamed.read(iter(chunks))
        reply = streamed.reply(0.0, 1.0)
    except ServerError as error:
        return str(error)
    return reply.text, reply.reasoning, reply.finish_reason, reply.prompt_tokens, reply.output_tokens


pieces_of_streams = st.lists(
    st.one_of(
        st.text(max_size=12).map(lambda text: data(delta(text))),
        st.text(max_size=12).map(lambda text: data(delta(text), end="\r\n\r\n")),
        st.sampled_from(
            [stop(), stop("length"), DONE, CUT, data(CUDA), b"event: error\n", b": ping\r", b"\r"]
        ),
        st.sampled_from([b"data: [DONE]", b"data:", b"\n", b"\xef\xbb\xbf", b"\xff", b"{", b"error: x\n"]),
        st.binary(max_size=12),
    ),
    max_size=12,
).map(b"".join)


@examples(max_examples=120, suppress_health_check=[HealthCheck.too_slow])
@given(sent=pieces_of_streams, cuts=st.lists(st.integers(0, 200), max_size=8))
def test_any_chunks_of_the_same_bytes_give_the_same_reply(sent: bytes, cuts: list[int]) -> None:
    whole = read([sent])
    ends = sorted({min(cut, len(sent)) for cut in cuts} | {len(sent)})
    assert read(sent[start:end] for start, end in zip([0, *ends], ends, strict=False)) == whole
    assert read(sent[i : i + 1] for i in range(len(sent))) == whole


@examples(max_examples=200)
@given(st.one_of(st.binary(max_size=200), pieces_of_streams))
def test_no_bytes_raise_anything_but_a_fault_of_the_server(sent: bytes) -> None:
    read([sent])


@examples(max_examples=100)
@given(
    texts=st.lists(st.text(st.characters(exclude_categories=["Cc", "Cf", "Cs", "Zl", "Zp"]), max_size=20)),
    line_end=st.sampled_from([b"\n", b"\r", b"\r\n"]),
)
def test_the_words_of_a_stream_come_back(texts: list[str], line_end: bytes) -> None:
    sent = b"".join([*(data(delta(text)) for text in texts), stop(), DONE])
    assert read([sent.replace(b"\n", line_end)]) == ("".join(texts), "", "stop", None, None)
