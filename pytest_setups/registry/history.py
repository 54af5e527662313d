"""What git says: the commit a run was made from, and whether entries were edited since they were added.

Read through GitPython, which is imported only here and only when asked.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from types import ModuleType

    from git import Repo

_LOG: Final = (
    "--reverse", "--topo-order", "--format=commit %H %P", "--raw", "--no-abbrev", "--find-renames=100%",
    "--diff-merges=first-parent", "--no-show-signature", "--no-color", "--no-ext-diff", "--no-relative",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class GitState:
    """``commit`` (40 hex digits) and ``dirty``, each None when git does not say; ``reason`` says why."""

    commit: str | None
    dirty: bool | None
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class EntryHistory:
    """What git knows of the files in a folder of entries.

    ``faults`` says by file name what was done to an entry since the commit that added it; files that
    are gone are among them. ``committed`` are the names in the commit checked out. ``reason`` says why
    git cannot vouch for the rest, None when it can.
    """

    faults: dict[str, str] = field(default_factory=dict)
    committed: frozenset[str] = frozenset()
    reason: str | None = None


def git_state(folder: Path, *, apart_from: Path) -> GitState:
    """The commit checked out in the repository around ``folder``; changes below ``apart_from`` do not count.

    Never raises.
    """
    try:
        git = _git()
        with _repository(folder) as repo:
            commit = _head(repo)
            if commit is None:
                return GitState(None, None, _unborn(repo))
            try:
                return GitState(commit, repo.is_dirty(untracked_files=False, path=_except(repo, apart_from)))
            except (git.GitError, OSError) as error:
                return GitState(commit, None, f"git cannot say whether files are changed: {_why(error)}")
    except (ImportError, OSError, ValueError) as error:
        return GitState(None, None, _why(error))
    except git.GitError as error:
        return GitState(None, None, _why(error))


def entry_history(entries: Path) -> EntryHistory:
    """What was done to the entries since they were added, in one pass over the history. Never raises."""
    try:
        git = _git()
        with _repository(entries.parent) as repo:
            return _entry_history(repo, entries)
    except (ImportError, OSError, ValueError) as error:
        return EntryHistory(reason=_why(error))
    except git.GitError as error:
        return EntryHistory(reason=_why(error))


def git_tracks(path: Path) -> bool:
    """Whether git tracks this file; True as well when there is a repository that cannot be asked."""
    try:
        git = _git()
        with _repository(path.parent) as repo:
            return bool(repo.git.ls_files("--", f":(literal){path.resolve()}"))
    except ImportError:
        return True
    except (git.InvalidGitRepositoryError, git.NoSuchPathError):
        return False
    except (git.GitError, OSError, ValueError):
        return True


def _git() -> ModuleType:
    os.environ.setdefault("GIT_PYTHON_REFRESH", "quiet")
    import git

    return git


def _repository(folder: Path) -> Repo:
    from git import Repo

    return Repo(folder.resolve(), search_parent_directories=True)


def _except(repo: Repo, folder: Path) -> str | None:
    """A pathspec for all but a folder (gitglossary), None when the folder is not in the repository."""
    root = Path(repo.working_dir).resolve()
    if not folder.resolve().is_relative_to(root):
        return None
    return f":(top,exclude,literal){folder.resolve().relative_to(root).as_posix()}"


def _head(repo: Repo) -> str | None:
    """The commit checked out, read without asking git, which refuses repositories of other users."""
    import git

    try:
        return git.HEAD.dereference_recursive(repo, "HEAD")
    except ValueError:
        return None


def _unborn(repo: Repo) -> str:
    return f"no commit yet on {repo.head.reference.name}"


@dataclass(slots=True)
class _Life:
    """One name: the commit that added it, the contents it had then, each (commit, contents) after that."""

    added: str
    originals: set[str]
    later: list[tuple[str, str]] = field(default_factory=list)
    gone: str | None = None
    was: tuple[str, str] | None = None


def _entry_history(repo: Repo, entries: Path) -> EntryHistory:
    if _head(repo) is None:
        return EntryHistory(reason=_unborn(repo))
    if repo.working_tree_dir is None:
        return EntryHistory(reason="the git repository has no work tree")
    folder = entries.resolve().relative_to(os.path.realpath(repo.working_tree_dir)).as_posix()
    pathspec = f":(top,literal){folder}"
    lives = _lives(_lines(repo, pathspec), f"{folder}/")
    tree = _tree(repo.git.ls_tree("-r", "--full-tree", "HEAD", "--", f"{folder}/"), f"{folder}/")
    faults = dict(_faults(lives, tree, folder))
    for name, change in _uncommitted(repo.git.diff("HEAD", "--name-status", "--no-renames", "--", pathspec)):
        faults[name] = f"{change}, not committed; put it back: git restore --source=HEAD {folder}/{name}"
    shallow = "the clone is shallow, so git cannot say; fetch the rest: git fetch --unshallow"
    return EntryHistory(faults, frozenset(tree), shallow if _is_shallow(repo) else None)


def _lines(repo: Repo, pathspec: str) -> Iterator[str]:
    process = repo.git.log(*_LOG, "--", pathspec, as_process=True)
    for line in process.stdout:
        yield line.decode(errors="replace").rstrip("\n")
    process.wait()


def _lives(lines: Iterable[str], folder: str) -> dict[str, _Life]:
    lives: dict[str, _Life] = {}
    commit, merge = "", False
    for line in lines:
        if line.startswith("commit "):
            _, commit, *parents = line.split()
            merge = len(parents) > 1
        elif line.startswith(":"):
            change, *paths = line.split("\t")
            names = [path.removeprefix(folder) for path in paths]
            if all(path.startswith(folder) for path in paths) and not any("/" in name for name in names):
                _live(lives, change.split(), names, commit, merge=merge)
    return lives


def _live(lives: dict[str, _Life], change: list[str], names: list[str], commit: str, *, merge: bool) -> None:
    """One change of ``git log --raw``: modes, old and new contents, and the letter of what happened."""
    old, new, letter = change[2], change[3], change[4][0]
    life = lives.get(names[0])
    if letter == "D" and life is not None:
        life.gone = life.gone or f"deleted in {commit[:12]}"
    elif letter == "R" and life is not None:
        life.gone = f"renamed to {names[1]} in {commit[:12]}"
        lives.setdefault(names[1], _Life(commit, life.originals, was=(names[0], commit))).gone = None
    elif life is None:
        later = [] if letter == "A" else [(commit, new)]
        lives[names[-1]] = _Life(commit, {old if later else new}, later)
    elif letter == "A" and life.gone is None and not merge:
        life.originals.add(new)  # two branches added the same name; the merge chose
    else:
        life.gone = None
        life.later.append((commit, new))


def _faults(lives: dict[str, _Life], tree: dict[str, str], folder: str) -> Iterator[tuple[str, str]]:
    renamed = {life.was[0] for name, life in lives.items() if life.was and name in tree}
    for name, life in lives.items():
        put_back = f"put it back: git checkout {life.added[:12]} -- {folder}/{name}"
        if name in tree and life.was is not None:
            old, commit = life.was
            yield name, f"renamed from {old} in {commit[:12]}; entries keep their names: rename it back"
        elif name in tree and tree[name] not in life.originals:
            yield name, f"edited {_where(life)}; {put_back}"
        elif name not in tree and name not in renamed and life.was is None:
            yield name, f"{life.gone or 'gone'}; {put_back}"


def _where(life: _Life) -> str:
    edits = [commit[:12] for commit, contents in life.later if contents not in life.originals]
    return f"in {', '.join(edits[-3:])}" if edits else "in a merge"


def _tree(listing: str, folder: str) -> dict[str, str]:
    """Names in a listing of ``git ls-tree`` with the hash of their contents."""
    rows = (line.split("\t") for line in listing.splitlines())
    return {path.removeprefix(folder): row.split()[2] for row, path in rows}


def _uncommitted(listing: str) -> Iterator[tuple[str, str]]:
    changes = {"M": "edited", "T": "replaced by something else", "D": "deleted"}
    for line in listing.splitlines():
        letter, path = line.split("\t")
        if letter in changes:
            yield path.rpartition("/")[2], changes[letter]


def _is_shallow(repo: Repo) -> bool:
    return str(repo.git.rev_parse("--is-shallow-repository")) == "true"


def _why(error: BaseException) -> str:
    try:
        git = _git()
    except ImportError:
        return f"GitPython cannot be imported: {error}"
    if isinstance(error, git.InvalidGitRepositoryError | git.NoSuchPathError):
        return "not in a git repository"
    if isinstance(error, git.GitCommandNotFound):
        return "the git program is not on PATH"
    stderr = getattr(error, "stderr", "") or str(error) or type(error).__name__
    return str(stderr).strip().removeprefix("stderr:").strip().strip("'").strip().splitlines()[0][:200]
