"""Plots as inline SVG that the page's own style sheet colours: no script, no style, no network."""

from __future__ import annotations

import sys
from collections import defaultdict
from statistics import fmean
from typing import TYPE_CHECKING, Any, Final
from xml.etree import ElementTree as ET

import pygal
import pygal.style
from markupsafe import Markup

from pytest_setups.redaction import one_line
from pytest_setups.registry.entry import Stage
from pytest_setups.registry.performance import by_stage

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_setups.registry.entry import Entry
    from pytest_setups.registry.measurement import Measurement

# pygal's finder for its plug-ins has no find_spec, of which Python 3.11 warns at every import that fails.
sys.meta_path[:] = [finder for finder in sys.meta_path if type(finder).__module__ != "pygal"]

MAX_IMAGES: Final = 40
WIDTH: Final = 480
_FONTS: Final = pygal.style.Style(label_font_size=12, major_label_font_size=12, legend_font_size=13)
_SVG: Final = "http://www.w3.org/2000/svg"
_DROPPED: Final = frozenset({"defs", "style", "script", "title"})


def stage_box(measurements: Sequence[Measurement], before: Sequence[Measurement] = ()) -> Markup | None:
    """The latencies of each stage as box plots in seconds, whiskers after Tukey; None without any.

    Those of a baseline stand beside them.
    """
    now, earlier = _latencies(measurements), _latencies(before)
    paired = any(earlier.values())
    boxes: list[tuple[str, list[float]]] = [(stage, now[stage]) for stage in Stage]
    if paired:
        boxes = [
            box for stage, latencies in boxes for box in (("before", earlier[stage]), (stage, latencies))
        ]
    labels = [label for label, _ in boxes]
    chart = _chart(
        pygal.Box,
        box_mode="tukey",
        x_labels=labels,
        max_scale=8,
        show_legend=False,
        height=260,
        truncate_label=12,
    )
    for label, latencies in boxes:
        chart.add(label, latencies)
    drawn = "paired" if paired else ""
    return _svg(chart, "Seconds of one answer, by stage", drawn) if any(now.values()) else None


def _latencies(measurements: Sequence[Measurement]) -> dict[str, list[float]]:
    grouped = by_stage(measurements)
    return {
        stage: [m.latency_s for m in grouped.get(stage, ()) if m.latency_s is not None] for stage in Stage
    }


def image_bars(measurements: Sequence[Measurement]) -> Markup | None:
    """Mean seconds of each image, its stages stacked, the slowest on top; None when nothing was timed.

    The ``MAX_IMAGES`` slowest are shown.
    """
    samples: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for measurement in measurements:
        if measurement.latency_s is not None:
            samples[measurement.image][measurement.stage].append(measurement.latency_s)
    seconds = {
        image: {stage: fmean(each) for stage, each in stages.items()} for image, stages in samples.items()
    }
    slowest = sorted(seconds, key=lambda image: sum(seconds[image].values()))[-MAX_IMAGES:]
    chart = _chart(pygal.HorizontalStackedBar, height=110 + 22 * len(slowest), truncate_label=22, max_scale=5)
    chart.x_labels = [one_line(image, 60) for image in slowest]
    for stage in Stage:
        chart.add(stage, [seconds[image].get(stage) for image in slowest])
    return _svg(chart, "Seconds of each image, its stages stacked") if slowest else None


def history_lines(entries: Sequence[tuple[str, Entry]]) -> Markup | None:
    """Median seconds of each stage over the entries of one setup, by date; None with fewer than two.

    Each point is labelled with the date and the server's version.
    """
    if len(entries) < 2:
        return None
    labels = [_moment(entry) for _, entry in entries]
    chart = _chart(
        pygal.Line, x_labels=labels, max_scale=8, height=300, x_label_rotation=335, truncate_label=40
    )
    for stage in Stage:
        chart.add(stage, [_median(entry, stage) for _, entry in entries])
    chart.add("image, mean", [entry.performance.avg_latency_s for _, entry in entries])
    return _svg(chart, "Median seconds of each stage, and mean seconds of an image, over time")


def _moment(entry: Entry) -> str:
    version = one_line(entry.server.version or "", 24)
    return f"{entry.verification.date_utc:%Y-%m-%d} {version}".strip()


def _median(entry: Entry, stage: str) -> float | None:
    figures = next((found for name, found in (entry.performance.stages or {}).items() if name == stage), None)
    return figures.p50_s if figures else None


def _chart(kind: Any, **options: Any) -> Any:
    fixed = {
        "truncate_legend": 24,
        "js": (),
        "css": (),
        "no_prefix": True,
        "legend_at_bottom": True,
        "legend_at_bottom_columns": 2,
    }
    return kind(width=WIDTH, style=_FONTS, min_scale=3, include_x_axis=True, **fixed, **options)


def _svg(chart: Any, label: str, kind: str = "") -> Markup:
    ET.register_namespace("", _SVG)
    tree = ET.fromstring(chart.render(is_unicode=True))  # noqa: S314  # what pygal has just written
    _strip(tree)
    tree.attrib.pop("id", None)
    tree.set("class", f"plot-svg {kind}".strip())
    tree.set("role", "img")
    tree.set("aria-label", label)
    return Markup(ET.tostring(tree, encoding="unicode"))  # noqa: S704  # every text in it was escaped by ElementTree


def _strip(parent: ET.Element) -> None:
    """Leave shapes and texts; what pygal keeps for its tooltips becomes the browser's own."""
    for child in list(parent):
        name = child.tag.rpartition("}")[2]
        kind = child.get("class", "")
        if name in _DROPPED or "tooltip-overlay" in kind or (name == "desc" and kind != "value"):
            parent.remove(child)
            continue
        if name == "desc":
            child.tag = f"{{{_SVG}}}title"
        child.attrib.pop("style", None)
        child.attrib.pop("id", None)
        _strip(child)
