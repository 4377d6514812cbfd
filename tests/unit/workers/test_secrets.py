import json

import pytest

from tests.support.jobs import new_clone, new_clone_job
from tests.unit.workers.desk import Desk
from workers.job_secrets import JobSecrets
from wpclone.core.jobs.errors import Fatal
from wpclone.core.jobs.job import Job
from wpclone.core.secrets import KeyRing

SEED = "ab" * 32


async def job_with(secrets: bytes | None) -> Job:
    desk = Desk()
    await desk.accept(99)
    new = new_clone_job(1)
    return await desk.store.accept(type(new)(**{**vars(new), "secrets": secrets}), clone=new_clone(1))


def ring() -> KeyRing:
    numbers = iter(range(1000))
    return KeyRing("k1", {"k1": bytes(32)}, bytes(32), lambda size: next(numbers).to_bytes(size, "big"))


async def test_secrets_are_the_same_each_time_and_differ_by_purpose() -> None:
    keys, job = ring(), await job_with(None)
    plain = json.dumps({"seed": SEED, "source": {"username": "u", "password": "p"}}).encode()
    job = await job_with(keys.encrypt(plain, job.job_id))
    first, second = JobSecrets(job, keys), JobSecrets(job, keys)
    assert first.source == {"username": "u", "password": "p"}
    assert first.database_password == second.database_password
    assert len({first.database_password, first.admin_password, first.agent_folder}) == 3
    assert (len(first.agent_key), len(first.salts)) == (32, 32)
    assert "p" not in repr(first).removeprefix("JobSecrets")


@pytest.mark.parametrize("blob", [None, b"\x01\x02k1 not a ciphertext at all", b""])
async def test_unreadable_secrets_are_final(blob: bytes | None) -> None:
    secrets = JobSecrets(await job_with(blob), ring())
    with pytest.raises(Fatal) as raised:
        _ = secrets.source
    assert raised.value.code == "SECRETS_UNREADABLE"
