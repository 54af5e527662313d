"""The git repository around a registry, read through GitPython, which is imported only when it is needed."""

from __future__ import annotations

import os
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import ModuleType

    from git import Repo


@dataclass(frozen=True, slots=True)
class GitState:
    """``commit`` (40 hex digits) and ``dirty``, each None where git does not say; ``reason`` says why."""

    commit: str | None
    dirty: bool | None
    reason: str | None = None


class GitUnavailableError(Exception):
    """Git cannot answer; the message is the reason in one line."""


def git_state(folder: Path, *, apart_from: Path) -> GitState:
    """The commit checked out in the repository around ``folder``, and whether tracked files are changed.

    Changes below ``apart_from`` do not count. Never raises.
    """
    commit = None
    try:
        with git_repository(folder) as repo:
            commit = head_commit(repo)
            if commit is None:
                return GitState(None, None, unborn_reason(repo))
            dirty = repo.is_dirty(untracked_files=False, path=_everything_but(repo, apart_from))
    except GitUnavailableError as error:
        reason = f"git cannot say whether files are changed: {error}" if commit else str(error)
        return GitState(commit, None, reason)
    return GitState(commit, dirty)


def is_tracked(path: Path) -> bool:
    """Whether git tracks this file; also True where there is a repository that cannot answer."""
    try:
        git = _import_git()
        with _open(path.parent) as repo:
            return bool(repo.git.ls_files("-z", "--", literal(path.resolve().as_posix())))
    except ImportError:
        return True
    except (git.InvalidGitRepositoryError, git.NoSuchPathError):
        return False
    except (git.GitError, OSError, ValueError):
        return True


@contextmanager
def git_repository(folder: Path) -> Iterator[Repo]:
    """The repository around a folder.

    Raises:
        GitUnavailableError: there is none, git is not installed, or it fails inside the block.
    """
    try:
        git = _import_git()
    except ImportError as error:
        message = f"GitPython cannot be imported: {error}"
        raise GitUnavailableError(message) from None
    try:
        with _open(folder) as repo:
            yield repo
    except (git.InvalidGitRepositoryError, git.NoSuchPathError):
        message = "not in a git repository"
    except git.GitCommandNotFound:
        message = "the git program is not on PATH"
    except (git.GitError, OSError, ValueError) as error:
        message = _first_line(error)
    else:
        return
    raise GitUnavailableError(message)


def head_commit(repo: Repo) -> str | None:
    """The commit checked out, None where there is none yet.

    Read from the files below ``.git``: the git program refuses repositories of other users.
    """
    from git import HEAD

    try:
        return HEAD.dereference_recursive(repo, "HEAD")
    except ValueError:
        return None


def unborn_reason(repo: Repo) -> str:
    """Why there is no commit."""
    return f"no commit yet on {repo.head.reference.name}"


def literal(path: str, *, top: bool = False) -> str:
    """A pathspec of exactly this path, whatever characters it holds (gitglossary, pathspec).

    ``top`` means that it is relative to the repository's top folder.
    """
    return f":({'top,' if top else ''}literal){path}"


def _everything_but(repo: Repo, folder: Path) -> str | None:
    """A pathspec for all but a folder, None where the folder is not in the repository."""
    root = Path(repo.working_dir).resolve()
    if not folder.resolve().is_relative_to(root):
        return None
    return f":(top,exclude,literal){folder.resolve().relative_to(root).as_posix()}"


def _import_git() -> ModuleType:
    # Without this variable, importing GitPython fails where the git program is missing.
    os.environ.setdefault("GIT_PYTHON_REFRESH", "quiet")
    import git

    return git


def _open(folder: Path) -> Repo:
    from git import Repo

    # By default GitPython would expand $HOME and the like, which may also be names of folders.
    return Repo(folder.resolve(), search_parent_directories=True, expand_vars=False)


def _first_line(error: Exception) -> str:
    stderr = str(getattr(error, "stderr", "") or error or type(error).__name__)
    return stderr.strip().removeprefix("stderr:").strip().strip("'").strip().splitlines()[0][:200]
