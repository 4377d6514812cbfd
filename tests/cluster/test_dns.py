"""What pods are told by the test cluster's DNS."""

import socket
import struct

from tests.cluster.bench import kubectl
from tests.cluster.place import ClusterPlace

NXDOMAIN = 3


def ask(server: str, name: str) -> str:
    """The first address of a name, else the answer's code (RFC 1035 §4)."""
    labels = b"".join(bytes([len(label)]) + label.encode() for label in name.split("."))
    question = struct.pack(">6H", 7, 0x0100, 1, 0, 0, 0) + labels + b"\0" + struct.pack(">2H", 1, 1)
    with socket.socket(type=socket.SOCK_DGRAM) as asking:
        asking.settimeout(20)
        asking.sendto(question, (server, 53))
        answer = asking.recv(4096)
    flags, _, answers = struct.unpack(">3H", answer[2:8])
    return socket.inet_ntoa(answer[-4:]) if answers else str(flags & 0xF)


def test_pods_find_services_and_what_this_machine_has_and_nothing_else(own_cluster: ClusterPlace, nodes: None) -> None:
    api = kubectl("get", "service", "kubernetes", "-n", "default", "-o", "jsonpath={.spec.clusterIP}")
    assert ask(own_cluster.address, "kubernetes.default.svc.cluster.local") == api
    for name in ("clone-0123456789ab.clones.test", "source.test"):
        assert ask(own_cluster.address, name) == own_cluster.address
    for name in ("example.com", "nothing.default.svc.cluster.local"):
        assert ask(own_cluster.address, name) == str(NXDOMAIN)
