"""Pages as HTML: self-contained, escaped, and cut off from the network by their content security policy."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import tempfile
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from pytest_setups.redaction import printable, redact, redact_command, redact_json
from pytest_setups.registry.documents import fields
from pytest_setups.registry.durable_files import replace
from pytest_setups.registry.entry import Stage
from pytest_setups.report import capacity_text, energy_text, soak_text
from pytest_setups.report.comparison_text import COLUMNS
from pytest_setups.report.formatting import rate, seconds
from pytest_setups.report.plots.bar_plot import bar_plot
from pytest_setups.report.plots.box_plot import box_plot
from pytest_setups.report.plots.capacity_plot import capacity_plots
from pytest_setups.report.plots.line_plot import line_plot
from pytest_setups.report.plots.soak_plot import soak_plots

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from pytest_setups.report.pages import ReportData, SiteData

# How a page is recognised before it is replaced: nothing else is ever overwritten.
MARK: Final = b'<meta name="generator" content="pytest-setups'
MARK_WITHIN_BYTES: Final = 1024
MAX_TEXT: Final = 20_000
PARTS_AT_ONCE: Final = 500
"""Pieces of a template, mostly of some bytes, that are written together; a picture is one of them."""
_JPEG_URL: Final = re.compile(r"data:image/jpeg;base64,[A-Za-z0-9+/=]+")


class ReportError(Exception):
    """A page cannot be written; the message says why and what to do."""


def render_report(data: ReportData, *, home: bool = False) -> Iterator[str]:
    """One page as HTML, in parts: a page of 10,000 pictures has hundreds of megabytes.

    ``home`` links it to the site it belongs to.
    """
    return _render(
        "report.html.j2",
        data=data,
        home=home,
        boxes=box_plot(data.measurements, data.before),
        bars=bar_plot(data.measurements),
        lines=line_plot(data.history),
        capacity=capacity_plots(data.entry.performance.capacity),
        soak=soak_plots(data.entry.performance.soak),
    )


def write_site(data: SiteData, folder: Path) -> Path:
    """Write a page for each entry and ``index.html``, which is returned.

    Raises:
        ReportError: a file there is not a page of this package, or cannot be written.
    """
    index, entries = folder / "index.html", folder / "entries"
    try:
        entries.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        message = f"{folder} cannot be created: {error.strerror}"
        raise ReportError(message) from None
    check_target(index)
    for slug, page in data.pages.items():
        write_page(entries / f"{slug}.html", render_report(page, home=True))
    write_page(index, _render("site.html.j2", data=data))
    return index


def write_page(path: Path, parts: Iterable[str]) -> None:
    """Write a page in one step.

    Raises:
        ReportError: what is there is not a page of this package, or cannot be written.
    """
    check_target(path)
    try:
        replace(path, (part.encode() for part in parts))
    except OSError as error:
        message = f"{path} cannot be written: {error.strerror}"
        raise ReportError(message) from None


def check_target(path: Path) -> None:
    """Check that a page can be written there, and would replace nothing but an earlier page.

    Raises:
        ReportError: it cannot, or what is there is not a page of this package.
    """
    try:
        if path.exists() and not _is_ours(path):
            message = f"{path} is not a report of pytest-setups: name another file, or remove it"
            raise ReportError(message)
        with tempfile.TemporaryFile(dir=path.parent):
            pass
    except OSError as error:
        message = f"{path} cannot be written: {error.strerror}; name a file in a folder that can be"
        raise ReportError(message) from None


def _is_ours(path: Path) -> bool:
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return MARK in file.read(MARK_WITHIN_BYTES)


def _render(template: str, **values: Any) -> Iterator[str]:
    style, script = _asset("page.css"), _asset("page.js")
    policy = (
        f"default-src 'none'; style-src '{_hash(style)}'; script-src '{_hash(script)}'; "
        "img-src data:; base-uri 'none'; form-action 'none'"
    )
    page = _environment().get_template(template).stream(style=style, script=script, policy=policy, **values)
    page.enable_buffering(PARTS_AT_ONCE)
    return page


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("pytest_setups.report"),
        autoescape=True,
        finalize=_presentable,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals |= {
        "package_version": version("pytest-setups"),
        "stages": tuple(Stage),
        "comparison_columns": COLUMNS,
        "capacity_columns": capacity_text.COLUMNS,
        "capacity_cells": capacity_text.cells,
        "capacity_sentences": capacity_text.sentences,
        "soak_sentences": soak_text.record_lines,
        "soak_faults": soak_text.faults,
    }
    environment.filters |= {
        "seconds": seconds,
        "rate": rate,
        "similarity": "{:.2f}".format,
        "energy": energy_text.table,
        "fields": _fields,
        "without_secrets": redact_command,
    }
    environment.tests |= {"jpeg": _JPEG_URL.fullmatch}
    return environment


def _presentable(value: object) -> object:
    """The value of any expression in a template: printable, bounded, without secrets."""
    if value is None:
        return ""
    # Numbers cannot hold a secret, and a plot consists of thousands of them.
    if isinstance(value, Markup | int | float):
        return value
    return printable(redact(str(value)), MAX_TEXT)


def _fields(document: object) -> list[tuple[str, str]]:
    """The fields of a document that are not empty, by dotted name."""
    return [
        (name, value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))
        for name, value in fields(redact_json(document))
        if value not in (None, "", [])
    ]


@cache
def _asset(name: str) -> str:
    return (Path(__file__).with_name("templates") / name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode('ascii')}"
