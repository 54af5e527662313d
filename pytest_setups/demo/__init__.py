"""The demo: a toy vision-language model that really sees, and a llama.cpp server to serve it."""

from __future__ import annotations

import importlib.util
import os
import shutil
import sys
from pathlib import Path
from typing import Final

HERE: Final = Path(__file__).parent
SERVED_MODEL_NAME: Final = "toy-vlm"
MODEL: Final = HERE / "toy-vlm.gguf"
PROJECTOR: Final = HERE / "mmproj-toy-vlm.gguf"
CONTEXT: Final = 2048
INSTALL: Final = (
    "install the portable server with `pip install 'pytest-setups[demo]'`, or name a llama-server that runs "
    "on this processor with --setup-demo-server PROGRAM"
)


class DemoError(Exception):
    """The demo cannot be started; the message says what to install."""


def sample_images() -> Path:
    """The packaged sample images: in a wheel beside the model, in a checkout at its top."""
    packaged = HERE / "sample_images"
    return packaged if packaged.is_dir() else HERE.parent.parent / "sample_images"


def command(port: int, program: str | None) -> list[str]:
    """The command that serves the toy model on a port of the loopback interface.

    Args:
        port: the TCP port.
        program: the llama-server to run, or None for one on PATH or else the ``demo`` extra's.

    Raises:
        DemoError: the program does not exist, or no server is installed.
    """
    return [*_server(program), *_arguments(port)]


def _server(program: str | None) -> list[str]:
    found = shutil.which(os.path.expanduser(program)) if program else shutil.which("llama-server")
    if found:
        return [found, "--no-webui", "-ngl", "0"]
    if program:
        message = f"--setup-demo-server: no program {program!r} that can be run; {INSTALL}"
        raise DemoError(message)
    if importlib.util.find_spec("xllamacpp") is None:
        message = f"--setup-demo needs a llama.cpp server: {INSTALL}"
        raise DemoError(message)
    return [sys.executable, "-m", "pytest_setups.demo.llama_server"]


def _arguments(port: int) -> list[str]:
    return [
        *("-m", str(MODEL), "--mmproj", str(PROJECTOR), "--alias", SERVED_MODEL_NAME),
        *("-c", str(CONTEXT), "-t", "1", "--host", "127.0.0.1", "--port", str(port)),
    ]
