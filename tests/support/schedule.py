"""Which process runs which test when there are two: a file a time, and the cluster's tests all in one, one after the other."""

from __future__ import annotations

from xdist.scheduler import LoadFileScheduling

CLUSTER = "tests/cluster/"
AFTER_IT = ("tests/properties/", "tests/unit/")
"""What does not mind a busy machine runs beside the cluster's pods."""


def order_of(nodeid: str) -> int:
    """Where a test comes: the cluster's late, because the cluster may have to be built first, in the background."""
    return 1 if nodeid.startswith(CLUSTER) else 2 if nodeid.startswith(AFTER_IT) else 0


class OneProcessForTheCluster(LoadFileScheduling):
    """`--dist loadfile`, with tests/cluster as one file."""

    def _split_scope(self, nodeid: str) -> str:
        return CLUSTER if nodeid.startswith(CLUSTER) else super()._split_scope(nodeid)
