"""Pictures made ready before a load is timed, kept on disk so that memory does not grow with their number."""

from __future__ import annotations

import os
import secrets
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING

from pytest_setups.tagging.images import ImageError, PreparedImage
from pytest_setups.tagging.picture_variants import prepare_variant

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from pytest_setups.tagging.images import Sample


class PictureSpool:
    """Prepared pictures in a folder, each of them sent to the server for the first time.

    Args:
        folder: a folder for them alone.
        max_edge: the longest edge in pixels.
    """

    def __init__(self, folder: Path, max_edge: int) -> None:
        self._folder = folder
        self._max_edge = max_edge
        # New in each run: a server cannot have answered these pictures before.
        self._seed = secrets.token_hex(8)
        self._count = 0
        self._sizes: dict[Sample, tuple[int, int]] = {}

    def fill(self, samples: Sequence[Sample]) -> list[Sample]:
        """Prepare pictures in place of the earlier ones; one that cannot be prepared is left out."""
        for sample in self._sizes:
            self._path(sample).unlink()
        self._sizes.clear()
        numbered = [replace(sample, nth=self._count + number) for number, sample in enumerate(samples, 1)]
        self._count += len(samples)
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            try:
                return [sample for sample in pool.map(self._prepare, numbered) if sample is not None]
            except BaseException:  # Ctrl-C
                pool.shutdown(wait=False, cancel_futures=True)
                raise

    def read(self, sample: Sample) -> PreparedImage:
        """A picture that is ready."""
        return PreparedImage(self._path(sample).read_bytes(), *self._sizes[sample])

    def _prepare(self, sample: Sample) -> Sample | None:
        try:
            picture = prepare_variant(sample.path, self._max_edge, f"{self._seed} {sample.nth}")
        except ImageError:  # the picture's own test says so
            return None
        self._path(sample).write_bytes(picture.base64)
        self._sizes[sample] = picture.width, picture.height
        return sample

    def _path(self, sample: Sample) -> Path:
        return self._folder / str(sample.nth)
