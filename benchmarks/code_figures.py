"""How large the code is, how long its functions are, and how much of it is comment.

Run `python -m benchmarks.code_figures [REVISION]` in a checkout; without a revision it measures the working
tree. There is one column for each folder of code. Lines of code are all but empty lines and those with only a
comment; docstrings count. A prose comment is one that is not a directive to a tool (`noqa`, `type:`, `fmt:`).
The length of a function is the number of lines from its `def` to its end.
"""

from __future__ import annotations

import argparse
import ast
import io
import re
import statistics
import subprocess
import tarfile
import tempfile
import tokenize
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

ROOT: Final = Path(__file__).parent.parent
FOLDERS: Final = ("pytest_setups", "toy_model", "tests", "benchmarks")
DIRECTIVE: Final = re.compile(r"#\s*(noqa|type:|fmt:|ruff:|mypy:|pragma|!)")


@dataclass(frozen=True)
class CodeFigures:
    """The figures of one or more Python files."""

    modules: int
    lines: int
    code_lines: int
    noqa: int
    prose_comments: int
    function_lines: tuple[int, ...]

    @property
    def row(self) -> tuple[str, ...]:
        """The figures as text, in the order of `ROWS`."""
        percentiles = statistics.quantiles(self.function_lines, n=20, method="inclusive")
        return (
            f"{self.modules}",
            f"{self.lines:,}",
            f"{self.noqa}",
            f"{100 * self.prose_comments / self.code_lines:.1f}",
            f"{len(self.function_lines):,}",
            f"{statistics.median(self.function_lines):.0f}",
            f"{percentiles[-1]:.0f}",
        )


ROWS: Final = (
    "modules",
    "lines",
    "noqa",
    "prose comments in 100 lines of code",
    "functions",
    "lines of a function, median",
    "lines of a function, 95th percentile",
)


def main() -> None:
    """Print the figures of the working tree or of a commit."""
    parser = argparse.ArgumentParser(description="Figures of the code.")
    parser.add_argument("revision", nargs="?", help="a commit, tag or branch; without it the working tree")
    revision = parser.parse_args().revision
    if revision is None:
        print_table(ROOT)
        return
    with tempfile.TemporaryDirectory() as folder:
        extract(revision, Path(folder))
        print_table(Path(folder))


def extract(revision: str, folder: Path) -> None:
    """Write the tree of a commit into a folder."""
    archive = subprocess.run(
        ["git", "archive", revision], cwd=ROOT, check=True, stdout=subprocess.PIPE
    ).stdout
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        tar.extractall(folder, filter="data")


def print_table(root: Path) -> None:
    """Print one column for each folder of the code, and one for all."""
    files = {name: sorted((root / name).rglob("*.py")) for name in FOLDERS if (root / name).is_dir()}
    files["all"] = [path for paths in files.values() for path in paths]
    columns = [measure(paths).row for paths in files.values()]
    print(f"{'':38}", *(f"{name:>14}" for name in files))
    for title, *values in zip(ROWS, *columns, strict=True):
        print(f"{title:38}", *(f"{value:>14}" for value in values))


def measure(paths: Iterable[Path]) -> CodeFigures:
    """Measure Python files."""
    sources = [path.read_text("utf-8") for path in paths]
    comments = [comment for source in sources for comment in comments_of(source)]
    lines = [line.strip() for source in sources for line in source.splitlines()]
    return CodeFigures(
        modules=len(sources),
        lines=len(lines),
        code_lines=sum(bool(line) and not line.startswith("#") for line in lines),
        noqa=sum("noqa" in comment for comment in comments),
        prose_comments=sum(not DIRECTIVE.match(comment) for comment in comments),
        function_lines=tuple(length for source in sources for length in lengths_of_functions(source)),
    )


def comments_of(source: str) -> list[str]:
    """The comments of a module, each line of them one."""
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    return [token.string for token in tokens if token.type == tokenize.COMMENT]


def lengths_of_functions(source: str) -> Iterator[int]:
    """How many lines each function and method of a module has."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.end_lineno is not None:
            yield node.end_lineno - node.lineno + 1


if __name__ == "__main__":
    main()
