"""kitcar takes a trained model to the server that answers with it, as one verifiable OCI artifact.

What a program needs for that stands here, and is imported when it is first asked for.
"""

from __future__ import annotations

TYPE_CHECKING = False  # known to type checkers; `typing` would slow every start
if TYPE_CHECKING:
    from kitcar.deliver.kit import unpack
    from kitcar.deliver.options import DeliverOptions
    from kitcar.errors import KitcarError
    from kitcar.files.draft import Existing
    from kitcar.modelkit.kit import Kit, read_kit
    from kitcar.modelkit.kitfile import Kitfile
    from kitcar.modelkit.pack import PackOptions, pack
    from kitcar.modelkit.select import Selection
    from kitcar.oci.copy import CopyOptions, copy
    from kitcar.oci.reference import Reference
    from kitcar.registry.credentials import CredentialChain
    from kitcar.registry.repository import Repository
    from kitcar.registry.settings import Connection
    from kitcar.stores.home import kit_home
    from kitcar.stores.layout import LayoutStore

__version__ = "0.1.0"

__all__ = [
    "Connection",
    "CopyOptions",
    "CredentialChain",
    "DeliverOptions",
    "Existing",
    "Kit",
    "KitcarError",
    "Kitfile",
    "LayoutStore",
    "PackOptions",
    "Reference",
    "Repository",
    "Selection",
    "copy",
    "kit_home",
    "pack",
    "read_kit",
    "unpack",
]

_MODULES = {
    "deliver.kit": ("unpack",),
    "deliver.options": ("DeliverOptions",),
    "errors": ("KitcarError",),
    "files.draft": ("Existing",),
    "modelkit.kit": ("Kit", "read_kit"),
    "modelkit.kitfile": ("Kitfile",),
    "modelkit.pack": ("PackOptions", "pack"),
    "modelkit.select": ("Selection",),
    "oci.copy": ("CopyOptions", "copy"),
    "oci.reference": ("Reference",),
    "registry.credentials": ("CredentialChain",),
    "registry.repository": ("Repository",),
    "registry.settings": ("Connection",),
    "stores.home": ("kit_home",),
    "stores.layout": ("LayoutStore",),
}


def __getattr__(name: str) -> object:
    """A public name, imported from where it lives.

    Raises:
        AttributeError: there is none of that name.
    """
    from importlib import import_module

    for module, names in _MODULES.items():
        if name in names:
            return getattr(import_module(f"kitcar.{module}"), name)
    raise AttributeError(f"module 'kitcar' has no attribute {name!r}")


def __dir__() -> list[str]:
    """The public names, imported or not."""
    return sorted([*__all__, "__version__"])
