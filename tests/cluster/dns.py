"""The test cluster's DNS, at the bridge's address: Services and pods by their names, and `*.test` for what this machine has.

Names below `.test` (RFC 6761 §6.2: nobody's) are clones behind the Gateway and source sites on this machine: both listen at the
bridge. Nothing else resolves; no question leaves this machine.
"""

from __future__ import annotations

import socket

from tests.cluster import binaries
from tests.cluster.place import ClusterPlace
from tests.cluster.processes import start, wait_for

NAME = "dns"


def start_dns(place: ClusterPlace) -> None:
    """Start it unless it runs, and return when it listens. Raises NotReady, Missing."""
    (place.directory / "Corefile").write_text(_corefile(place))
    start(place.directory, NAME, [binaries.coredns(), "-conf", place.directory / "Corefile"])
    wait_for(place.directory, NAME, lambda: _listens(place.address), within=60)


def _corefile(place: ClusterPlace) -> str:
    return f"""
cluster.local:53 in-addr.arpa:53 {{
  bind {place.address}
  errors
  kubernetes cluster.local in-addr.arpa {{
    kubeconfig {place.kubeconfig()}
  }}
}}
test:53 {{
  bind {place.address}
  template IN A test {{
    answer "{{{{ .Name }}}} 5 IN A {place.address}"
  }}
  template ANY ANY test {{
    rcode NOERROR
  }}
}}
.:53 {{
  bind {place.address}
  template ANY ANY . {{
    rcode NXDOMAIN
  }}
}}
"""


def _listens(address: str) -> bool:
    with socket.socket() as probe:
        probe.settimeout(2)
        return probe.connect_ex((address, 53)) == 0
