from __future__ import annotations

import hashlib
import json
import random
import re
from collections.abc import Callable, Sequence
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import pytest

from pytest_setups.registry.entry import Entry, Stage
from pytest_setups.registry.measurement import Measurement
from pytest_setups.registry.store import Registry
from pytest_setups.regression.bounds import parse_bound
from pytest_setups.regression.comparison import Comparison, compare
from pytest_setups.regression.findings import Finding
from pytest_setups.regression.similarity import keyword_overlap, word_similarity
from pytest_setups.regression.statistics import UNKNOWN, estimate_uncertainty, t_quantile
from tests.conftest import Command
from tests.recorders import setup

IMAGES = tuple(f"{number:02}.jpg" for number in range(13))


def measured(
    latency: Callable[[int, int], float],
    samples: int = 1,
    stages: Sequence[Stage] = tuple(Stage),
    **fields: Any,
) -> list[Measurement]:
    """Measurements of thirteen images; ``latency`` is given an image's number and the sample."""
    return [
        Measurement.model_validate({
            "image": image, "stage": stage, "sample": sample, "passed": True, "text": "A boat rests.",
            "keywords": ("boat", "sea") if stage == "keywords" else None,
            "latency_s": latency(number, sample), "output_tokens": 10, **fields,
        })
        for number, image in enumerate(IMAGES)
        for sample in range(1, samples + 1)
        for stage in stages
    ]  # fmt: skip


def findings(comparison: Comparison) -> dict[str, Finding | None]:
    return {row.name: row.finding for row in comparison.rows if row.judged}


# Quantiles computed with mpmath 1.3 to 30 digits, by bisection of the regularised incomplete beta function.
# Those of whole degrees agree with table 26.10 of Abramowitz and Stegun, Handbook of Mathematical Functions.
EXACT_QUANTILES = {
    0.95: {
        1: 6.3138, 1.1: 5.4238, 1.25: 4.5480, 1.5: 3.7052, 1.75: 3.2253, 1.9: 3.0275, 2: 2.9200, 2.25: 2.7103,
        2.5: 2.5582, 3: 2.3534, 3.5: 2.2224, 4: 2.1318, 5: 2.0150, 7.5: 1.8757, 10: 1.8125, 12: 1.7823,
        30: 1.6973, 1000: 1.6464,
    },
    0.99: {
        1: 31.8205, 1.1: 23.7060, 1.25: 16.7951, 1.5: 11.1973, 1.75: 8.4938, 1.9: 7.4859, 2: 6.9646,
        2.25: 6.0036, 2.5: 5.3531, 3: 4.5407, 3.5: 4.0607, 4: 3.7469, 5: 3.3649, 7.5: 2.9431, 10: 2.7638,
        12: 2.6810, 30: 2.4573, 1000: 2.3301,
    },
}  # fmt: skip


@pytest.mark.parametrize(
    ("probability", "degrees", "exact"),
    [(level, *row) for level, table in EXACT_QUANTILES.items() for row in table.items()],
)
def test_a_quantile_of_student_is_never_too_small(probability: float, degrees: float, exact: float) -> None:
    quantile = t_quantile(probability, degrees)

    assert 0.9985 * exact <= quantile <= 1.04 * exact
    if degrees in {1, 2, 4}:
        assert quantile == pytest.approx(exact, abs=1e-4)
    elif degrees < 4:
        assert quantile > exact


def test_two_images_must_differ_by_more_than_the_true_quantile() -> None:
    cells = {("a.jpg", 1): 0.0, ("b.jpg", 1): 2.0}

    of_two = estimate_uncertainty(cells, lambda drawn: sum(drawn) / len(drawn))

    assert of_two.degrees_of_freedom == 1
    assert of_two.margin == pytest.approx(31.82 * of_two.standard_error, rel=1e-3)


def test_the_spread_of_a_mean_is_what_theory_says() -> None:
    chance = random.Random(1)
    cells = {(f"{number}.jpg", 1): chance.gauss(0.0, 1.0) for number in range(200)}
    values = list(cells.values())
    mean = sum(values) / len(values)
    deviation = (sum((value - mean) ** 2 for value in values) / (len(values) - 1)) ** 0.5

    uncertainty = estimate_uncertainty(cells, lambda drawn: sum(drawn) / len(drawn))

    assert uncertainty.standard_error == pytest.approx(deviation / 200**0.5, rel=0.1)
    assert uncertainty.degrees_of_freedom == pytest.approx(199)


def test_what_all_images_of_a_sample_share_is_not_averaged_away() -> None:
    shared = {(f"{n}.jpg", sample): float(sample) for n in range(50) for sample in range(1, 11)}
    uncertainty = estimate_uncertainty(shared, lambda drawn: sum(drawn) / len(drawn), drift=None)
    assert uncertainty.standard_error == pytest.approx(3.03, rel=0.01)


def test_with_few_samples_a_drift_is_assumed() -> None:
    cells = {(f"{n}.jpg", 1): 0.2 + 0.4 * (n % 2) for n in range(14)}

    timed, untimed = (
        estimate_uncertainty(cells, lambda drawn: sum(drawn) / len(drawn), drift=drift)
        for drift in (None, 0.0)
    )

    assert timed.standard_error == pytest.approx((untimed.standard_error**2 + 0.15**2) ** 0.5)


def test_an_uneven_slowdown_is_proved() -> None:
    before = measured(lambda *_: 1.0, samples=5)
    after = measured(lambda number, _: 2.0 if number % 2 else 1.3, samples=5)

    comparison = compare(before, after, [parse_bound("min:10%"), parse_bound("mean:10%")])

    assert set(findings(comparison).values()) == {Finding.BREACH}


def test_few_other_words_break_the_bound_on_texts() -> None:
    before = measured(lambda *_: 1.0)
    words = [("boat", "sea"), ("boat", "sand"), ("hill", "sand")]
    after = [
        measurement.model_copy(update={"keywords": words[number % 3]})
        if measurement.keywords
        else measurement
        for number, measurement in enumerate(measured(lambda *_: 1.0, stages=(Stage.KEYWORDS,)))
    ]

    assert findings(compare(before, after, [parse_bound("keywords_overlap:0.9")])) == {
        "keywords_overlap": Finding.BREACH
    }


def test_the_noise_of_one_image_is_unknown() -> None:
    assert estimate_uncertainty({("a", 1): 1.0, ("a", 2): 1.0}, sum, drift=None) == UNKNOWN


@pytest.mark.parametrize(
    ("bound", "before", "limit"),
    [
        ("caption.p50:20%", 2.0, 2.4),
        ("caption.p50:300ms", 2.0, 2.3),
        ("caption.p50:20%,0.3s", 2.0, 2.4),
        ("caption.p50:20%, 0.5s", 2.0, 2.5),
        ("caption.tokens_per_s:-15%", 40.0, 34.0),
        ("caption.tokens_per_s:-15%,-10", 40.0, 30.0),
        ("caption.output_tokens:5", 40.0, 45.0),
        ("keywords_overlap:0.6", 1.0, 0.6),
        ("keywords_overlap:60%", 1.0, 0.6),
    ],
)
def test_a_bound_allows_so_much(bound: str, before: float, limit: float) -> None:
    assert parse_bound(bound).limit(before) == pytest.approx(limit)


def test_a_bound_without_a_stage_judges_every_stage_and_the_image() -> None:
    assert parse_bound("p50:20%").names == ("caption.p50", "keywords.p50", "description.p50", "image.p50")
    assert parse_bound("ttft:20%").names == ("caption.ttft", "keywords.ttft", "description.ttft")
    assert parse_bound("image.mean:20%").names == ("image.mean",)


def test_texts_are_compared_by_their_words() -> None:
    assert keyword_overlap(["Boat", "sea", "sky"], ["boat ", "sea", "sand"]) == 0.5
    assert keyword_overlap([], []) == 1.0
    assert word_similarity("A red boat rests.", "a RED boat rests") == 1.0
    assert word_similarity("A red boat rests.", "A red car rests.") == 0.75
    assert word_similarity("A boat", "Un bateau") == 0.0
    assert word_similarity("一艘木船停在河上", "一艘木船停在湖上") == pytest.approx(7 / 8)


def test_a_proved_rise_breaks_a_bound_and_an_unsure_one_is_not_proved() -> None:
    before = measured(lambda number, _: 1.0 + number / 100)
    slower = measured(lambda number, _: 2.0 * (1.0 + number / 100))
    unsure = measured(lambda number, _: (0.4, 2.2, 1.6)[number % 3])

    assert findings(compare(before, slower, [parse_bound("caption.p50:20%")])) == {
        "caption.p50": Finding.BREACH
    }
    assert findings(compare(before, slower, [parse_bound("caption.p50:120%")])) == {"caption.p50": Finding.OK}
    assert findings(compare(before, unsure, [parse_bound("caption.p50:20%")])) == {
        "caption.p50": Finding.NOT_PROVED
    }


def test_a_slow_minute_is_not_a_slow_server() -> None:
    chance = random.Random(2)
    minutes = [chance.uniform(1.0, 1.5) for _ in range(10)]
    before = measured(lambda *_: 1.0, samples=5)
    after = measured(lambda _, sample: minutes[sample], samples=5)

    comparison = compare(before, after, [parse_bound("mean:5%")])

    assert set(findings(comparison).values()) == {Finding.NOT_PROVED}


def test_the_fastest_sample_of_each_image_is_not_moved_by_a_slow_minute() -> None:
    before = measured(lambda *_: 1.0, samples=10)
    disturbed = measured(lambda number, sample: 3.0 if (number + sample) % 5 else 1.01, samples=10)
    slower = measured(lambda number, sample: 3.0 if (number + sample) % 5 else 1.2, samples=10)

    assert set(findings(compare(before, disturbed, [parse_bound("min:5%")])).values()) == {Finding.OK}
    assert set(findings(compare(before, slower, [parse_bound("min:5%")])).values()) == {Finding.BREACH}


def test_times_that_do_not_compare_are_not_judged() -> None:
    same = measured(lambda *_: 1.0)

    comparison = compare(same, same, [parse_bound("p50:20%"), parse_bound("output_tokens:20%")], untimed="x")

    assert findings(comparison)["caption.p50"] is Finding.NOT_COMPARABLE
    assert findings(comparison)["caption.output_tokens"] is Finding.OK
    assert "caption.p50" in comparison.broken


def test_only_samples_that_both_have_are_compared() -> None:
    comparison = compare(measured(lambda *_: 1.0), measured(lambda _, sample: float(sample), samples=3))
    assert (comparison.images, comparison.samples) == (13, 1)
    assert next(row for row in comparison.rows if row.name == "caption.mean").change == 0.0


@pytest.fixture
def registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Registry:
    monkeypatch.chdir(tmp_path)
    return Registry(tmp_path / "registry")


def record(registry: Registry, slug: str, measurements: Sequence[Measurement], **changes: Any) -> None:
    document = setup(**changes)
    document["verification"]["images_processed"] = len(IMAGES)
    document["verification"]["images"] = [{"name": name, "sha256": "0" * 64} for name in IMAGES]
    results = "".join(f"{measurement.model_dump_json()}\n" for measurement in measurements).encode()
    registry.add(Entry.from_document(document), results=results, slug=slug, exact=True)


def test_two_entries_are_compared_without_a_run(registry: Registry, setups: Command) -> None:
    record(registry, "old", measured(lambda *_: 1.0))
    record(registry, "new", measured(lambda number, _: 2.0 + number / 1000), server={"version": "0.12.0"})

    good = setups("compare", "old", "new", "--fail-if", "p50:150%", "--fail-if", "keywords_overlap:0.9")
    bad = setups("compare", "old", "registry/entries/new.json", "--fail-if", "caption.p50:20%")

    assert good.code == 0
    assert "compared with old (2026-01-01, vllm 0.11.0): 13 images" in good.out
    assert "changed: server.version: 0.11.0 -> 0.12.0" in good.out
    assert bad.code == 1
    assert "regression: caption.p50 1.000 -> 2.006 s (+100.6%, +" in bad.out


def test_of_one_image_the_range_is_not_known() -> None:
    single = [measurement for measurement in measured(lambda *_: 1.0) if measurement.image == IMAGES[0]]

    comparison = compare(single, single)

    assert {row.high for row in comparison.rows if row.unit == "s"} == {None}


def test_a_comparison_as_json(registry: Registry, setups: Command) -> None:
    record(registry, "old", measured(lambda *_: 1.0))
    record(registry, "new", measured(lambda *_: 2.0))

    done = setups("compare", "old", "new", "--fail-if", "caption.p50:20%", "--json")

    assert done.code == 1
    assert done.json["broken"] == ["caption.p50"]
    (row,) = [row for row in done.json["rows"] if row["name"] == "caption.p50"]
    assert (row["before"], row["after"], row["unit"]) == (1.0, 2.0, "s")
    assert row["change"] == pytest.approx(1.0)
    assert row["judged"] == [{"bound": "caption.p50:20%", "finding": "breach", "floor": False}]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ("old", "warm"),
            "not comparable with old: server.flags.max-model-len (4096 -> 8192) (the command of*",
        ),
        (("old", "nwe"), "no entry 'nwe' in registry; the nearest: new"),
        (("old", "new", "--fail-if", "x:1"), "*unknown figure 'x'*"),
        (("hand", "new"), "hand cannot be a baseline: it names no results file*"),
    ],
)
def test_what_does_not_compare_ends_with_2(
    registry: Registry,
    setups: Command,
    arguments: tuple[str, ...],
    message: str,
) -> None:
    record(registry, "old", measured(lambda *_: 1.0))
    record(registry, "new", measured(lambda *_: 1.0))
    record(registry, "warm", measured(lambda *_: 1.0), server={"flags": {"max-model-len": 8192}})
    registry.entry_path("hand").write_text(json.dumps(setup()))

    done = setups("compare", *arguments)

    assert done.code == 2
    assert fnmatch(done.err.strip(), f"*{message}*")


def test_differing_flags_may_be_allowed(registry: Registry, setups: Command) -> None:
    record(registry, "old", measured(lambda *_: 1.0))
    record(registry, "warm", measured(lambda *_: 1.0), server={"flags": {"max-model-len": 8192}})

    assert setups("compare", "old", "warm", "--allow", "server.flags").code == 0


def test_no_flags_and_an_absent_part_are_equal(registry: Registry, setups: Command) -> None:
    record(registry, "old", measured(lambda *_: 1.0), server={"flags": {}})
    record(registry, "new", measured(lambda *_: 1.0), server={"flags": {"port": 1}})
    assert setups("compare", "old", "new").code == 0


def test_a_failed_attempt_cannot_be_a_baseline(registry: Registry, setups: Command) -> None:
    record(
        registry, "bad", measured(lambda *_: 1.0), verification={"status": "failed", "failure_reason": "x"}
    )
    record(registry, "new", measured(lambda *_: 1.0))

    assert "verification.status (failed -> success)" in setups("compare", "bad", "new").err
    later = setups("compare", "new", "bad")
    assert later.code == 1
    assert "bad failed: x" in later.out


def test_answers_that_are_missing_are_not_compared(registry: Registry, setups: Command) -> None:
    record(registry, "old", measured(lambda *_: 1.0))
    record(registry, "less", measured(lambda *_: 1.0, stages=(Stage.CAPTION, Stage.KEYWORDS)))
    record(registry, "none", [])

    for name in ("less", "none"):
        done = setups("compare", "old", name)
        assert done.code == 2
        assert f"the results of {name} lack" in done.err


@pytest.mark.parametrize(
    "fault",
    [
        '"latency_s":NaN',
        '"latency_s":-1.0',
        '"latency_s":1e308',
        '"output_tokens":1' + "0" * 400,
        '"sample":0',
    ],
)
def test_figures_that_cannot_be_are_refused(registry: Registry, setups: Command, fault: str) -> None:
    record(registry, "old", measured(lambda *_: 1.0))
    good = measured(lambda *_: 1.0)
    lines = [measurement.model_dump_json() for measurement in good]
    name = fault.partition(":")[0]
    lines[0] = re.sub(rf"{name}:[^,]*", fault, lines[0])
    entry = registry.load("old")
    registry.add(entry, results="\n".join([*lines, ""]).encode(), slug="odd", exact=True)

    done = setups("compare", "old", "odd")

    assert done.code == 2
    assert "odd cannot be a baseline: results/odd.jsonl does not hold measurements" in done.err


def test_an_answer_in_no_time_is_left_out(registry: Registry, setups: Command) -> None:
    record(registry, "old", measured(lambda *_: 0.0))

    done = setups("compare", "old", "old")

    assert done.code == 0
    assert "mean" not in done.out


def test_secrets_in_entries_written_by_hand_are_not_printed(registry: Registry, setups: Command) -> None:
    secret = {"flags": {"api-key": "hunter2secret", "x": 1}, "variables": {"HF_TOKEN": "hunter2secret"}}
    record(registry, "old", measured(lambda *_: 1.0), server=secret)
    record(registry, "new", measured(lambda *_: 1.0), server={"flags": {"x": 1}})

    done = setups("compare", "old", "new")

    assert "hunter2" not in done.out + done.err


def test_a_home_of_an_unknown_user_is_reported(registry: Registry, setups: Command) -> None:
    registry.prepare()
    assert "~nosuchuser/x.json cannot be read" in setups("compare", "~nosuchuser/x.json", "x").err


def test_answers_that_were_changed_are_not_compared(registry: Registry, setups: Command) -> None:
    record(registry, "old", measured(lambda *_: 1.0))
    path = registry.results_path("old")
    path.write_bytes(path.read_bytes().replace(b"A boat", b"A goat"))
    assert hashlib.sha256(path.read_bytes()).hexdigest() not in registry.entry_path("old").read_text()

    done = setups("compare", "old", "old")

    assert done.code == 2
    assert "results/old.jsonl: checksum mismatch; restore the file" in done.err
