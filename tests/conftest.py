"""Fixtures for all tests: real peers, registries on free ports, the corpus. The machinery is in `harness`."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings

from harness import corpus as corpus_cases
from harness import environments, peers, registries
from harness.kit import Kit
from harness.processes import Server

if TYPE_CHECKING:
    from kitcar.server import RunningRegistry

# How long an example takes says more about the machine than about the code.
settings.register_profile(
    "kitcar",
    deadline=None,
    derandomize=bool(os.environ.get("CI")),
    suppress_health_check=[HealthCheck.too_slow],
    print_blob=True,
)
settings.load_profile("kitcar")

PEER_FOLDERS = (Path(__file__).parent / "peers", Path(__file__).parent / "e2e")
PEER_FIXTURES = {
    "kit_binary": "kit",
    "crane": "crane",
    "registry_binary": "registry",
    "regctl": "regctl",
    "oras": "oras",
    "formats": "formats",
    "cosign": "cosign",
    "docker_registry_binary": "docker-registry",
    "skopeo": "skopeo",
    "bash_binary": "bash",
    "fish_binary": "fish",
    "zsh_binary": "zsh",
}
REQUIREMENTS = Path(__file__).parents[1] / "requirements"
ENVIRONMENT_FIXTURES = {
    "mlserver_environment": REQUIREMENTS / "demo.txt",
    "moto_environment": REQUIREMENTS / "moto.txt",
}
ENVIRONMENT = ("KITOPS_HOME", "DOCKER_CONFIG", "REGISTRY_AUTH_FILE", "SSL_CERT_FILE", "SOURCE_DATE_EPOCH", "KIT_USER")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What lies in a folder of peers is a test of peers."""
    for item in items:
        if any(folder in item.path.parents for folder in PEER_FOLDERS):
            item.add_marker(pytest.mark.peer)


def pytest_collection_finish(session: pytest.Session) -> None:
    """Makes the peers ready that the chosen tests ask for, so that no test's time limit counts a build."""
    if session.config.option.collectonly:
        return
    for item in session.items:
        for fixture in PEER_FIXTURES.keys() & set(getattr(item, "fixturenames", ())):
            _peer(PEER_FIXTURES[fixture])
        for fixture in ENVIRONMENT_FIXTURES.keys() & set(getattr(item, "fixturenames", ())):
            environments.environment(ENVIRONMENT_FIXTURES[fixture])


_FOUND: dict[str, Path | peers.PeerMissingError] = {}


def _peer(name: str) -> Path | peers.PeerMissingError:
    if name not in _FOUND:
        try:
            _FOUND[name] = peers.find(name)
        except peers.PeerMissingError as error:
            _FOUND[name] = error
    return _FOUND[name]


def require(name: str) -> Path:
    """The command of a peer. Without it the test is skipped, and under CI it fails."""
    found = _peer(name)
    if isinstance(found, Path):
        return found
    if os.environ.get("CI"):
        pytest.fail(str(found), pytrace=False)
    pytest.skip(str(found))


@pytest.fixture(scope="session", autouse=True)
def clean_environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """No test reads this user's home, credentials or proxies, nor inherits that interrupts are ignored."""
    # A shell starts its background jobs so, and the processes that tests interrupt would never hear of it.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    home = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        # Go keeps its modules and its build cache below the home unless told otherwise.
        for name, default in (("GOPATH", "go"), ("GOCACHE", ".cache/go-build"), ("KITCAR_CACHE", ".cache/kitcar")):
            patch.setenv(name, os.environ.get(name) or str(Path.home() / default))
        for name in (*ENVIRONMENT, *(name for name in os.environ if name.lower().endswith("_proxy"))):
            patch.delenv(name, raising=False)
        for name in [name for name in os.environ if name.startswith(("XDG_", "AWS_", "KITCAR_LOG"))]:
            patch.delenv(name)
        patch.setenv("HOME", str(home))
        yield


@pytest.fixture(scope="session")
def kit_binary() -> Path:
    """A real kit."""
    return require("kit")


@pytest.fixture(scope="session")
def crane() -> Path:
    """go-containerregistry's client."""
    return require("crane")


@pytest.fixture(scope="session")
def registry_binary() -> Path:
    """go-containerregistry's registry."""
    return require("registry")


@pytest.fixture(scope="session")
def regctl() -> Path:
    """regclient's client."""
    return require("regctl")


@pytest.fixture(scope="session")
def oras() -> Path:
    """The client of ORAS."""
    return require("oras")


@pytest.fixture(scope="session")
def formats() -> Path:
    """What Go's tar writer and moby's pattern matcher say."""
    return require("formats")


@pytest.fixture(scope="session")
def cosign() -> Path:
    """Sigstore's signer, for expensive tests only."""
    return require("cosign")


@pytest.fixture(scope="session")
def skopeo() -> Path:
    """skopeo, of Debian."""
    return require("skopeo")


@pytest.fixture(scope="session")
def bash_binary() -> Path:
    """The shell bash."""
    return require("bash")


@pytest.fixture(scope="session")
def fish_binary() -> Path:
    """The shell fish."""
    return require("fish")


@pytest.fixture(scope="session")
def zsh_binary() -> Path:
    """The shell zsh."""
    return require("zsh")


@pytest.fixture(scope="session")
def shells(bash_binary: Path, fish_binary: Path, zsh_binary: Path) -> dict[str, Path]:
    """The shells that kitcar completes in, by name."""
    return {"bash": bash_binary, "fish": fish_binary, "zsh": zsh_binary}


@pytest.fixture(scope="session")
def docker_registry_binary() -> Path:
    """Docker's registry, of Debian."""
    return require("docker-registry")


@pytest.fixture(scope="session")
def mlserver_environment() -> Path:
    """The folder of a virtual environment with MLServer and scikit-learn."""
    return environments.environment(ENVIRONMENT_FIXTURES["mlserver_environment"])


@pytest.fixture(scope="session")
def moto_environment() -> Path:
    """The folder of a virtual environment with moto, which is AWS as a server."""
    return environments.environment(ENVIRONMENT_FIXTURES["moto_environment"])


@pytest.fixture(scope="session")
def kit_module() -> Path:
    """The source folder of kit's module, with the test data it carries."""
    try:
        return peers.module_folder("kit")
    except peers.PeerMissingError as error:
        if os.environ.get("CI"):
            pytest.fail(str(error), pytrace=False)
        pytest.skip(str(error))


@pytest.fixture
def kit(kit_binary: Path, tmp_path: Path) -> Callable[..., Kit]:
    """Makes runners of a real kit: `kit(home)`, or `kit()` for a home of this test."""

    def runner(home: Path | None = None) -> Kit:
        return Kit(kit_binary, home or tmp_path / "kit-home")

    return runner


@pytest.fixture(scope="session")
def docker_registry(docker_registry_binary: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Docker's registry; tests keep apart by the names of their repositories."""
    with registries.docker_registry(docker_registry_binary, tmp_path_factory.mktemp("docker-registry")) as running:
        yield running


@pytest.fixture(scope="session")
def docker_registry_auth(docker_registry_binary: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Docker's registry that asks for a name and a password."""
    folder = tmp_path_factory.mktemp("docker-registry-auth")
    with registries.docker_registry(docker_registry_binary, folder, auth=True) as running:
        yield running


@pytest.fixture(scope="session")
def crane_registry(registry_binary: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """go-containerregistry's registry with the referrers API."""
    with registries.crane_registry(registry_binary, tmp_path_factory.mktemp("crane-registry")) as running:
        yield running


@pytest.fixture
def embedded_registry(tmp_path: Path) -> Iterator[RunningRegistry]:
    """kitcar's own registry, in a thread of this process, over a folder of this test."""
    from kitcar.server import RunningRegistry

    with RunningRegistry(tmp_path / "embedded-registry") as running:
        yield running


@pytest.fixture(params=corpus_cases.load(), ids=lambda case: case.name)
def corpus_case(request: pytest.FixtureRequest) -> corpus_cases.Case:
    """Each ModelKit of the corpus in turn."""
    case: corpus_cases.Case = request.param
    return case


@pytest.fixture(scope="session")
def corpus() -> dict[str, corpus_cases.Case]:
    """All ModelKits of the corpus by name."""
    return {case.name: case for case in corpus_cases.load()}
