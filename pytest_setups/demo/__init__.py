"""The demo: the weights of a toy vision-language model that sees, and the command that serves them.

The code that trains the model is not part of the package: see ``toy_model/`` in the repository.
"""

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
"""The context that the toy model is trained for, in tokens."""

INSTALL: Final = (
    "install the portable server with `pip install 'pytest-setups[demo]'`, or name a llama-server that runs "
    "on this processor with --setup-demo-server PROGRAM"
)


class DemoError(Exception):
    """The demo cannot be started; the message says what to install."""


def sample_images() -> Path:
    """The folder of the sample images: next to the model in a wheel, at the top of a checkout."""
    packaged = HERE / "sample_images"
    return packaged if packaged.is_dir() else HERE.parent.parent / "sample_images"


def command(port: int, program: str | None) -> list[str]:
    """The command that serves the toy model on a port of the loopback interface.

    Args:
        port: the TCP port.
        program: the llama-server to run; None for the one on PATH or, without one, the extra ``demo``.

    Raises:
        DemoError: the program does not exist, or no server is installed.
    """
    return [*_server(program), *_arguments(port)]


def _server(program: str | None) -> list[str]:
    path = shutil.which(os.path.expanduser(program)) if program else shutil.which("llama-server")
    if path:
        # On the CPU, which every machine has: the demo must start whatever GPU the program was built for.
        return [path, "--no-webui", "-ngl", "0"]
    if program:
        raise DemoError(f"--setup-demo-server: no program {program!r} that can be run; {INSTALL}")
    if importlib.util.find_spec("xllamacpp") is None:
        raise DemoError(f"--setup-demo needs a llama.cpp server: {INSTALL}")
    return [sys.executable, "-m", "pytest_setups.demo.llama_server"]


def _arguments(port: int) -> list[str]:
    return [
        *("-m", str(MODEL), "--mmproj", str(PROJECTOR), "--alias", SERVED_MODEL_NAME),
        *("-c", str(CONTEXT), "-t", "1", "--host", "127.0.0.1", "--port", str(port)),
    ]
