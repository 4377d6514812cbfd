"""Tests, one folder a tier: how near to the real thing they go.

Tests start programs in processes that also speak gRPC, which the product's own processes never do (wpclone/standalone does not
import it). gRPC's fork handlers end now and then a child that has not reached exec yet; they are off before grpc is imported.
"""

import os

os.environ["GRPC_ENABLE_FORK_SUPPORT"] = "false"
