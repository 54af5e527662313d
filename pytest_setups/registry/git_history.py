"""The history of entries in git: whether they were edited, renamed or deleted since they were added."""

from __future__ import annotations

import os
import shlex
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from pytest_setups.redaction import encodable
from pytest_setups.registry.git_repository import (
    GitUnavailableError,
    git_repository,
    head_commit,
    literal,
    unborn_reason,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from git import Repo

_LOG: Final = (
    # In the order of the history and not of the dates, which rebases and wrong clocks mix up. Only a rename
    # without any change counts as one. Of a merge, only what differs from the branch it was made on. The
    # rest overrides what a user's git configuration may say.
    "-z", "--reverse", "--topo-order", "--format=commit %H %P", "--raw", "--no-abbrev", "--find-renames=100%",
    "--diff-merges=first-parent", "--no-show-signature", "--no-color", "--no-ext-diff", "--no-relative",
)  # fmt: skip
_DIFF: Final = ("HEAD", "-z", "--name-status", "--no-renames", "--no-relative", "--no-ext-diff")
_UNCOMMITTED: Final = {"M": "edited", "T": "replaced by something else", "D": "deleted"}


@dataclass(frozen=True, slots=True)
class EntryHistory:
    """What git knows of the files in a folder of entries.

    Attributes:
        faults: by file name, what was done to an entry since the commit that added it, also of entries
            that are gone.
        committed: the names in the commit that is checked out.
        reason: why git cannot vouch for the rest, None where it can.
    """

    faults: dict[str, str] = field(default_factory=dict)
    committed: frozenset[str] = frozenset()
    reason: str | None = None


def entry_history(entries: Path) -> EntryHistory:
    """What was done to the entries since they were added, in one pass over the history. Never raises."""
    try:
        with git_repository(entries.parent) as repo:
            return _entry_history(repo, entries)
    except GitUnavailableError as error:
        return EntryHistory(reason=str(error))


@dataclass(frozen=True, slots=True)
class _Change:
    """What one commit did to one file: git's letter for it, the hashes of the contents, the names."""

    commit: str
    in_merge: bool
    letter: str
    old_contents: str
    new_contents: str
    name: str
    new_name: str


@dataclass(slots=True)
class _FileHistory:
    """One name: the commit that added it, the contents it may have, each (commit, contents) after that."""

    added: str
    originals: set[str]
    edits: list[tuple[str, str]] = field(default_factory=list)
    removal: str | None = None
    renamed_from: tuple[str, str] | None = None


def _entry_history(repo: Repo, entries: Path) -> EntryHistory:
    if head_commit(repo) is None:
        return EntryHistory(reason=unborn_reason(repo))
    if repo.working_tree_dir is None:
        return EntryHistory(reason="the git repository has no work tree")
    # Both are resolved: on macOS, for example, /tmp is a link.
    folder = entries.resolve().relative_to(os.path.realpath(repo.working_tree_dir)).as_posix()
    files: dict[str, _FileHistory] = {}
    for change in _changes(_log_fields(repo, folder), f"{folder}/"):
        _apply(files, change)
    tree = _tree(repo, folder)
    faults = dict(_committed_faults(files, tree, folder)) | dict(_uncommitted_faults(repo, folder))
    faults = {name: encodable(fault) for name, fault in faults.items()}
    shallow = "the clone is shallow, so git cannot say; fetch the rest: git fetch --unshallow"
    return EntryHistory(faults, frozenset(tree), shallow if _is_shallow(repo) else None)


def _log_fields(repo: Repo, folder: str) -> Iterator[str]:
    """The fields of ``git log -z``, which ends each with a NUL byte and quotes no path.

    Without ``-z`` git escapes a path as soon as it is not plain ASCII.
    """
    process = repo.git.log(*_LOG, "--", literal(folder, top=True), as_process=True)
    unfinished = b""
    while block := process.stdout.read(65536):
        *fields, unfinished = (unfinished + block).split(b"\0")
        yield from map(os.fsdecode, fields)
    process.wait()


def _changes(fields: Iterator[str], folder: str) -> Iterator[_Change]:
    """The changes of files directly in a folder, out of ``commit HASH PARENTS``, ``:MODES...`` and paths."""
    commit, in_merge = "", False
    for field_text in fields:
        text = field_text.lstrip("\n")  # git writes a line end between a commit and its changes
        if text.startswith("commit "):
            _, commit, *parents = text.split()
            in_merge = len(parents) > 1
        elif text.startswith(":"):
            _, _, old_contents, new_contents, letter = text.split()
            paths = [next(fields) for _ in range(2 if letter[0] in "RC" else 1)]
            names = [path.removeprefix(folder) for path in paths]
            if all(path.startswith(folder) for path in paths) and not any("/" in name for name in names):
                yield _Change(commit, in_merge, letter[0], old_contents, new_contents, names[0], names[-1])


def _apply(files: dict[str, _FileHistory], change: _Change) -> None:
    file = files.get(change.name)
    if file is None:
        files[change.new_name] = _first_seen(change)
    elif change.letter == "D":
        file.removal = file.removal or f"deleted in {change.commit[:12]}"
    elif change.letter == "R":
        _rename(files, file, change)
    elif change.letter == "A" and file.removal is None and not change.in_merge:
        # Two branches added the same name, and the merge may keep either of them.
        file.originals.add(change.new_contents)
    else:  # modified, or added again after a removal
        file.removal = None
        file.edits.append((change.commit, change.new_contents))


def _first_seen(change: _Change) -> _FileHistory:
    if change.letter == "A":
        return _FileHistory(change.commit, {change.new_contents})
    # A shallow clone begins in the middle of a file's history.
    return _FileHistory(change.commit, {change.old_contents}, [(change.commit, change.new_contents)])


def _rename(files: dict[str, _FileHistory], file: _FileHistory, change: _Change) -> None:
    file.removal = f"renamed to {change.new_name} in {change.commit[:12]}"
    renamed = _FileHistory(change.commit, file.originals, renamed_from=(change.name, change.commit))
    files.setdefault(change.new_name, renamed).removal = None


def _committed_faults(
    files: dict[str, _FileHistory], tree: dict[str, str], folder: str
) -> Iterator[tuple[str, str]]:
    """By name, what was done to an entry that the commit checked out has, or should have."""
    renamed = {file.renamed_from[0] for name, file in files.items() if file.renamed_from and name in tree}
    for name, file in files.items():
        restore = f"put it back: git checkout {file.added[:12]} -- {_argument(f'{folder}/{name}')}"
        if name in tree and file.renamed_from is not None:
            old_name, commit = file.renamed_from
            yield name, f"renamed from {old_name} in {commit[:12]}; entries keep their names: rename it back"
        elif name in tree and tree[name] not in file.originals:
            yield name, f"edited {_edited_where(file)}; {restore}"
        elif name not in tree and name not in renamed and file.renamed_from is None:
            yield name, f"{file.removal or 'gone'}; {restore}"


def _edited_where(file: _FileHistory) -> str:
    commits = [commit[:12] for commit, contents in file.edits if contents not in file.originals]
    return f"in {', '.join(commits[-3:])}" if commits else "in a merge"


def _uncommitted_faults(repo: Repo, folder: str) -> Iterator[tuple[str, str]]:
    fields = repo.git.diff(*_DIFF, "--", literal(folder, top=True)).split("\0")
    for letter, path in zip(fields[::2], fields[1::2], strict=False):  # an empty field follows the last path
        name = path.removeprefix(f"{folder}/")
        if letter in _UNCOMMITTED and "/" not in name:
            restore = f"put it back: git restore --source=HEAD {_argument(path)}"
            yield name, f"{_UNCOMMITTED[letter]}, not committed; {restore}"


def _tree(repo: Repo, folder: str) -> dict[str, str]:
    """Names of the files in the commit checked out, with the hash of their contents."""
    listing = repo.git.ls_tree("-r", "-z", "--full-tree", "HEAD", "--", literal(f"{folder}/", top=True))
    rows = (row.split("\t", 1) for row in listing.split("\0") if row)
    return {path.removeprefix(f"{folder}/"): meta.split()[2] for meta, path in rows}


def _argument(path: str) -> str:
    """A path as it is typed after a git command.

    A first colon would begin the magic of a pathspec, a first hyphen an option.
    """
    return shlex.quote(f"./{path}" if path.startswith((":", "-")) else path)


def _is_shallow(repo: Repo) -> bool:
    return str(repo.git.rev_parse("--is-shallow-repository")) == "true"
