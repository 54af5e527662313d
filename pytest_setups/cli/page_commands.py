"""`report` and `site`: entries as HTML. What draws them is imported only here, when a command runs."""

from pathlib import Path
from typing import Annotated, Final

import typer

from pytest_setups.cli.output import USAGE_ERROR, count, finish, print_text, stop, warn
from pytest_setups.cli.parameters import (
    DEFAULT_REGISTRY,
    ImagesOption,
    RegistryOption,
    SlugArgument,
    open_registry,
)
from pytest_setups.registry.timeline import setup_history

PROJECT_SAMPLES: Final = Path("sample_images")


def report(
    slug: SlugArgument,
    *,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="The file (default: SLUG.html).")
    ] = None,
    images: ImagesOption = None,
    registry: RegistryOption = DEFAULT_REGISTRY,
) -> None:
    """Write one entry as a self-contained HTML file."""
    from pytest_setups.report import html, pages

    store = open_registry(registry)
    entry, path = store.find(slug), output or Path(f"{slug}.html")
    history = setup_history(store, slug)
    data = pages.entry_data(store, slug, entry, pictures=_pictures(images), history=history)
    try:
        html.write_page(path, html.render_report(data))
    except html.ReportError as error:
        stop(error, USAGE_ERROR)
    print_text(f"report: {path}")


def site(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder to write it to.")],
    *,
    images: ImagesOption = None,
    registry: RegistryOption = DEFAULT_REGISTRY,
) -> None:
    """Write the whole registry as a static site: a table of entries, and a page for each.

    The exit code is 1 when an entry cannot be read and so has no page.
    """
    from pytest_setups.report import html, pages

    data = pages.site_data(open_registry(registry), _pictures(images))
    try:
        index = html.write_site(data, folder)
    except html.ReportError as error:
        stop(error, USAGE_ERROR)
    print_text(f"site: {index}: {count(len(data.pages), 'entry', 'entries')}")
    for slug, reason in data.unreadable.items():
        warn(f"entries/{slug}.json is left out: {reason}")
    finish(findings=data.unreadable)


def _pictures(images: list[Path] | None) -> dict[str, Path]:
    """Sample files by name: those given, else the project's, else the package's."""
    from pytest_setups import demo
    from pytest_setups.report.pages import pictures_of
    from pytest_setups.tagging.images import ImageError

    try:
        if images:
            return pictures_of(images)
        usual = [folder for folder in (PROJECT_SAMPLES, demo.sample_images()) if folder.is_dir()]
        return pictures_of(usual[:1])
    except ImageError as error:
        stop(f"--images: {error}", USAGE_ERROR)
