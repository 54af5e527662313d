"""What the server counts while a run is measured: recorded, and named where it puts times in doubt."""

from __future__ import annotations

import fnmatch
import json
import threading
import time
from contextlib import closing
from itertools import count
from typing import Any

import pytest

from pytest_setups.api.client import Client
from pytest_setups.api.request_log import RequestLog
from pytest_setups.load.counter_names import names_of
from pytest_setups.load.server_counters import GaugeSampler, OwnRequests, ServerCounters
from pytest_setups.registry.load_records import ServerCountersRecord
from tests.conftest import Command, Run, draw, entries, only_entry
from tests.servers.llama import llama_cpp
from tests.servers.metrics import Metrics, Vllm
from tests.servers.scripted import Ask, Reply, Scripted, as_json, completion, models, seeing
from tests.taggers import tagger

FIRST_MEASURED = 20
"""The number of a request that is neither for the warm-up nor for the proof that the model sees."""

ANY_CLIENT = ("--setup-baseline-allow=performance.client_delay",)
"""A machine that is busy with other tests may be slower than the server of these."""


@pytest.fixture
def vllm(server: Scripted) -> Vllm:
    return Vllm(server)


def counters_of(entry: dict[str, Any]) -> dict[str, Any]:
    counters: dict[str, Any] = entry["performance"]["server_counters"]
    return counters


@pytest.mark.usefixtures("vllm")
@pytest.mark.parametrize("arguments", [(), ("--setup-concurrency=2",), ("-n", "2")], ids=str)
def test_what_vllm_counted_is_recorded(
    run: Run, project: pytest.Pytester, arguments: tuple[str, ...]
) -> None:
    result = run("--record", *arguments)

    result.assert_outcomes(passed=11)
    counters = counters_of(only_entry(project.path))
    assert counters["reason"] is None
    assert counters["requests_of_others"] == counters["prompt_tokens_of_others"] == 0
    assert counters["own_requests"] == counters["finished"]["stop"] >= 9
    assert counters["finished"]["length"] == counters["preemptions"] == 0  # counted, and none
    assert (counters["pictures"], counters["pictures_cached"]) == (3, 0)
    assert counters["configuration"]["num_gpu_blocks"] == "4096"
    if not arguments:  # nothing else is asked at the same time
        assert counters["finished"]["stop"] == 9
        assert (counters["queue_s"], counters["decode_s"], counters["prefill_s"]) == (2.25, 4.5, 0)
        assert (counters["prefix_cache_hits"], counters["prefix_cache_queries"]) == (6 * 250, 9 * 300)
        result.stdout.fnmatch_lines([
            "server: 9 requests finished (9 stop); each on average: queued 0.250 s, prefill 0.000 s, *",
            "server: 56% of 2,700 prompt tokens out of the prefix cache; 67% of 9 pictures out of the *",
        ])  # fmt: skip
    for doubt in ("*from other clients*", "*warm cache*"):
        result.stdout.no_fnmatch_line(doubt)


def test_requests_of_others_are_named(run: Run, project: pytest.Pytester, vllm: Vllm) -> None:
    def chat(ask: Ask) -> Reply:
        if ask.number == FIRST_MEASURED:
            vllm.metrics.add(vllm_request_success_total_length=20, vllm_prompt_tokens_total=9000)
        return vllm.chat(ask)

    vllm.server.chat = chat
    result = run("--record")

    result.assert_outcomes(passed=11)
    result.stdout.fnmatch_lines([
        "the server finished 20 requests from other clients during the run, which may have made it slower"
    ])  # fmt: skip
    counters = counters_of(only_entry(project.path))
    assert (counters["own_requests"], counters["requests_of_others"]) == (9, 20)
    assert counters["prompt_tokens_of_others"] == 9000


def test_what_a_run_asks_again_is_its_own(run: Run, project: pytest.Pytester, vllm: Vllm) -> None:
    """Reruns, requests that a busy server refused, and tests of the user's."""

    def chat(ask: Ask) -> Reply:
        if ask.number == FIRST_MEASURED:
            return Reply(b"busy", 503, headers={"retry-after": "0"})
        if ask.number == FIRST_MEASURED + 2:
            vllm.chat(ask)
            return as_json({"choices": []})
        return vllm.chat(ask)

    vllm.server.chat = chat
    project.makepyfile(test_own="def test_own(tagging): assert tagging.caption")
    suite = ("--pyargs", "pytest_setups.suite.test_setup")
    result = run("--record", "--reruns=1", "test_own.py", *suite)

    result.assert_outcomes(passed=14)
    result.stdout.fnmatch_lines(["*14 passed, 1 rerun*"])
    counters = counters_of(only_entry(project.path))
    assert counters["requests_of_others"] == 0
    assert counters["own_requests"] == counters["finished"]["stop"] > 9


@pytest.mark.usefixtures("vllm")
def test_requests_of_another_tagger_are_not_known(run: Run, project: pytest.Pytester) -> None:
    result = run("--record", *tagger())

    result.assert_outcomes(passed=12)
    counters = counters_of(only_entry(project.path))
    assert counters["finished"]["stop"] == 9
    assert counters["own_requests"] is counters["requests_of_others"] is None
    assert counters["missing"]["requests_of_others"] == "the requests of another tagger are not known"


@pytest.mark.usefixtures("vllm")
def test_the_requests_of_a_crashed_worker_are_not_known(run: Run, project: pytest.Pytester) -> None:
    project.makepyfile(test_own="import os\n\ndef test_own(): os._exit(1)")
    suite = ("--pyargs", "pytest_setups.suite.test_setup")
    run("-n", "1", "--max-worker-restart=0", "--record-failed", *suite, "test_own.py")

    counters = counters_of(only_entry(project.path))
    assert counters["finished"]["stop"] >= 9
    assert counters["requests_of_others"] is None
    assert counters["missing"]["own_requests"] == "the requests of a worker that crashed are not known"


def test_a_server_that_was_started_again_gives_no_figures(
    run: Run, project: pytest.Pytester, vllm: Vllm
) -> None:
    def chat(ask: Ask) -> Reply:
        if ask.number == FIRST_MEASURED:
            vllm.metrics.add(vllm_prompt_tokens_total=-9000, vllm_mm_cache_queries_total=-70)
        return vllm.chat(ask)

    vllm.server.chat = chat
    result = run("--record")

    lower = "vllm:mm_cache_queries_total, vllm:prompt_tokens_total went backwards"
    reason = f"{lower}: the server was started again during the run"
    result.stdout.fnmatch_lines([f"the server's counters are not used: {reason}"])
    counters = counters_of(only_entry(project.path))
    assert {name: value for name, value in counters.items() if value is not None} == {
        "reason": reason,
        "restarted": True,
    }


def test_the_highest_use_of_the_kv_cache_is_kept(run: Run, project: pytest.Pytester, vllm: Vllm) -> None:
    read_in_between = threading.Event()

    def metrics() -> Reply:
        reply = vllm.metrics.reply()
        if vllm.metrics.asked == 2:
            read_in_between.set()
        return reply

    def chat(ask: Ask) -> Reply:
        if ask.number == FIRST_MEASURED:
            vllm.metrics.add(vllm_kv_cache_usage_perc=0.42)
            assert read_in_between.wait(20)
            vllm.metrics.add(vllm_kv_cache_usage_perc=-0.42)
        return vllm.chat(ask)

    vllm.server.chat, vllm.server.routes["/metrics"] = chat, metrics
    result = run("--record")

    result.stdout.fnmatch_lines(["server: *; at most 42% of the KV cache in use"])
    counters = counters_of(only_entry(project.path))
    assert counters["kv_cache_max"] == 0.42
    assert counters["readings"] >= 1
    assert counters["missing"] is None


@pytest.mark.usefixtures("vllm")
def test_a_warm_cache_is_named_and_its_times_are_not_compared(run: Run, setups: Command) -> None:
    run("--record", "--setup-slug=cold").assert_outcomes(passed=11)
    baseline = ("--setup-baseline=cold", "--setup-fail-if=keywords_overlap:0.9", *ANY_CLIENT)

    by_words = run(*baseline, "--record", "--setup-slug=warm")
    by_times = run(*baseline, "--setup-fail-if=caption.p50:10000%")
    name = "performance.server_counters.pictures_cached"
    allowed = run(*baseline, "--setup-fail-if=caption.p50:10000%", f"--setup-baseline-allow={name}")

    assert (by_words.ret, by_times.ret, allowed.ret) == (0, 1, 0)
    warm = "3 of 3 pictures were in the server's cache before this run: its times are those of a warm cache"
    allow = f"to compare all the same: --setup-baseline-allow {name}"
    untimed = f"times are not compared: {name} (0 of 3 -> 3 of 3); {allow}"
    by_words.stdout.fnmatch_lines(["keywords_overlap * ok", untimed, warm])
    by_times.stdout.fnmatch_lines([
        "caption.p50 * not comparable",
        "keywords_overlap * ok",
        untimed,
        "regression: caption.p50: caption.p50:10000% cannot be judged: the two runs were timed under *",
        warm,
        "failed: not comparable with cold: caption.p50",
    ])  # fmt: skip
    allowed.stdout.fnmatch_lines(["caption.p50 * ok"])
    compared = setups("compare", "cold", "warm", "--fail-if", "p50:20%")
    assert compared.code == 1
    assert "p50:20% cannot be judged" in compared.out


def test_llama_cpp_counts_tokens_and_says_what_it_had(project: pytest.Pytester) -> None:
    with llama_cpp("--metrics") as url:
        options = ("-p", "no:cacheprovider", "--setup-base-url", url, "--record")
        cold = project.runpytest(*options)
        warm = project.runpytest(*options)

    warm.stdout.fnmatch_lines(["3 of 3 pictures were in the server's cache before this run: *"])
    cold.stdout.no_fnmatch_line("*were in the server's cache*")
    recorded = [counters_of(entry) for entry in entries(project.path).values()]
    for counters in recorded:
        assert counters["own_requests"] == 9
        assert counters["prompt_tokens_of_others"] == 0
        assert (
            counters["prefix_cache_queries"] == counters["prompt_tokens"] > counters["prefix_cache_hits"] > 0
        )
        assert counters["prefill_s"] > 0
        assert counters["finished"] is counters["preemptions"] is None
        assert counters["missing"]["preemptions"] == "llama.cpp does not count it"
        assert counters["missing"]["kv_cache_max"] == "not among the server's metrics"
    assert sorted(counters["pictures_cached"] for counters in recorded) == [0, 3]


def test_tokens_of_others_are_named_where_a_server_counts_no_requests(
    run: Run, project: pytest.Pytester, server: Scripted
) -> None:
    metrics = Metrics.recorded("llama.cpp")
    server.routes |= {"/v1/models": as_json(models("served", owned_by="llamacpp")), "/metrics": metrics.reply}

    def chat(ask: Ask) -> Reply:
        others = 9000 if ask.number == FIRST_MEASURED else 0
        metrics.add(llamacpp_prompt_tokens_total=(300 if ask.picture else 100) + others)
        return seeing(ask)

    server.chat = chat
    result = run("--record")

    result.stdout.fnmatch_lines(
        ["the server worked on 9,000 prompt tokens from other clients during the run, *"]
    )
    assert counters_of(only_entry(project.path))["requests_of_others"] is None


def test_the_use_of_the_kv_cache_is_unknown_where_it_could_not_be_read_to_the_end(server: Scripted) -> None:
    metrics, failed = Metrics.recorded("vllm"), threading.Event()

    def reply() -> Reply:
        if metrics.asked == 1 and not failed.is_set():
            failed.set()
            return Reply(b"busy", 500)
        return metrics.reply()

    server.routes["/metrics"] = reply
    record = measured(server, "vllm", RequestLog(), lambda: failed.wait(20))
    assert record.kv_cache_max is None
    assert record.missing is not None
    assert fnmatch.fnmatchcase(record.missing["kv_cache_max"], "HTTP 500 from */metrics: busy")


def test_the_use_of_the_kv_cache_is_read_on_after_a_reading_that_failed(server: Scripted) -> None:
    metrics, names = Metrics.recorded("vllm"), names_of("vllm")
    metrics.add(vllm_kv_cache_usage_perc=0.42)
    numbers, read_twice = count(1), threading.Event()

    def reply() -> Reply:
        number = next(numbers)
        if number == 4:
            read_twice.set()
        return Reply(b"busy", 500) if number == 1 else metrics.reply()

    server.routes["/metrics"] = reply
    assert names is not None
    with closing(Client(base_url=server.url, api_key=None, timeout_s=20)) as client:
        sampler = GaugeSampler(client, names, first_s=0.01, longest_s=0.01)
        sampler.start()
        assert read_twice.wait(20)
        sampler.stop()
    assert sampler.fault is None
    assert sampler.highest == 0.42
    assert sampler.readings >= 2


def measured(server: Scripted, backend: str, log: RequestLog, work: Any) -> ServerCountersRecord:
    """What the meter makes of some work of the server."""
    meter = ServerCounters(
        lambda: Client(base_url=server.url, api_key=None, timeout_s=0.2), backend, lambda: OwnRequests(log)
    )
    meter.start()
    work()
    meter.stop()
    return meter.record()


NO_METRICS: dict[str, tuple[str, Reply, str]] = {
    "absent": ("vllm", Reply(b"no", 404), "HTTP 404 from *: no; start it without --disable-log-stats"),
    "switched off": (
        "llama.cpp",
        as_json(
            {
                "error": {
                    "message": "This server does not support metrics endpoint. Start it with `--metrics`"
                }
            },
            501,
        ),
        "HTTP 501 from *: This server does not support metrics endpoint. Start it with `--metrics`",
    ),
    "behind a key": ("vllm", as_json({"error": "Unauthorized"}, 401), "HTTP 401 from *: Unauthorized"),
    "huge": ("vllm", Reply(b"# " + b"x" * 3_000_000), "* answered more than 2 MiB; the rest was not read"),
    "a page": ("vllm", Reply(b"<html>hello</html>"), "/metrics cannot be parsed: *"),
    "of something else": (
        "sglang",
        Reply(b"go_threads 9\n"),
        "/metrics has no metrics of sglang; start it *",
    ),
    "not finite": ("vllm", Reply(b"vllm:prompt_tokens_total NaN\n"), "/metrics has no metrics of vllm; *"),
    "unknown": (
        "openai",
        Reply(b"vllm:prompt_tokens_total 1\n"),
        "openai publishes no counters that are known *",
    ),
}


@pytest.mark.parametrize("case", NO_METRICS)
def test_a_server_without_figures_gives_the_reason(server: Scripted, case: str) -> None:
    backend, reply, reason = NO_METRICS[case]
    server.routes["/metrics"] = reply
    record = measured(server, backend, RequestLog(), lambda: None).model_dump()
    assert fnmatch.fnmatchcase(record.pop("reason"), reason)
    assert set(record.values()) == {None}


def test_a_run_against_a_server_without_metrics_is_as_before(run: Run, project: pytest.Pytester) -> None:
    result = run("--record")
    result.assert_outcomes(passed=11)
    result.stdout.no_fnmatch_line("server: *")
    assert counters_of(only_entry(project.path))["reason"].startswith("HTTP 404 from http://127.0.0.1:")


def test_a_server_that_hangs_at_metrics_is_waited_for_once(server: Scripted) -> None:
    asked: list[int] = []

    def hang() -> Reply:
        asked.append(1)
        server.hang()
        return Reply(b"")

    server.routes["/metrics"] = hang
    record = measured(server, "vllm", RequestLog(), lambda: None)
    assert record.reason == f"no complete answer from {server.url.removesuffix('/v1')}/metrics within 0.2 s"
    assert asked == [1]


SGLANG = """\
# TYPE sglang:prompt_tokens_total counter
sglang:prompt_tokens_total{{model_name="m"}} {0}
# TYPE sglang:generation_tokens_total counter
sglang:generation_tokens_total{{model_name="m"}} {1}
# TYPE sglang:cached_tokens_total counter
sglang:cached_tokens_total{{cache_source="device",model_name="m"}} {2}
sglang:cached_tokens_total{{cache_source="total",model_name="m"}} {2}
# TYPE sglang:num_requests_total counter
sglang:num_requests_total{{model_name="m"}} {3}
# TYPE sglang:num_retractions histogram
sglang:num_retractions_bucket{{le="0.0",model_name="m"}} {3}
sglang:num_retractions_sum{{model_name="m"}} {4}
sglang:num_retractions_count{{model_name="m"}} {3}
# TYPE sglang:queue_time_seconds histogram
sglang:queue_time_seconds_sum{{model_name="m"}} {5}
sglang:queue_time_seconds_count{{model_name="m"}} {3}
# TYPE sglang:token_usage gauge
sglang:token_usage{{model_name="m"}} 0.1
"""
TGI = """\
# TYPE tgi_request_success counter
tgi_request_success {0}
# TYPE tgi_request_failure counter
tgi_request_failure{{err="overloaded"}} {1}
# TYPE tgi_request_input_length summary
tgi_request_input_length_sum {2}
tgi_request_input_length_count {0}
# TYPE tgi_request_queue_duration summary
tgi_request_queue_duration{{quantile="0.5"}} 0.1
tgi_request_queue_duration_sum {3}
"""


@pytest.mark.parametrize("colon", [":", "_"])
def test_sglang_counts_retractions_and_cached_tokens(server: Scripted, colon: str) -> None:
    texts = iter([SGLANG.format(100, 10, 0, 1, 0, 0.5), SGLANG.format(700, 70, 400, 4, 2, 0.75)])
    server.routes["/metrics"] = lambda: Reply(next(texts).replace("sglang:", f"sglang{colon}").encode())
    record = measured(server, "sglang", RequestLog(), lambda: None)
    assert record.finished == {"finished": 3}
    assert (record.prompt_tokens, record.output_tokens) == (600, 60)
    assert (record.prefix_cache_hits, record.prefix_cache_queries) == (400, 600)
    assert (record.preemptions, record.queue_s, record.requests_of_others) == (2, 0.25, 3)


def test_only_requests_within_the_span_are_the_runs_own(server: Scripted) -> None:
    texts = iter([SGLANG.format(0, 0, 0, 0, 0, 0), SGLANG.format(700, 70, 0, 5, 0, 0)])
    server.routes["/metrics"] = lambda: Reply(next(texts).encode())
    now, log = time.time(), RequestLog()
    log.answered.extend([(now - 100, 300), (now + 100, 300)])
    record = measured(server, "sglang", log, lambda: log.answered.append((time.time(), 300)))
    assert (record.own_requests, record.requests_of_others, record.prompt_tokens_of_others) == (1, 4, 400)


def test_tgi_counts_requests_and_waiting(server: Scripted) -> None:
    texts = iter([TGI.format(1, 0, 300, 0.5), TGI.format(4, 1, 900, 0.75)])
    server.routes["/metrics"] = lambda: Reply(next(texts).encode())
    record = measured(server, "tgi", RequestLog(), lambda: None)
    assert record.finished == {"success": 3, "failure": 1}
    assert (record.prompt_tokens, record.queue_s) == (600, 0.25)
    assert record.missing is not None
    assert record.missing["prefix_cache_hits"] == "tgi does not count it"


def test_a_process_that_counts_beyond_the_old_one_is_another_one(server: Scripted) -> None:
    text = "process_start_time_seconds {0}\nvllm:prompt_tokens_total {0}\n"
    texts = iter([text.format(1), text.format(2)])
    server.routes["/metrics"] = lambda: Reply(next(texts).encode())
    record = measured(server, "vllm", RequestLog(), lambda: None)
    assert record.restarted
    assert record.reason == "process_start_time_seconds changed: the server was started again during the run"


@pytest.mark.usefixtures("vllm")
def test_an_entry_without_counters_compares_as_before(run: Run, project: pytest.Pytester) -> None:
    run("--record", "--setup-slug=before").assert_outcomes(passed=11)
    path = project.path / "registry/entries/before.json"
    entry = json.loads(path.read_bytes())
    del entry["performance"]["server_counters"]
    path.write_text(json.dumps(entry))

    result = run("--setup-baseline=before", "--setup-fail-if=caption.p50:10000%", *ANY_CLIENT)

    assert result.ret == 0
    result.stdout.fnmatch_lines(["caption.p50 * ok"])


@pytest.mark.usefixtures("vllm")
def test_the_reports_show_the_counters(
    run: Run, project: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    summary = project.path / "summary.md"
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(summary))
    run("-k", "caption")
    result = run("--setup-report=report.html")

    page = (project.path / "report.html").read_text("utf-8")
    section = page.partition('<h2 id="counted">')[2].partition("</section>")[0]
    assert "9 requests finished (9 stop)" in section
    assert "3 of 3 pictures were in the server&#39;s cache before this run" in section
    assert "server_counters" not in section
    assert "cache_dtype" in section
    result.stdout.fnmatch_lines(["report: *"])
    assert "server&#58; 9 requests finished" in summary.read_text()


def test_requests_under_way_at_the_end_are_not_taken_for_those_of_others(
    run: Run, project: pytest.Pytester, vllm: Vllm
) -> None:
    def chat(ask: Ask) -> Reply:
        reply = vllm.chat(ask)
        if ask.number > FIRST_MEASURED + 20:  # counted, and not answered before the run ends
            vllm.server.hang()
        return completion("") if ask.number >= FIRST_MEASURED else reply

    vllm.server.chat = chat
    for number in range(12):
        draw(project.path / f"photos/{number:02}.png", f"hsl({number * 29}, 80%, 50%)")

    result = run("-x", "--setup-concurrency=4", "--setup-images=photos", "--setup-report=report.html")

    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.no_fnmatch_line("*from other clients*")
    assert "requests were still under way when the run ended" in (project.path / "report.html").read_text()
