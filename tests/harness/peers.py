"""The real tools kitcar is tested against: which there are, and how they come to this machine.

Go peers are built once from the exact versions in `tests/peers/go/NAME/go.mod` into the cache; Debian's are installed
where that is allowed. `python -m harness.peers default|all|NAME...` builds them beforehand.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from harness.cache import cache_root, key_of, locked, published

GO_MODULES = Path(__file__).parent.parent / "peers" / "go"


class PeerMissingError(Exception):
    """The peer is not here and cannot be had; says why."""


@dataclass(frozen=True, slots=True)
class GoPeer:
    """A command of a Go module, built from the versions in its folder under `GO_MODULES`."""

    name: str
    module: str
    package: str
    ldflags: str = ""
    tags: str = ""
    expensive: bool = False


@dataclass(frozen=True, slots=True)
class DebianPeer:
    """A command of a Debian package."""

    name: str
    package: str
    expensive: bool = False


GO_PEERS = (
    GoPeer(
        "kit",
        "kit",
        "github.com/kitops-ml/kitops",
        ldflags="-X github.com/kitops-ml/kitops/pkg/lib/constants.Version=1.15.0",
    ),
    GoPeer("crane", "go-containerregistry", "github.com/google/go-containerregistry/cmd/crane"),
    GoPeer("registry", "go-containerregistry", "."),
    GoPeer("regctl", "regctl", "github.com/regclient/regclient/cmd/regctl"),
    GoPeer("oras", "oras", "oras.land/oras/cmd/oras"),
    GoPeer("formats", "formats", "."),
    GoPeer("cosign", "cosign", "github.com/sigstore/cosign/v3/cmd/cosign", expensive=True),
)
DEBIAN_PEERS = (
    DebianPeer("docker-registry", "docker-registry"),
    DebianPeer("skopeo", "skopeo"),
    DebianPeer("bash", "bash"),
    DebianPeer("fish", "fish"),
    DebianPeer("zsh", "zsh"),
)
PEERS: dict[str, GoPeer | DebianPeer] = {peer.name: peer for peer in (*GO_PEERS, *DEBIAN_PEERS)}


def find(name: str) -> Path:
    """The peer's command, built or installed if need be.

    Raises:
        PeerMissingError: it is not here and cannot be had.
    """
    peer = PEERS[name]
    return _built(peer) if isinstance(peer, GoPeer) else _installed(peer)


def module_folder(name: str) -> Path:
    """The source folder of a Go peer's module, with the test data it carries.

    Raises:
        PeerMissingError: Go is not installed, or the module cannot be had.
    """
    peer = PEERS[name]
    if not isinstance(peer, GoPeer):
        raise PeerMissingError(f"{name} is no Go module")
    lines = _go_mod(peer).read_text().replace("require ", "").splitlines()
    module, version = next(words[:2] for line in lines if (words := line.split()) and peer.package.startswith(words[0]))
    done = subprocess.run(
        [_go(), "mod", "download", "-json", f"{module}@{version}"],
        cwd=_go_mod(peer).parent,
        capture_output=True,
        text=True,
        check=False,
    )
    folder = [line.split('"')[3] for line in done.stdout.splitlines() if line.strip().startswith('"Dir"')]
    if done.returncode or not folder:
        raise PeerMissingError(f"the module of {name} cannot be had: {done.stderr.strip() or done.stdout.strip()}")
    return Path(folder[0])


def _go_mod(peer: GoPeer) -> Path:
    return GO_MODULES / peer.module / "go.mod"


def _go() -> str:
    go = shutil.which("go")
    if go is None:
        raise PeerMissingError("Go is not installed")
    return go


def _built(peer: GoPeer) -> Path:
    root = cache_root() / "peers"
    sources = sorted(path for path in _go_mod(peer).parent.iterdir() if path.is_file())
    key = key_of(repr(peer), *(part for path in sources for part in (path.name, path.read_bytes())))
    target = root / f"{peer.name}-{key}"
    binary = target / peer.name
    if binary.exists():
        return binary
    go = _go()
    with locked(root / f"{peer.name}.lock"):
        if not binary.exists():
            with published(target) as fresh:
                _build(go, peer, fresh / peer.name)
    return binary


def _build(go: str, peer: GoPeer, output: Path) -> None:
    with tempfile.TemporaryDirectory() as folder:
        # A copy, so that a build can never change the versions that are committed.
        module = Path(shutil.copytree(_go_mod(peer).parent, Path(folder) / "module"))
        command = [go, "build", "-mod=mod", "-trimpath", "-o", str(output)]
        command += ["-ldflags", f"-s -w {peer.ldflags}".strip()]
        command += ["-tags", peer.tags] if peer.tags else []
        done = subprocess.run(
            [*command, peer.package],
            cwd=module,
            env={**os.environ, "CGO_ENABLED": "0", "GOFLAGS": "-buildvcs=false", "GOWORK": "off"},
            capture_output=True,
            text=True,
            check=False,
        )
    if done.returncode:
        raise PeerMissingError(f"{peer.name} cannot be built: {done.stderr.strip()[-2000:]}")


def _installed(peer: DebianPeer) -> Path:
    found = shutil.which(peer.name)
    if found is None:
        if shutil.which("apt-get") is None or os.geteuid() != 0:
            raise PeerMissingError(f"{peer.name} is not installed (Debian package {peer.package})")
        with locked(cache_root() / "peers" / "apt.lock"):
            found = shutil.which(peer.name) or _install(peer)
    return Path(found)


def _install(peer: DebianPeer) -> str:
    # With run level 1 Debian does not start a registry on its well-known port; the tests start their own.
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "RUNLEVEL": "1"}
    install = ["apt-get", "install", "-y", "--no-install-recommends", "-o", "DPkg::Lock::Timeout=300", peer.package]
    for command in (["apt-get", "update"], install):
        done = subprocess.run(
            command, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
        )
    found = shutil.which(peer.name)
    if found is None:
        raise PeerMissingError(f"{peer.name} cannot be installed: {done.stderr.strip()[-500:]}")
    return found


def _wanted(arguments: Iterable[str]) -> list[str]:
    names: dict[str, None] = {}
    for argument in arguments:
        if argument == "all":
            names.update(dict.fromkeys(PEERS))
        elif argument == "default":
            names.update({name: None for name, peer in PEERS.items() if not peer.expensive})
        else:
            names[argument] = None
    return list(names)


def main(arguments: list[str]) -> int:
    """Makes peers ready one after another; 1 if one cannot be had."""
    missing = 0
    for name in _wanted(arguments or ["default"]):
        started = time.monotonic()
        try:
            path = find(name)
        except PeerMissingError as error:
            missing = 1
            print(f"peer {name}: {error}", file=sys.stderr)
        else:
            print(f"peer {name}: {path} ({time.monotonic() - started:.0f} s)", flush=True)
    return missing


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
