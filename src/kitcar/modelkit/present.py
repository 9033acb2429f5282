"""Whether a directory holds a layer already: what is there is packed again in memory and its digest compared."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterable
from pathlib import Path

from kitcar.errors import CancelledError, KitcarError
from kitcar.files.paths import RESERVED
from kitcar.files.tree import Tree
from kitcar.modelkit.ignore import IgnoreRules
from kitcar.modelkit.plan import LayerPlan, plan_raw, plan_tar
from kitcar.modelkit.stream import LayerStream
from kitcar.oci.digest import Digest
from kitcar.oci.verify import Ring

_RING = Ring(4, 512 * 1024)


def holds_tar(
    root: Path, path: str, diff_id: Digest, *, size: int | None, others: Iterable[str], check: Callable[[], None]
) -> bool:
    """Whether the tree at the clean `path` below `root` packs to a tar layer with this `diff_id`.

    True is certain. False may also mean that modes differ (a umask took bits of them), or that something else lies there.

    Args:
        size: bytes of the uncompressed layer, if known: most differences show in it, without a file being read.
        others: the clean paths of all other entries.
        check: called now and then, raises `CancelledError` to stop.
    """
    if not _exists(root, path):
        return False
    try:
        plan = plan_tar(Tree(root), path, IgnoreRules.parse(f"{RESERVED}\n".encode()), others)
        return size in (None, plan.size) and _packs_to(plan, diff_id, check)
    except CancelledError:
        raise
    except KitcarError:
        return False


def holds_raw(root: Path, path: str, diff_id: Digest, *, size: int | None, check: Callable[[], None]) -> bool:
    """Whether the file at the clean `path` below `root` has this digest; see `holds_tar`."""
    if not _exists(root, path):
        return False
    try:
        plan = plan_raw(Tree(root), path)
        return size in (None, plan.size) and _packs_to(plan, diff_id, check)
    except CancelledError:
        raise
    except KitcarError:
        return False


def _exists(root: Path, path: str) -> bool:
    """Whether something other than a link is there; cheap, as most are asked of an empty directory."""
    try:
        return not stat.S_ISLNK(os.lstat(root / path).st_mode)
    except OSError:
        return False


def _packs_to(plan: LayerPlan, diff_id: Digest, check: Callable[[], None]) -> bool:
    if diff_id.algorithm != "sha256":
        return False
    stream = LayerStream(plan, ring=_RING, watch=lambda _: check())
    for _ in stream.chunks():
        pass
    return stream.diff_id() == diff_id
