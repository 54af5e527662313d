"""How many pictures the server knew before a run asked about them: times are then those of a warm cache.

Within a run, each picture is sent once a stage, so that a server has most of it after the first. Only what it
had before the first request makes a run faster than the same run on a server that has just been started.
"""

from __future__ import annotations

from dataclasses import dataclass
from operator import itemgetter
from typing import TYPE_CHECKING

from pytest_setups.registry.entry import Stage

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pytest_setups.registry.load_records import ServerCountersRecord
    from pytest_setups.registry.measurement import Measurement


@dataclass(frozen=True, slots=True)
class SentPictures:
    """The pictures of a run, and what their first requests show.

    Attributes:
        first: by picture, the measurement of the first request about it.
        text_tokens: the prompt tokens of the same question without a picture, None where that is not known.
    """

    first: Mapping[str, Measurement]
    text_tokens: int | None

    @classmethod
    def of(
        cls, measurements: Sequence[Measurement], digests: Mapping[str, str | None], text_tokens: int | None
    ) -> SentPictures:
        """The pictures that were measured; those with the same digest differ only by name."""
        first: dict[str, Measurement] = {}
        asked = [(m.started_utc, m) for m in measurements if m.started_utc is not None]
        for _, measured in sorted(asked, key=itemgetter(0)):
            first.setdefault(digests.get(measured.image) or measured.image, measured)
        return cls(first, text_tokens)

    def cached(self, counters: ServerCountersRecord) -> int | None:
        """How many of them the server had, at least; None where nothing shows it."""
        if not self.first:
            return None
        replied = self._by_replies()
        if replied is not None:
            return replied
        counted = [
            count for count in (self._by_pictures(counters), self._by_tokens(counters)) if count is not None
        ]
        return max(counted, default=None)

    def _by_replies(self) -> int | None:
        """By replies that say how much was cached: more than all of the text is a part of the picture."""
        counted = [
            (m.cached_tokens, m.prompt_tokens)
            for m in self.first.values()
            if m.cached_tokens is not None and m.prompt_tokens and m.attempt == 1
        ]
        if not counted:
            return None
        return sum(cached > (self.text_tokens or prompt / 2) for cached, prompt in counted)

    def _by_pictures(self, counters: ServerCountersRecord) -> int | None:
        """A cache that was empty misses each picture once."""
        queries, hits = counters.multimodal_cache_queries, counters.multimodal_cache_hits
        if not queries or hits is None:
            return None
        return max(0, len(self.first) - (queries - hits))

    def _by_tokens(self, counters: ServerCountersRecord) -> int | None:
        """A cache that was empty computes the tokens of each picture once."""
        queries, hits = counters.prefix_cache_queries, counters.prefix_cache_hits
        # The question without a picture was the one for a caption.
        captions = [m for m in self.first.values() if m.stage is Stage.CAPTION]
        prompts = [m.prompt_tokens for m in captions if m.prompt_tokens]
        if not queries or hits is None or self.text_tokens is None or len(prompts) < len(self.first):
            return None
        needed = sum(max(0, prompt - self.text_tokens) for prompt in prompts)
        if not needed:
            return None
        return int(max(0.0, 1 - (queries - hits) / needed) * len(self.first))
