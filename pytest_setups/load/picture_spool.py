"""Pictures made ready before a load is timed; on disk, so that memory does not increase with their number."""

from __future__ import annotations

import secrets
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from pytest_setups.tagging.images import ImageError, PreparedImage
from pytest_setups.tagging.picture_variants import prepare_variant
from pytest_setups.tagging.preparation import processors

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from pytest_setups.tagging.images import Sample


@dataclass(frozen=True, slots=True)
class SpooledPictures:
    """The pictures in a folder that holds nothing else, by the number of their sample."""

    folder: Path

    def read(self, sample: Sample) -> PreparedImage:
        """A picture that is ready."""
        size, _, data = self._path(sample).read_bytes().partition(b"\n")
        width, height = map(int, size.split())
        return PreparedImage(data, width, height)

    def write(self, sample: Sample, picture: PreparedImage) -> None:
        """Keep a picture."""
        size = f"{picture.width} {picture.height}\n".encode()
        self._path(sample).write_bytes(size + picture.base64)

    def clear(self) -> None:
        """Remove all of them."""
        for path in self.folder.iterdir():
            path.unlink()

    def _path(self, sample: Sample) -> Path:
        return self.folder / str(sample.nth)


class PictureSpool:
    """Makes pictures ready, each to be sent to the server for the first time."""

    def __init__(self, pictures: SpooledPictures, max_edge: int) -> None:
        self._pictures = pictures
        self._max_edge = max_edge
        # New in each run: a server cannot have answered these pictures before.
        self._seed = secrets.token_hex(8)
        self._count = 0

    def fill(self, samples: Sequence[Sample]) -> list[Sample]:
        """Prepare pictures in place of the earlier ones; one that cannot be prepared is left out."""
        self._pictures.clear()
        numbered = [replace(sample, nth=self._count + number) for number, sample in enumerate(samples, 1)]
        self._count += len(samples)
        with ThreadPoolExecutor(processors()) as pool:
            try:
                return [sample for sample in pool.map(self._prepare, numbered) if sample is not None]
            except BaseException:  # Ctrl-C
                pool.shutdown(wait=False, cancel_futures=True)
                raise

    def _prepare(self, sample: Sample) -> Sample | None:
        try:
            picture = prepare_variant(sample.path, self._max_edge, f"{self._seed} {sample.nth}")
        except ImageError:  # the picture's own test says so
            return None
        self._pictures.write(sample, picture)
        return sample
