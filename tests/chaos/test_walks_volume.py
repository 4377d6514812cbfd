"""The state machine against MySQL at volume: five hundred random walks. See tests/properties/test_job_walks.py."""

import pytest

from tests.properties.test_job_walks import walked
from tests.support.chaos_table import note
from tests.support.history import Findings
from tests.support.servers import Mariadb


@pytest.mark.full
@pytest.mark.timeout(1800)
def test_five_hundred_walks_give_the_same_answers_in_mysql_as_in_memory(mariadb_server: Mariadb) -> None:
    walked(mariadb_server, examples=500, steps=30)
    note("R26 random walks of the state machine, MySQL against memory", Findings(500))
