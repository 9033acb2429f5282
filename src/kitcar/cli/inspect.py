"""`kitcar inspect`: manifest and Kitfile of a modelkit as JSON."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from kitcar.cli.session import Session
from kitcar.cli.verb import Usage, exactly, verb
from kitcar.flags.flag import Call, Flag, Kind
from kitcar.flags.network import NETWORK_FLAGS
from kitcar.oci.encoding import encode

if TYPE_CHECKING:
    from kitcar.modelkit.kit import Kit
    from kitcar.oci.manifest import Manifest

REMOTE = Flag("remote", "Ask the registry, not local storage", Kind.SWITCH, short="r")


@verb(
    "inspect",
    Usage(
        "[flags] MODELKIT",
        "Show the manifest of a modelkit",
        """
        Prints digest, version of the packing tool, Kitfile and manifest of a modelkit as one JSON object, from local
        storage or, with --remote, from its registry.
        """,
        """
        # Inspect a modelkit of local storage
        kitcar inspect iris:v1

        # Inspect one in a registry, by digest
        kitcar inspect --remote registry.example.com/team/iris@sha256:<digest>
        """,
    ),
    flags=(*NETWORK_FLAGS, REMOTE),
    takes=exactly(1),
)
def command(session: Session, call: Call) -> None:
    """Prints."""
    from kitcar.cli.lookup import find

    kit = find(session, call)
    session.console.write(encode(_document(kit), indent=2).decode("utf-8", "surrogateescape") + "\n")


def _document(kit: Kit) -> dict[str, Any]:
    document: dict[str, Any] = {"digest": str(kit.descriptor.digest), "cliVersion": kit.version}
    if not kit.generated:
        document["kitfile"] = json.loads(kit.kitfile.to_json())
    document["manifest"] = _manifest(kit.manifest)
    return document


def _manifest(manifest: Manifest) -> dict[str, Any]:
    """The members the image specification knows, in its order; `mediaType` only where the manifest has it."""
    written = manifest.document()
    members: dict[str, Any] = {"schemaVersion": 2}
    if written.get("mediaType"):
        members["mediaType"] = manifest.media_type
    if manifest.artifact_type:
        members["artifactType"] = manifest.artifact_type
    members["config"] = manifest.config.encode()
    members["layers"] = [layer.encode() for layer in manifest.layers] or written.get("layers")
    if manifest.subject:
        members["subject"] = manifest.subject.encode()
    if manifest.annotations:
        members["annotations"] = dict(sorted(manifest.annotations.items()))
    return members
