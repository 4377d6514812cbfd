"""The node: containerd, kubelet and kube-proxy on a bridge that leads nowhere outside this machine. Needs root and cgroups.

Traps: Debian's iptables-nft lacks what kube-proxy asks for, so it gets the legacy tools by PATH; without
CAP_SYS_RESOURCE runc needs `restrict_oom_score_adj`; a node whose address is loopback gets no addresses at all.
"""

from __future__ import annotations

import io
import json
import os
import subprocess
import tarfile
import tempfile
from contextlib import suppress
from hashlib import sha256
from pathlib import Path

import yaml

from tests.cluster import binaries
from tests.cluster.control_plane import answers
from tests.cluster.place import ClusterPlace
from tests.cluster.processes import is_running, start, stop, wait_for

NAMES = ("proxy", "kubelet")
PAUSE = "localhost/pause:1"
"""The image of what holds a pod's namespaces: it does nothing until it is ended."""
_PAUSE_PROGRAM = """
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>
static void leave(int number) { exit(0); }
static void reap(int number) { while (waitpid(-1, 0, WNOHANG) > 0); }
int main(void) { signal(SIGINT, leave); signal(SIGTERM, leave); signal(SIGCHLD, reap); for (;;) pause(); }
"""


def start_node(place: ClusterPlace) -> None:
    """Start it, or what is missing of it, and return when the node is Ready. Raises NotReady, Missing."""
    kube, path = binaries.kube(), {"PATH": f"{_legacy_tools(place)}:{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin"}
    (place.containerd / "cni").mkdir(parents=True, exist_ok=True)
    (place.containerd / "config.toml").write_text(_containerd_config(place))
    (place.containerd / "cni" / "10-bridge.conflist").write_text(json.dumps(_network(place)))
    for name, document in (("kubelet", _kubelet(place)), ("proxy", _proxy(place))):
        (place.directory / f"{name}.yaml").write_text(yaml.safe_dump(document))
    start(place.directory, "containerd", [binaries.debian("containerd"), "--config", place.containerd / "config.toml"])
    wait_for(place.directory, "containerd", lambda: _ctr(place, "version").returncode == 0, within=60)
    if PAUSE not in _ctr(place, "images", "ls", "-q").stdout:
        _make_pause_image(place)
    start(
        place.directory, "kubelet",
        [
            kube, "kubelet", "--config", place.directory / "kubelet.yaml", "--kubeconfig", place.kubeconfig("kubelet"),
            "--root-dir", place.directory / "kubelet", "--cert-dir", place.directory / "kubelet" / "pki",
            "--hostname-override", "node1", "--node-ip", place.address,
        ],
        path,
    )  # fmt: skip
    start(place.directory, "proxy", [kube, "kube-proxy", "--config", place.directory / "proxy.yaml"], path)
    wait_for(place.directory, "kubelet", lambda: answers(place, "/api/v1/nodes/node1", '"KubeletReady"'), within=120)


def load_image(place: ClusterPlace, archive: Path) -> None:
    """Give the node an image (a docker-archive or an OCI archive) instead of the older ones of its name."""
    before = set(images(place))
    result = _ctr(place, "images", "import", str(archive))
    if result.returncode:
        raise RuntimeError(f"the image cannot be loaded: {result.stderr}")
    for image in before:
        name = image.rpartition(":")[0]
        if f"{name}:" in result.stdout and f"{image} " not in result.stdout:
            _ctr(place, "images", "rm", image)


def images(place: ClusterPlace) -> list[str]:
    """The images on the node, by name."""
    return _ctr(place, "images", "ls", "-q").stdout.split()


def end_node(place: ClusterPlace) -> None:
    """End every container, process, mount, rule and bridge that the node made."""
    for name in NAMES:
        stop(place.directory, name)
    if is_running(place.directory, "containerd"):
        _end_containers(place)
    stop(place.directory, "containerd")
    _unmount(place)
    _remove_rules(place)
    for path in sorted(Path("/sys/fs/cgroup").glob("**/kubepods*"), reverse=True):
        for below in sorted([path, *path.rglob("*/")], key=lambda each: len(each.parts), reverse=True):
            with suppress(OSError):
                below.rmdir()


def make_bridge(place: ClusterPlace) -> None:
    """The pods' bridge. What comes from it goes nowhere but back to it and to this machine."""
    if not Path(f"/sys/class/net/{place.bridge}").exists():
        for words in (
            f"link add {place.bridge} type bridge",
            f"addr add {place.address}/24 dev {place.bridge}",
            f"link set {place.bridge} up",
            # An address of a Service that leads nowhere yet must not be asked for outside of this machine.
            f"route add {place.services}.0/16 dev {place.bridge}",
        ):
            subprocess.run(["ip", *words.split()], check=True, timeout=30)
    rule = ["FORWARD", "-i", place.bridge, "!", "-o", place.bridge, "-j", "DROP"]
    if _iptables("-C", *rule).returncode:
        _iptables("-I", *rule).check_returncode()


def _iptables(*words: str) -> subprocess.CompletedProcess[str]:
    program = binaries.debian("iptables-legacy")
    return subprocess.run([program, "-w", *words], capture_output=True, text=True, timeout=30, check=False)


def _ctr(place: ClusterPlace, *words: str) -> subprocess.CompletedProcess[str]:
    command = [binaries.debian("ctr"), "-a", str(place.socket), "-n", "k8s.io", *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)


def _legacy_tools(place: ClusterPlace) -> Path:
    directory = place.directory / "bin"
    directory.mkdir(parents=True, exist_ok=True)
    for family in ("iptables", "ip6tables"):
        for tool in ("", "-save", "-restore"):
            link = directory / f"{family}{tool}"
            link.unlink(missing_ok=True)
            link.symlink_to(binaries.debian(f"{family}-legacy{tool}"))
    return directory


def _containerd_config(place: ClusterPlace) -> str:
    return f"""version = 2
root = "{place.containerd}/root"
state = "{place.containerd}/state"
[grpc]
  address = "{place.socket}"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{PAUSE}"
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "{place.containerd}/cni"
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
      BinaryName = "{binaries.debian("runc")}"
"""


def _network(place: ClusterPlace) -> dict[str, object]:
    addresses = {
        "type": "host-local", "dataDir": str(place.containerd / "ipam"),
        "ranges": [[{"subnet": f"{place.network}.0/24"}]], "routes": [{"dst": "0.0.0.0/0"}],
    }  # fmt: skip
    bridge = {
        "type": "bridge",
        "bridge": place.bridge,
        "isGateway": True,
        "ipMasq": False,
        "hairpinMode": True,
        "ipam": addresses,
    }
    return {"cniVersion": "1.0.0", "name": "wpclone", "plugins": [bridge]}


def _kubelet(place: ClusterPlace) -> dict[str, object]:
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1", "kind": "KubeletConfiguration",
        "address": place.address, "port": place.port + 5, "healthzPort": 0,
        "cgroupDriver": "cgroupfs", "failCgroupV1": False, "failSwapOn": False, "enforceNodeAllocatable": [],
        "containerRuntimeEndpoint": f"unix://{place.socket}",
        "authentication": {"anonymous": {"enabled": False}, "x509": {"clientCAFile": f"{place.pki}/ca.crt"}},
        "authorization": {"mode": "Webhook"},
        "clusterDomain": "cluster.local", "clusterDNS": [place.address], "resolvConf": "",
        "maxPods": 200, "imageGCHighThresholdPercent": 100,
        "evictionHard": {"memory.available": "100Mi", "nodefs.available": "1%", "imagefs.available": "1%"},
        "podLogsDir": str(place.directory / "pod-logs"),
        "tlsCertFile": f"{place.pki}/kubelet.crt", "tlsPrivateKeyFile": f"{place.pki}/kubelet.key",
    }  # fmt: skip


def _proxy(place: ClusterPlace) -> dict[str, object]:
    return {
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1", "kind": "KubeProxyConfiguration", "mode": "iptables",
        "bindAddress": "127.0.0.1", "healthzBindAddress": f"127.0.0.1:{place.port + 6}",
        "metricsBindAddress": f"127.0.0.1:{place.port + 7}", "clusterCIDR": f"{place.network}.0/24", "hostnameOverride": "node1",
        "clientConnection": {"kubeconfig": str(place.kubeconfig("proxy"))}, "conntrack": {"maxPerCore": 0, "min": 0},
        # From pod to pod by a Service's address: else the answer crosses the bridge by itself where br_netfilter is missing.
        "iptables": {"masqueradeAll": True},
    }  # fmt: skip


def _make_pause_image(place: ClusterPlace) -> None:
    """What holds a pod's namespaces: a static program in an image of one layer, because no registry is reachable."""
    with tempfile.TemporaryDirectory() as scratch:
        source, program, archive = (Path(scratch) / name for name in ("pause.c", "pause", "pause.tar"))
        source.write_text(_PAUSE_PROGRAM)
        subprocess.run([binaries.debian("gcc"), "-static", "-Os", "-s", "-o", program, source], check=True, timeout=120)
        layer = io.BytesIO()
        with tarfile.open(fileobj=layer, mode="w") as tar:
            tar.add(program, arcname="pause")
        digest = sha256(layer.getvalue()).hexdigest()
        config = {
            "architecture": "amd64", "os": "linux", "config": {"Cmd": ["/pause"]},
            "rootfs": {"type": "layers", "diff_ids": [f"sha256:{digest}"]},
        }  # fmt: skip
        manifest = [{"Config": "config.json", "RepoTags": [PAUSE], "Layers": ["layer.tar"]}]
        with tarfile.open(archive, mode="w") as tar:
            for name, data in (
                ("config.json", json.dumps(config).encode()),
                ("manifest.json", json.dumps(manifest).encode()),
                ("layer.tar", layer.getvalue()),
            ):
                entry = tarfile.TarInfo(name)
                entry.size = len(data)
                tar.addfile(entry, io.BytesIO(data))
        load_image(place, archive)


def _end_containers(place: ClusterPlace) -> None:
    tasks = _ctr(place, "tasks", "ls", "-q").stdout.split()
    for task in tasks:
        _ctr(place, "tasks", "kill", "-a", "-s", "SIGKILL", task)
    for container in _ctr(place, "containers", "ls", "-q").stdout.split():
        _ctr(place, "tasks", "delete", "-f", container)
        _ctr(place, "containers", "delete", container)
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            words = (process / "cmdline").read_bytes().split(b"\0")
            if words[0].endswith(b"containerd-shim-runc-v2") and str(place.socket).encode() in words:
                os.kill(int(process.name), 9)


def _unmount(place: ClusterPlace) -> None:
    inside = [line.split()[1] for line in Path("/proc/mounts").read_text().splitlines()]
    for mount in sorted((each for each in inside if each.startswith(f"{place.directory}/")), reverse=True):
        subprocess.run(["umount", "-l", mount], check=False, timeout=30)


def _remove_rules(place: ClusterPlace) -> None:
    """Take away kube-proxy's and the kubelet's rules, the pods' network namespaces and the bridge."""
    if not Path(f"/sys/class/net/{place.bridge}").exists():
        return
    environment = os.environ | {"PATH": f"{place.directory}/bin:{os.environ.get('PATH', os.defpath)}"}
    subprocess.run([binaries.kube(), "kube-proxy", "--cleanup"], env=environment, capture_output=True, timeout=60, check=False)
    _iptables("-D", "FORWARD", "-i", place.bridge, "!", "-o", place.bridge, "-j", "DROP")
    for tool in ("iptables-legacy", "ip6tables-legacy"):
        program = binaries.debian(tool)
        for words in (
            *(f"-D {hook} -j KUBE-FIREWALL" for hook in ("INPUT", "OUTPUT")),
            *(
                f"-t {table} {act} {chain}"
                for table in ("filter", "nat", "mangle")
                for chain in ("KUBE-FIREWALL", "KUBE-KUBELET-CANARY", "KUBE-IPTABLES-HINT")
                for act in ("-F", "-X")
            ),
        ):
            subprocess.run([program, "-w", *words.split()], capture_output=True, timeout=30, check=False)
    names = subprocess.run(["ip", "netns", "list"], capture_output=True, text=True, timeout=30, check=False).stdout
    for line in names.splitlines():
        name = line.split()[0]
        if name.startswith("cni-") and not _has_processes(name):
            subprocess.run(["ip", "netns", "del", name], capture_output=True, timeout=30, check=False)
    subprocess.run(["ip", "link", "del", place.bridge], check=False, timeout=30)


def _has_processes(namespace: str) -> bool:
    told = subprocess.run(["ip", "netns", "pids", namespace], capture_output=True, text=True, timeout=30, check=False)
    return bool(told.stdout.strip())
