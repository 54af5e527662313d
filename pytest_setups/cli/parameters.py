"""The parameters that several commands share, and the registry that one of them names."""

from pathlib import Path
from typing import Annotated, Final

import typer

from pytest_setups.registry.store import Registry, RegistryError

DEFAULT_REGISTRY: Final = Path("registry")

RegistryOption = Annotated[
    Path,
    typer.Option("--registry", envvar="SETUP_REGISTRY", metavar="DIR", help="Folder of the registry."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")]
SlugArgument = Annotated[str, typer.Argument(metavar="SLUG", help="Name of an entry, as `list` shows it.")]
ImagesOption = Annotated[
    list[Path] | None,
    typer.Option(
        "--images", metavar="PATH", help="Sample pictures or folders of them (default: sample_images)."
    ),
]


def open_registry(root: Path) -> Registry:
    """The registry in this folder.

    Raises:
        RegistryError: there is no such folder.
    """
    if not root.is_dir():
        message = f"no registry at {root}: name its folder with --registry DIR or SETUP_REGISTRY"
        raise RegistryError(message)
    return Registry(root)
