"""The tagger of a user's Python object: one method a stage, or one for all three."""

from __future__ import annotations

import threading
import time
import traceback
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeGuard, runtime_checkable

from pytest_setups.api.reply import MAX_TEXT, Reply
from pytest_setups.redaction import one_line, printable, redact
from pytest_setups.registry.entry import Stage
from pytest_setups.tagging.keywords import as_keywords, parse_keywords
from pytest_setups.tagging.outputs import Output, TaggerError, Tagging
from pytest_setups.tagging.reasoning import without_reasoning

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_setups.tagging.images import Sample
    from pytest_setups.tagging.keywords import Keywords

STAGE_NAMES: Final = tuple(stage.value for stage in Stage)
MAX_ERROR_TEXT: Final = 300


@runtime_checkable
class StageTagger(Protocol):
    """A tagger with one method a stage; an exception fails the test with its message.

    With ``--setup-concurrency N`` it is called from N threads at once, each with another image.
    """

    def caption(self, image: Sample, /) -> str:
        """The caption of an image."""

    def keywords(self, image: Sample, /) -> Sequence[str] | str:
        """The keywords of an image: a sequence of texts, or the text that a model answered."""

    def description(self, image: Sample, caption: str, keywords: Sequence[str], /) -> str:
        """The description of an image, given its caption and all its keywords."""


@runtime_checkable
class ImageTagger(Protocol):
    """A tagger with one method for all three stages; an exception fails the image's three tests.

    With ``--setup-concurrency N`` it is called from N threads at once, each with another image.
    """

    def tag(self, image: Sample, /) -> Tagging | Mapping[str, Any]:
        """All outputs of an image: a Tagging, or a mapping with caption, keywords and description."""


class TaggerObjectError(TypeError):
    """An object that is not a tagger; the message names the methods that it needs."""


class PythonStageTagger:
    """Calls a user's tagger with one method a stage; a latency is the seconds that its method took."""

    chained = True

    def __init__(self, user_tagger: StageTagger, *, secrets: tuple[str | None, ...] = ()) -> None:
        self.user_tagger = user_tagger
        self._secrets = secrets

    def tag(self, stage: Stage, sample: Sample, caption: str, keywords: Sequence[str]) -> Output:
        """The output that the stage's method returns.

        Raises:
            TaggerError: the method raised, or returned a value of the wrong type.
        """
        method = getattr(self.user_tagger, stage.value)
        # A list of its own: the user's code may change it.
        context = (caption, list(keywords)) if stage is Stage.DESCRIPTION else ()
        # Two clocks: a date for the results file, and one that never jumps for the latency.
        started_at, start = time.time(), time.perf_counter()
        value = _call(self._secrets, method, sample, *context)
        latency_s = time.perf_counter() - start
        text, parsed = _text_and_keywords(stage, value, f"{stage.value}()")
        reply = Reply(
            text=text,
            reasoning="",
            finish_reason=None,
            started_at=started_at,
            latency_s=latency_s,
            ttft_s=None,
            prompt_tokens=None,
            output_tokens=None,
        )
        return Output(stage, text, parsed, reply, caption=caption if context else "")


class PythonImageTagger:
    """Calls a user's tagger with one method for all stages: once for the three tests of an image.

    ``at_once`` is the number of images that are tagged at the same time.
    """

    chained = False

    def __init__(
        self, user_tagger: ImageTagger, *, at_once: int = 1, secrets: tuple[str | None, ...] = ()
    ) -> None:
        self.user_tagger = user_tagger
        self._secrets = secrets
        self._at_once = at_once
        self._lock = threading.Lock()
        self._unused: OrderedDict[Sample, dict[Stage, Output | TaggerError]] = OrderedDict()

    def tag(self, stage: Stage, sample: Sample, caption: str, keywords: Sequence[str]) -> Output:
        """The output for this stage; a stage that is taken a second time is made anew.

        Raises:
            TaggerError: the method raised, or returned a value of the wrong type.
        """
        outputs = self._take(sample)
        if stage not in outputs:
            outputs = self._make_outputs(sample)
        output = outputs.pop(stage)
        self._keep(sample, outputs)
        if isinstance(output, TaggerError):
            raise output
        return output

    def _take(self, sample: Sample) -> dict[Stage, Output | TaggerError]:
        with self._lock:
            return self._unused.pop(sample, {})

    def _keep(self, sample: Sample, outputs: dict[Stage, Output | TaggerError]) -> None:
        """Keep the outputs that other tests will take."""
        with self._lock:
            if outputs:
                self._unused[sample] = outputs
            # With -k some outputs are never taken. Twice as many images as are tagged at once is more
            # than any later test can ask for, and memory does not increase with the number of images.
            if len(self._unused) > 2 * self._at_once:
                self._unused.popitem(last=False)

    def _make_outputs(self, sample: Sample) -> dict[Stage, Output | TaggerError]:
        start = time.perf_counter()
        try:
            value = _call(self._secrets, self.user_tagger.tag, sample)
            seconds = time.perf_counter() - start
            values = _values_by_stage(value)
        except TaggerError as error:
            return dict.fromkeys(Stage, error)
        caption = values.get("caption")
        return {stage: _output(stage, values.get(stage.value), caption, seconds) for stage in Stage}


PythonTagger = PythonStageTagger | PythonImageTagger


def wrap_python_tagger(
    user_tagger: object, *, at_once: int, secrets: tuple[str | None, ...] = ()
) -> PythonTagger:
    """The tagger that calls a user's object.

    Raises:
        TaggerObjectError: it has neither a method for each stage nor one for all.
    """
    # A runtime-checkable protocol only looks whether the attributes exist, not whether they are methods.
    if isinstance(user_tagger, ImageTagger) and callable(user_tagger.tag):
        return PythonImageTagger(user_tagger, at_once=at_once, secrets=secrets)
    if isinstance(user_tagger, StageTagger) and all(
        callable(getattr(user_tagger, name)) for name in STAGE_NAMES
    ):
        return PythonStageTagger(user_tagger, secrets=secrets)
    raise TaggerObjectError(
        f"{type(user_tagger).__name__} is not a tagger: it needs tag(image), or caption(image), "
        "keywords(image) and description(image, caption, keywords)"
    )


def describe_error(error: Exception, secrets: tuple[str | None, ...] = ()) -> str:
    """What a user's code raised, on one line, with the last line of the user's own file in the traceback."""
    message = one_line(redact(str(error), *secrets), MAX_ERROR_TEXT)
    description = f"{type(error).__name__}: {message}" if message else type(error).__name__
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if not _is_ours(frame.filename)]
    if not frames:
        return description
    # The first file is the user's hook or tagger; below it may come libraries that the user did not write.
    last = [frame for frame in frames if frame.filename == frames[0].filename][-1]
    return f"{description} ({Path(last.filename).name}:{last.lineno} in {last.name})"


def _is_ours(filename: str) -> bool:
    # pluggy stands between this package and the user's hook.
    return Path(__file__).parents[1] in Path(filename).parents or "pluggy" in Path(filename).parts


def _call(secrets: tuple[str | None, ...], method: Callable[..., object], *arguments: object) -> object:
    try:
        return method(*arguments)
    except Exception as error:
        raise TaggerError(describe_error(error, secrets)) from None


def _values_by_stage(value: object) -> Mapping[str, Any]:
    if isinstance(value, Tagging):
        return {name: getattr(value, name) for name in STAGE_NAMES}
    if isinstance(value, Mapping):
        return value
    expected = f"a Tagging or a mapping with {', '.join(STAGE_NAMES)}"
    raise TaggerError(f"tag() returned {type(value).__name__}: expected {expected}")


def _output(stage: Stage, value: object, caption: object, seconds: float) -> Output | TaggerError:
    try:
        text, parsed = _text_and_keywords(stage, value, f"the {stage.value} of tag()")
    except TaggerError as error:
        return error
    context = caption if stage is Stage.DESCRIPTION and isinstance(caption, str) else ""
    return Output(stage, text, parsed, caption=context, image_s=seconds)


def _text_and_keywords(stage: Stage, value: object, source: str) -> tuple[str, Keywords | None]:
    """The text and the keywords in a value that a user's method, named ``source``, returned."""
    # A string first: it is a sequence of strings too.
    if isinstance(value, str):
        text = printable(value, MAX_TEXT)
        return text, parse_keywords(without_reasoning(text)) if stage is Stage.KEYWORDS else None
    if stage is Stage.KEYWORDS and _is_texts(value):
        parsed = as_keywords([printable(word) for word in value])
        return ", ".join(parsed.words), parsed
    expected = "a list of strings" if stage is Stage.KEYWORDS else "a string"
    raise TaggerError(f"{source} is {type(value).__name__}: expected {expected}")


def _is_texts(value: object) -> TypeGuard[Sequence[str]]:
    return isinstance(value, Sequence) and all(isinstance(word, str) for word in value)
