"""The library for other services: connect, a deadline on every call, a watch that resumes.

Law: imports only the generated stubs (`wpclone.v2`) and grpc; nothing of core, server or the CLI. Answers are the stubs'
own messages; every failure is one `ClientError`. Nothing here reads the environment, prints or logs.

    async with connect("127.0.0.1:50051", token) as client:
        job = await client.create_clone(request)
        async for seen in client.watch(job.job_id):
            print(seen.progress)
"""

from wpclone.client.client import CloneClient, connect
from wpclone.client.errors import ClientError, Violation
from wpclone.client.resume import Patience
from wpclone.client.watch import TERMINAL

__all__ = ["TERMINAL", "ClientError", "CloneClient", "Patience", "Violation", "connect"]
