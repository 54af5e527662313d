"""A user's own Python tagger: one method a stage or one for all; its outputs are judged like any other."""

from __future__ import annotations

import threading
import time
import traceback
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol, runtime_checkable

from pytest_setups.api.reply import MAX_TEXT, Reply
from pytest_setups.redaction import one_line, printable, redact
from pytest_setups.registry.entry import Stage
from pytest_setups.tagging.keywords import as_keywords, parse_keywords
from pytest_setups.tagging.outputs import Output, TaggerError, Tagging, without_reasoning

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_setups.tagging.images import Sample
    from pytest_setups.tagging.keywords import Keywords

METHODS: Final = tuple(stage.value for stage in Stage)
MAX_TEXT_SHOWN: Final = 300


@runtime_checkable
class StageTagger(Protocol):
    """A tagger with one method a stage; an exception fails the test with its message.

    With ``--setup-concurrency N`` it is called from N threads at once, one image in each.
    """

    def caption(self, image: Sample, /) -> str:
        """The caption of an image."""

    def keywords(self, image: Sample, /) -> Sequence[str] | str:
        """The keywords of an image, one by one or as a model writes them."""

    def description(self, image: Sample, caption: str, keywords: Sequence[str], /) -> str:
        """The description of an image, given its caption and all its keywords."""


@runtime_checkable
class ImageTagger(Protocol):
    """A tagger with one method for all three stages; an exception fails the image's three tests.

    With ``--setup-concurrency N`` it is called from N threads at once, one image in each.
    """

    def tag(self, image: Sample, /) -> Tagging | Mapping[str, Any]:
        """All outputs of an image: a Tagging, or a mapping with caption, keywords and description."""


class TaggerObjectError(TypeError):
    """An object that is no tagger; the message says which methods it needs."""


class OwnStages:
    """Asks a tagger with one method a stage; a latency is the seconds of its call."""

    chained = True

    def __init__(self, own: StageTagger, *, secrets: tuple[str | None, ...] = ()) -> None:
        self.own = own
        self._secrets = secrets

    def tag(self, stage: Stage, sample: Sample, caption: str, keywords: Sequence[str]) -> Output:
        """What the stage's method returns."""
        given = (caption, list(keywords)) if stage is Stage.DESCRIPTION else ()
        started_at, start = time.time(), time.perf_counter()
        value = _call(self._secrets, getattr(self.own, stage.value), sample, *given)
        latency_s = time.perf_counter() - start
        text, found = _judgeable(stage, value, f"{stage.value}()")
        reply = Reply(text, "", None, started_at, latency_s, None, None, None)
        return Output(stage, text, found, reply, caption=given[0] if given else "")


class OwnImages:
    """Asks a tagger with one method for all stages, once for the three tests of an image."""

    chained = False

    def __init__(self, own: ImageTagger, *, at_once: int = 1, secrets: tuple[str | None, ...] = ()) -> None:
        self.own = own
        self._secrets = secrets
        self._at_once = at_once
        self._lock = threading.Lock()
        self._left: OrderedDict[Sample, dict[Stage, Output | TaggerError]] = OrderedDict()

    def tag(self, stage: Stage, sample: Sample, caption: str, keywords: Sequence[str]) -> Output:
        """What the method returned for this stage; a stage that is taken again is asked anew."""
        left = self._take(sample)
        if stage not in left:
            left = self._outputs(sample)
        output = left.pop(stage)
        self._keep(sample, left)
        if isinstance(output, TaggerError):
            raise output
        return output

    def _take(self, sample: Sample) -> dict[Stage, Output | TaggerError]:
        with self._lock:
            return self._left.pop(sample, {})

    def _keep(self, sample: Sample, left: dict[Stage, Output | TaggerError]) -> None:
        """Keep what other tests will take, of the images in work alone."""
        with self._lock:
            if left:
                self._left[sample] = left
            if len(self._left) > 2 * self._at_once:
                self._left.popitem(last=False)

    def _outputs(self, sample: Sample) -> dict[Stage, Output | TaggerError]:
        start = time.perf_counter()
        try:
            value = _call(self._secrets, self.own.tag, sample)
            seconds = time.perf_counter() - start
            values = _values(value)
        except TaggerError as error:
            return dict.fromkeys(Stage, error)
        caption = values.get("caption")
        return {stage: _output(stage, values.get(stage.value), caption, seconds) for stage in Stage}


def own_tagger(own: object, *, at_once: int, secrets: tuple[str | None, ...] = ()) -> OwnStages | OwnImages:
    """The tagger that a user's object is.

    Raises:
        TaggerObjectError: it has neither the methods for each stage nor the one for all.
    """
    if isinstance(own, ImageTagger) and callable(own.tag):
        return OwnImages(own, at_once=at_once, secrets=secrets)
    if isinstance(own, StageTagger) and all(callable(getattr(own, name)) for name in METHODS):
        return OwnStages(own, secrets=secrets)
    message = (
        f"{type(own).__name__} is no tagger: it needs tag(image), or caption(image), keywords(image) "
        "and description(image, caption, keywords)"
    )
    raise TaggerObjectError(message)


def told(error: Exception, secrets: tuple[str | None, ...] = ()) -> str:
    """What a user's code raised, on one line, and the last line of the user's own file that was reached."""
    words = one_line(redact(str(error), *secrets), MAX_TEXT_SHOWN)
    said = f"{type(error).__name__}: {words}" if words else type(error).__name__
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if not _ours(frame.filename)]
    if not frames:
        return said
    last = [frame for frame in frames if frame.filename == frames[0].filename][-1]
    return f"{said} ({Path(last.filename).name}:{last.lineno} in {last.name})"


def _ours(filename: str) -> bool:
    return Path(__file__).parents[1] in Path(filename).parents or "pluggy" in Path(filename).parts


def _call(secrets: tuple[str | None, ...], method: Callable[..., object], *arguments: object) -> object:
    try:
        return method(*arguments)
    except Exception as error:
        raise TaggerError(told(error, secrets)) from None


def _values(value: object) -> Mapping[str, Any]:
    if isinstance(value, Tagging):
        return {stage.value: getattr(value, stage.value) for stage in Stage}
    if isinstance(value, Mapping):
        return value
    expected = f"a Tagging or a mapping with {', '.join(METHODS)} is expected"
    message = f"tag() returned {type(value).__name__}: {expected}"
    raise TaggerError(message)


def _output(stage: Stage, value: object, caption: object, seconds: float) -> Output | TaggerError:
    try:
        text, found = _judgeable(stage, value, f"the {stage.value} of tag()")
    except TaggerError as error:
        return error
    said = caption if stage is Stage.DESCRIPTION and isinstance(caption, str) else ""
    return Output(stage, text, found, caption=said, image_s=seconds)


def _judgeable(stage: Stage, value: object, what: str) -> tuple[str, Keywords | None]:
    """The text and the keywords in what a user's method returned."""
    if isinstance(value, str):
        text = printable(value, MAX_TEXT)
        return text, parse_keywords(without_reasoning(text)) if stage is Stage.KEYWORDS else None
    if (
        stage is Stage.KEYWORDS
        and isinstance(value, Sequence)
        and all(isinstance(word, str) for word in value)
    ):
        found = as_keywords([printable(word) for word in value])
        return ", ".join(found.words), found
    expected = "a list of texts" if stage is Stage.KEYWORDS else "a text"
    message = f"{what} is {type(value).__name__}: {expected} is expected"
    raise TaggerError(message)
