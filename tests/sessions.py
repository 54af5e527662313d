"""Sessions of pytest in a process of their own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from tests.servers.scripted import Scripted


def start(folder: Path, server: Scripted, *arguments: str) -> subprocess.Popen[str]:
    """A session in a folder that verifies this server."""
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--setup-base-url", server.url]
    return subprocess.Popen(
        [*command, *arguments], cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def interrupted(process: subprocess.Popen[str], hanging: threading.Event) -> str:
    """What a session prints that gets Ctrl-C as soon as its server hangs, and records nothing."""
    try:
        assert hanging.wait(30)
        os.kill(process.pid, signal.SIGINT)
        output, _ = process.communicate(timeout=100)
    finally:
        process.kill()
    assert process.returncode == pytest.ExitCode.INTERRUPTED
    assert "not recorded: the run was interrupted" in output
    return output
