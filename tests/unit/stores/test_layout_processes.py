"""Many processes, one store: nothing is lost and nothing is half there."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from kitcar.stores.layout import LayoutStore
from kitcar.testing.samples import sample

PROCESSES, ROUNDS = 16, 3

WORKER = """
import sys
from pathlib import Path
from kitcar.stores.layout import LayoutStore
from kitcar.testing.samples import ChunkStream, sample
root, number, rounds = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
sys.stdin.readline()
repository = LayoutStore(root).repository("localhost/shared")
for turn in range(rounds):
    # One layer is everybody's, so that each removal may take away what another process is about to name.
    kept = sample(b"everybody's", b"%d" % number, config=b'{"turn":%d}' % turn)
    gone = sample(b"everybody's", b"only for a moment", config=b'{"number":%d}' % number)
    for kit in (gone, kept):
        for layer, data in kit.blobs.items():
            if not repository.exists(layer):
                repository.ingest(ChunkStream(data))
        kit.push(repository, f"p{number}-{turn}" if kit is kept else f"gone-{number}")
    repository.delete(gone.descriptor)
"""


def test_sixteen_processes_lose_no_tag_and_no_blob(tmp_path: Path) -> None:
    root = tmp_path / "storage"
    workers = [
        subprocess.Popen(
            [sys.executable, "-c", WORKER, root, str(number), str(ROUNDS)],
            stdin=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for number in range(PROCESSES)
    ]
    errors = [""] * PROCESSES
    for worker in workers:
        assert worker.stdin
        worker.stdin.write("go\n")
        worker.stdin.flush()
    for number, worker in enumerate(workers):
        errors[number] = worker.communicate()[1]
    assert errors == [""] * PROCESSES
    store = LayoutStore(root)
    repository = store.repository("localhost/shared")
    expected = {f"p{number}-{turn}" for number in range(PROCESSES) for turn in range(ROUNDS)}
    assert set(repository.tags()) == expected
    assert len(repository.manifests()) == len(expected)
    listed = {entry["digest"] for entry in json.loads((root / "index.json").read_bytes())["manifests"]}
    assert listed == {str(item.digest) for item in repository.manifests()}
    for number in range(PROCESSES):
        for layer in sample(b"everybody's", b"%d" % number).layers:
            assert store.intact(layer)
    assert not store.intact(sample(b"only for a moment").layers[0])
    assert list((root / "ingest").iterdir()) == []


def test_what_another_user_left_hinders_nobody(tmp_path: Path) -> None:
    storage = tmp_path / "storage"
    LayoutStore(storage).prepare()
    (storage / "ingest").mkdir(exist_ok=True)
    for left in (storage / ".kitcar" / "0-0.lease", storage / "ingest" / "layer-1-0.part"):
        left.touch(mode=0)
    for path in (storage, storage / ".kitcar", storage / "ingest"):
        path.chmod(0o777)
    (storage / ".kitcar" / "lock").chmod(0o666)
    code = """
import os, sys
from pathlib import Path
from kitcar.stores.layout import LayoutStore
os.chdir(sys.argv[1])
if os.geteuid() == 0:
    os.setuid(65534)
LayoutStore(Path(".")).prepare()
"""
    done = subprocess.run([sys.executable, "-c", code, storage], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert (storage / "ingest" / "layer-1-0.part").exists()
