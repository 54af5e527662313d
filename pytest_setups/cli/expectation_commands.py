"""`expect`: a draft of an expectations file."""

from pathlib import Path
from typing import Annotated

import typer

from pytest_setups.cli.output import USAGE_ERROR, count, print_text, stop, warn
from pytest_setups.cli.parameters import DEFAULT_REGISTRY, RegistryOption, open_registry


def expect(
    images: Annotated[list[Path], typer.Argument(metavar="IMAGES", help="Pictures or folders of them.")],
    *,
    slug: Annotated[
        str, typer.Option("--from", metavar="SLUG", help="Name of the entry whose keywords are used.")
    ],
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE", help="Write it to this file, which must not exist."),
    ] = None,
    registry: RegistryOption = DEFAULT_REGISTRY,
) -> None:
    """Draft an expectations file from an entry's keywords, for a person to edit.

    Each picture gets up to three groups of words that its outputs must have, with its caption as a comment.
    """
    # Pillow and the stemmer: no other command needs them.
    from pytest_setups.checks.expectations_draft import common_keywords, draft, outputs_by_image
    from pytest_setups.registry.measurement import read_measurements
    from pytest_setups.tagging.images import ImageError, file_sha256, find_samples

    entry = open_registry(registry).find(slug)
    if entry.verification.results is None:
        stop(f"{slug} has no results file, which holds the keywords: choose another entry", USAGE_ERROR)
    recorded = outputs_by_image(read_measurements(registry, entry.verification.results))
    names = {image.sha256: image.name for image in entry.verification.images or () if image.sha256}
    try:
        samples = find_samples(images)
        pictures = {
            sample.name: recorded.get(names.get(file_sha256(sample.path), sample.name)) for sample in samples
        }
    except ImageError as error:
        stop(error, USAGE_ERROR)
    known = [outputs for outputs in pictures.values() if outputs is not None]
    if not known:
        stop(f"{slug} has none of these pictures: it has {', '.join(sorted(recorded)[:5])}", USAGE_ERROR)
    text = draft(slug, pictures, common_keywords(known))
    if output is None:
        typer.echo(text, nl=False)
    else:
        _write(output, text)
        print_text(f"expectations: {output}: {count(len(known), 'picture')}; look at each before you use it")
    for name in sorted(name for name, outputs in pictures.items() if outputs is None):
        warn(f"{name}: {slug} has no such picture")


def _write(path: Path, text: str) -> None:
    from pytest_setups.registry.durable_files import write_exclusive

    try:
        is_written = write_exclusive(path, text.encode())
    except OSError as error:
        stop(f"{path} cannot be written: {error.strerror}", USAGE_ERROR)
    if not is_written:
        stop(f"{path} exists and is not overwritten: name another file with -o", USAGE_ERROR)
