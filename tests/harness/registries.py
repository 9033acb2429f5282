"""Real registries for tests: Debian's docker-registry and go-containerregistry's, each on a port of its own."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator
from pathlib import Path

from harness.processes import Server, server

USERNAME, PASSWORD = "kitcar", "correct horse: battery"

_CONFIGURATION = """\
version: 0.1
log: {{level: info, accesslog: {{disabled: true}}}}
storage:
  filesystem: {{rootdirectory: "{root}"}}
  delete: {{enabled: true}}
http: {{addr: "127.0.0.1:0", relativeurls: false}}
"""


@contextlib.contextmanager
def docker_registry(binary: Path, folder: Path, *, auth: bool = False) -> Iterator[Server]:
    """Docker's own registry, with file storage in `folder`; `auth` asks for `USERNAME` and `PASSWORD`."""
    root = folder / "data"
    root.mkdir(parents=True)
    configuration = _CONFIGURATION.format(root=root)
    if auth:
        passwords = folder / "htpasswd"
        passwords.write_text(htpasswd(USERNAME, PASSWORD))
        configuration += f'auth: {{htpasswd: {{realm: kitcar, path: "{passwords}"}}}}\n'
    settings = folder / "config.yml"
    settings.write_text(configuration)
    command: list[str | Path] = [binary, "serve", settings]
    with server(command, root=root, log=folder / "log", port=r"listening on 127\.0\.0\.1:(\d+)") as running:
        yield dataclasses.replace(running, username=USERNAME, password=PASSWORD) if auth else running


@contextlib.contextmanager
def crane_registry(binary: Path, folder: Path, *, disk: bool = True) -> Iterator[Server]:
    """go-containerregistry's registry, with the referrers API; blobs on disk, manifests in memory."""
    root = folder / "data"
    root.mkdir(parents=True)
    command: list[str | Path] = [binary, "-disk", root] if disk else [binary]
    with server(command, root=root, log=folder / "log", port=r"listening on 127\.0\.0\.1:(\d+)") as running:
        yield running


def htpasswd(username: str, password: str) -> str:
    """One line of an htpasswd file, with bcrypt at its lowest cost."""
    import bcrypt

    return f"{username}:{bcrypt.hashpw(password.encode(), bcrypt.gensalt(4)).decode()}\n"
