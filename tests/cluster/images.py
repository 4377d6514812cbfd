"""The images a demonstration runs, as this checkout has them: built when their inputs changed, and given to the node."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterable, Sequence
from hashlib import sha256
from pathlib import Path

from tests.cluster import node
from tests.cluster.lock import held
from tests.cluster.place import ClusterPlace, cache

ROOT = Path(__file__).parents[2]
_INPUTS = {
    "clone": (
        "deploy/docker/images", "deploy/docker/clone", "deploy/docker/web_configuration.py", "wpclone/standalone/apache.py",
        "wpclone/standalone/apache.conf.template", "wpclone/standalone/php.ini.template", "workers/runtimes/manifests.py",
    ),
    "service": (
        "deploy/docker/images", "deploy/docker/service", "requirements/service.txt", "wpclone", "server", "workers", "gen",
    ),
    "nats": ("deploy/docker/images", "deploy/docker/nats", "requirements/dev.txt"),
    "envoy": ("deploy/docker/images", "deploy/docker/envoy", "requirements/dev.txt"),
}  # fmt: skip
"""What each image is made of; a change of the base's Debian packages is no reason to build again."""
_BUILD_SECONDS = 1800


def give_images(place: ClusterPlace, kinds: Iterable[str] = tuple(_INPUTS)) -> dict[str, str]:
    """Have these images on the node; their names by kind. Raises RuntimeError when one cannot be built."""
    names = {kind: f"localhost/wpclone-{kind}:{_digest(_INPUTS[kind])}" for kind in kinds}
    there = set(node.images(place))
    for kind, name in names.items():
        if name not in there:
            # By the name that was decided on: sources may change while an image is built.
            node.load_image(place, _archive(kind, name.rpartition(":")[2]))
    return names


def archive_of(kind: str) -> Path:
    """The archive of an image, built when its inputs have changed. Raises RuntimeError when it cannot be built."""
    return _archive(kind, _digest(_INPUTS[kind]))


def _archive(kind: str, version: str) -> Path:
    archive = cache() / "images" / version / f"wpclone-{kind}.tar"
    with held(cache() / "images.lock", within=_BUILD_SECONDS):  # two builds at once are slower than two in turn
        if not archive.exists():
            _build(kind, version, archive)
    return archive


def _digest(paths: Sequence[str]) -> str:
    listed = subprocess.run(
        ["git", "ls-files", "-z", *paths],
        cwd=ROOT, capture_output=True, timeout=60, check=True,
    ).stdout  # fmt: skip
    digest = sha256()
    for name in sorted(filter(None, listed.decode().split("\0"))):
        if (ROOT / name).is_file():
            digest.update(name.encode() + b"\0" + (ROOT / name).read_bytes() + b"\0")
    return digest.hexdigest()[:12]


def _build(kind: str, version: str, archive: Path) -> None:
    """One image; older archives of its kind go, because each is hundreds of megabytes."""
    for older in archive.parent.parent.glob(f"*/{archive.name}"):
        older.unlink()
        if not any(older.parent.iterdir()):
            older.parent.rmdir()
    fresh = archive.parent / "new"  # whole when it gets its name: an end in the middle leaves no half archive to load
    built = subprocess.run(
        ["nice", "-n", "10", ROOT / "deploy" / "docker" / "images", fresh, kind],
        env=os.environ | {"VERSION": version, "LAYERS": "1"}, stdout=subprocess.PIPE, timeout=_BUILD_SECONDS, check=False,
    )  # fmt: skip
    if built.returncode:
        raise RuntimeError(f"the image {kind} cannot be built; see above")
    (fresh / archive.name).rename(archive)
    fresh.rmdir()
