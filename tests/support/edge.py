"""A real Envoy in front of an in-process server, and a client that speaks REST to it."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp

from tests.support.places import free_port, open_directory
from tests.support.servers import SERVICE
from tests.support.serving import CUSTOMER, Edge, serving
from wpclone.standalone import envoy

ROOT = Path(__file__).parents[2]
TEMPLATE = ROOT / "deploy" / "envoy" / "envoy.yaml"
DESCRIPTOR = ROOT / "gen" / "wpclone" / "v2" / "descriptor.binpb"


def envoy_place(directory: Path, grpc_port: int) -> envoy.EnvoyPlace:
    """An Envoy of this run; the files it reads are copied to where its account reaches them."""
    for source in (TEMPLATE, DESCRIPTOR):
        (directory / source.name).write_bytes(source.read_bytes())
    return envoy.EnvoyPlace(
        directory=directory / "envoy", template=directory / TEMPLATE.name, descriptor=directory / DESCRIPTOR.name,
        routes=directory / "routes", api_port=free_port(), clones_port=free_port(), grpc_port=grpc_port,
        admin_port=free_port(), account=SERVICE,
    )  # fmt: skip


@dataclass
class Rest:
    """REST through Envoy to `edge`, as one of its customers."""

    edge: Edge
    place: envoy.EnvoyPlace
    session: aiohttp.ClientSession

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.place.api_port}{path}"

    async def call(
        self, method: str, path: str, *, as_: str | None = CUSTOMER, headers: Mapping[str, str] | None = None, **body: Any
    ) -> "Answer":
        """One call; `json=` or `data=` is its body; `as_=None` sends no token."""
        sent = {"x-request-id": "req-1", **(headers or {})}
        if as_ is not None:
            sent["authorization"] = f"Bearer {self.edge.tokens.get(as_, as_)}"
        async with self.session.request(method, self.url(path), headers=sent, **body) as response:
            is_json = response.content_type == "application/json"
            return Answer(response.status, response.headers, await response.json() if is_json else await response.text())


@dataclass
class Answer:
    """What REST said."""

    status: int
    headers: Mapping[str, str]
    body: Any

    @property
    def reason(self) -> str:
        """The ErrorInfo's reason."""
        found = [detail["reason"] for detail in self.body["details"] if detail["@type"].endswith("google.rpc.ErrorInfo")]
        assert len(found) == 1
        return str(found[0])


@asynccontextmanager
async def rest_serving() -> AsyncIterator[Rest]:
    """A server on memory, an Envoy before it, and a session."""
    with open_directory("edge") as directory:
        async with serving() as edge:
            place = envoy_place(Path(directory), edge.port)
            child = await envoy.start(place)
            try:
                async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=30)) as session:
                    yield Rest(edge, place, session)
            finally:
                await child.stop()
