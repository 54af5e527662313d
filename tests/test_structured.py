"""``--setup-structured``: keywords are asked for with a JSON schema, and an answer that ignores it fails."""

from __future__ import annotations

import json
from typing import Any

import pytest

from pytest_setups.registry.entry import Entry
from tests.conftest import Run, entries, only_entry, recorded_measurements
from tests.servers.llama import llama_cpp
from tests.servers.scripted import Ask, Reply, Scripted, as_json, completion, models, seeing

TERMS = ("boat", "cat", "Eiffel Tower", "harbour", "rocket", "window", "night sky")
SCHEMA = {
    "type": "object",
    "properties": {"keywords": {"type": "array", "items": {"type": "string"}, "maxItems": 50}},
    "required": ["keywords"],
    "additionalProperties": False,
}
OPENAI_FORM = {"type": "json_schema", "json_schema": {"name": "keywords", "strict": True, "schema": SCHEMA}}
ONE_KEYWORDS_TEST = ("-k", "keywords and cat", "--setup-warmup=0")


def answering(text: str, **completed: Any) -> Any:
    """A server in good order, except that it gives this text for keywords."""

    def chat(ask: Ask) -> Reply:
        return completion(text, **completed) if ask.stage == "keywords" else seeing(ask)

    return chat


def vocabulary(project: pytest.Pytester, *terms: str) -> str:
    (project.path / "terms.txt").write_text("# of our library\n\n" + "\n".join(terms or TERMS))
    return "--setup-vocabulary=terms.txt"


def formats(server: Scripted) -> dict[str, Any]:
    """What was sent as ``response_format`` in each stage."""
    return {ask.stage: ask.body.get("response_format") for ask in server.asks}


def test_only_the_request_for_keywords_carries_a_schema(
    run: Run, project: pytest.Pytester, server: Scripted
) -> None:
    run("--setup-structured", "--record").assert_outcomes(passed=11)
    assert formats(server) == {"caption": None, "keywords": OPENAI_FORM, "description": None}
    entry = only_entry(project.path)
    assert entry["tagger"]["structured"]["response_format"] == OPENAI_FORM
    assert entry["tagger"]["structured"]["vocabulary_sha256"] is None
    assert "schema" in entry["verification"]["checks"]


def test_without_it_no_schema_is_sent_or_recorded(
    run: Run, project: pytest.Pytester, server: Scripted
) -> None:
    run("--record")
    assert set(formats(server).values()) == {None}
    entry = only_entry(project.path)
    assert entry["tagger"]["structured"] is None
    assert "schema" not in entry["verification"]["checks"]


def test_a_schema_is_another_setup(run: Run, project: pytest.Pytester) -> None:
    run("--record", "--setup-slug=free")
    run("--record", "--setup-slug=structured", "--setup-structured")
    recorded = {
        slug: Entry.from_document(document).fingerprint() for slug, document in entries(project.path).items()
    }
    assert recorded["free"] != recorded["structured"]
    result = run("--setup-structured", "--setup-baseline=free")
    result.stderr.fnmatch_lines(["ERROR: not comparable with free: tagger.structured*"])


def test_the_terms_of_the_vocabulary_are_the_only_ones_that_the_schema_allows(
    run: Run, project: pytest.Pytester, server: Scripted
) -> None:
    server.chat = answering(json.dumps({"keywords": ["cat", "window", "Eiffel Tower"]}))
    run("--setup-structured", vocabulary(project), *ONE_KEYWORDS_TEST).assert_outcomes(
        passed=1, deselected=10
    )
    schema = formats(server)["keywords"]["json_schema"]["schema"]
    assert schema["properties"]["keywords"] == {
        "type": "array",
        "items": {"type": "string", "enum": list(TERMS)},
        "maxItems": len(TERMS),
    }


def test_an_answer_has_no_more_keywords_than_the_vocabulary_has_terms(
    run: Run, project: pytest.Pytester, server: Scripted
) -> None:
    server.chat = answering(json.dumps({"keywords": [*TERMS, TERMS[0]]}))
    result = run("--setup-structured", vocabulary(project), *ONE_KEYWORDS_TEST)
    result.assert_outcomes(failed=1, deselected=10)
    said = f"keywords has {len(TERMS) + 1} items, more than the {len(TERMS)} that were allowed"
    result.stdout.fnmatch_lines([f"schema: *: {said}: *", "the keywords of cat.jpg were: *"])


def test_the_entry_names_the_vocabulary_by_its_checksum(
    run: Run, project: pytest.Pytester, server: Scripted
) -> None:
    server.chat = answering(json.dumps({"keywords": ["cat", "window", "Eiffel Tower"]}))
    run("--setup-structured", vocabulary(project), "--record", "--record-failed")
    structured = only_entry(project.path)["tagger"]["structured"]
    assert structured["vocabulary_terms"] == len(TERMS)
    assert len(structured["vocabulary_sha256"]) == 64
    assert "boat" not in json.dumps(structured)


@pytest.mark.parametrize(
    ("routes", "expected"),
    [
        ({"/v1/models": as_json(models("served", owned_by="vllm"))}, OPENAI_FORM),
        ({"/v1/models": as_json(models("served", owned_by="sglang"))}, OPENAI_FORM),
        ({"/v1/models": as_json(models("served", owned_by="llamacpp"))}, OPENAI_FORM),
        ({"/v1/models": as_json(models("served", owned_by="acme"))}, OPENAI_FORM),
        (
            {"/v1/models": as_json(models("served", owned_by="tensorrt_llm"))},
            {"type": "json", "schema": SCHEMA},
        ),
        (
            {
                "/v1/models": as_json(models("served", owned_by="Qwen/Qwen2.5-VL")),
                "/info": as_json({"model_id": "Qwen/Qwen2.5-VL"}),
            },
            {"type": "json", "value": SCHEMA},
        ),
    ],
    ids=["vllm", "sglang", "llama.cpp", "unknown", "tensorrt-llm", "tgi"],
)
@pytest.mark.parametrize("workers", [(), ("-n", "2")], ids=["one-process", "xdist"])
def test_each_server_gets_the_schema_in_its_own_form(
    routes: dict[str, Reply], expected: dict[str, Any], workers: tuple[str, ...], run: Run, server: Scripted
) -> None:
    server.routes |= routes
    run("--setup-structured", *ONE_KEYWORDS_TEST, *workers).assert_outcomes(passed=1)
    assert formats(server)["keywords"] == expected


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ("Here are keywords: cat, window, sky", "it is not JSON: 'Here are keywords: cat, window, sky'"),
        ('```json\n{"keywords": ["cat", "window", "sky"]}\n```', "it is not JSON*"),
        ('["cat", "window", "sky"]', "it is not an object with the one field keywords: *"),
        ('{"keywords": ["cat", "window", "sky"], "mood": "calm"}', "it is not an object with the one field*"),
        ('{"keywords": "cat, window, sky"}', "keywords is not a list of strings: *"),
        ('{"keywords": ["cat", "window", 3]}', "keywords is not a list of strings: *"),
        (json.dumps({"keywords": [f"cat {n}" for n in range(51)]}), "keywords has 51 items, more than *"),
    ],
)
def test_an_answer_that_does_not_obey_the_schema_fails(
    answer: str, reason: str, run: Run, server: Scripted
) -> None:
    server.chat = answering(answer)
    result = run("--setup-structured", *ONE_KEYWORDS_TEST)
    result.assert_outcomes(failed=1, deselected=10)
    escaped = reason.replace("[", "[[]")
    result.stdout.fnmatch_lines(
        [f"schema: the server did not enforce the schema that it was sent: {escaped}"]
    )


def test_the_same_answer_passes_where_no_schema_was_sent(run: Run, server: Scripted) -> None:
    server.chat = answering('```json\n{"keywords": ["cat", "window", "sky"]}\n```')
    run(*ONE_KEYWORDS_TEST).assert_outcomes(passed=1, deselected=10)


def test_a_keyword_that_is_not_a_term_fails(run: Run, project: pytest.Pytester, server: Scripted) -> None:
    server.chat = answering(json.dumps({"keywords": ["cat", "window", "sofa"]}))
    result = run("--setup-structured", vocabulary(project), *ONE_KEYWORDS_TEST)
    result.stdout.fnmatch_lines(["schema: *'sofa' is not a term of the vocabulary: *"])


def test_an_answer_that_was_cut_is_reported_as_cut(run: Run, server: Scripted) -> None:
    server.chat = answering('{"keywords": ["cat", "win', finish_reason="length")
    result = run("--setup-structured", *ONE_KEYWORDS_TEST)
    result.stdout.fnmatch_lines(["truncated: *"])
    result.stdout.no_fnmatch_line("schema: *")


def test_reasoning_before_the_answer_is_not_part_of_it(run: Run, server: Scripted) -> None:
    server.chat = answering('<think>a cat</think>{"keywords": ["cat", "window", "sky"]}')
    run("--setup-structured", *ONE_KEYWORDS_TEST).assert_outcomes(passed=1, deselected=10)


def test_a_failed_check_is_in_the_results(run: Run, project: pytest.Pytester, server: Scripted) -> None:
    server.chat = answering("cat, window, sky")
    run("--setup-structured", "--record", "--record-failed")
    failed = [line for line in recorded_measurements(project.path) if line["stage"] == "keywords"]
    assert [failure["check"] for line in failed for failure in line["failures"]] == ["schema"] * 3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ('--setup-extra-body={"response_format": {"type": "json_object"}}',),
            "--setup-structured sends a schema of its own: leave 'response_format' out of --setup-extra-body",
        ),
        (
            ('--setup-extra-body={"grammar": "root ::= x"}',),
            "--setup-structured sends a schema of its own: leave 'grammar' out of --setup-extra-body",
        ),
        (
            ("--setup-tagger-command=python3 tag.py {images} {output}",),
            "--setup-structured: a tagger command makes its own requests, so that no schema can be added *",
        ),
    ],
)
def test_what_does_not_fit_together(arguments: tuple[str, ...], message: str, run: Run) -> None:
    result = run("--setup-structured", *arguments)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"ERROR: {message}"])


def test_a_vocabulary_that_no_server_could_work_with(run: Run, project: pytest.Pytester) -> None:
    many = vocabulary(project, *(f"term {number}" for number in range(1001)))
    result = run("--setup-structured", many)
    result.stderr.fnmatch_lines(
        ["ERROR: --setup-structured: the vocabulary has 1001 terms, and a schema may list 1000: *"]
    )


def test_a_users_own_tagger_sends_no_schema(run: Run, project: pytest.Pytester) -> None:
    project.makeconftest("class Own:\n def tag(self, image): ...\ndef pytest_setups_tagger(): return Own()")
    result = run("--setup-structured")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(
        ["ERROR: --setup-structured: the tagger that pytest_setups_tagger returned makes its own requests*"]
    )


def test_a_setup_is_verified_again_with_its_schema(
    run: Run, project: pytest.Pytester, server: Scripted
) -> None:
    run("--setup-structured", "--record", "--setup-slug=first")
    server.asks.clear()
    project.runpytest("--setup-from=first", "--record", "--setup-slug=second").assert_outcomes(passed=11)
    assert formats(server)["keywords"] == OPENAI_FORM
    first, second = map(Entry.from_document, entries(project.path).values())
    assert first.fingerprint() == second.fingerprint()


def test_a_setup_whose_schema_had_a_vocabulary_needs_it_again(
    run: Run, project: pytest.Pytester, server: Scripted
) -> None:
    server.chat = answering(json.dumps({"keywords": ["cat", "window", "Eiffel Tower"]}))
    given = vocabulary(project)
    run("--setup-structured", given, "--record", "--record-failed", "--setup-slug=first")
    again = ("--setup-from=first", *ONE_KEYWORDS_TEST)
    result = project.runpytest(*again)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(
        ["ERROR: --setup-from: the recorded run sent a vocabulary of 7 terms as a schema: add *"]
    )
    project.runpytest(*again, given).assert_outcomes(passed=1, deselected=10)
    assert "enum" in json.dumps(server.asks[-1].body)
    project.runpytest(*again, "--no-setup-structured").assert_outcomes(passed=1, deselected=10)
    assert "response_format" not in server.asks[-1].body


def test_llama_cpp_with_the_toy_model_keeps_to_the_vocabulary(project: pytest.Pytester) -> None:
    terms = ("circle", "sky", "night sky", "cat", "portrait", "abstract", "minimal", "animal", "Café")
    with llama_cpp() as url:
        arguments = ("--setup-base-url", url, "--setup-structured", vocabulary(project, *terms))
        # The toy model fills the list, in tokens of one or two letters.
        project.runpytest(*arguments, "--record-failed", "--setup-max-new-tokens=1024")
    measured = [line for line in recorded_measurements(project.path) if line["stage"] == "keywords"]
    assert len(measured) == 3
    assert not [failure for line in measured for failure in line["failures"] if failure["check"] == "schema"]
    keywords = {word for line in measured for word in line["keywords"]}
    assert keywords
    assert keywords <= set(terms)
