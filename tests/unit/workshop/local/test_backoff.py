"""How long the next try waits, in Kubernetes' own numbers. Does not wait for any of them."""

import pytest

from workshop.local.deployment import job_pause_s
from workshop.local.pod import Backoff


def test_restarts_wait_as_a_kubelet_makes_them_wait():
    """At once, then 10 s, twice that each time, 300 s at most."""
    backoff = Backoff()
    assert [backoff.next() for _ in range(9)] == [0, 10, 20, 40, 80, 160, 300, 300, 300]


@pytest.mark.parametrize(("ran_s", "pauses"), [(599, [0, 10, 20]), (600, [0, 0, 0]), (86400, [0, 0, 0])])
def test_ten_minutes_without_a_restart_are_forgiven(ran_s, pauses):
    """Then it begins anew."""
    backoff = Backoff()
    assert [backoff.next(ran_s) for _ in range(3)] == pauses


def test_pods_of_a_job_wait_as_its_controller_makes_them_wait():
    """The first at once, the second after 10 s, twice that each time, ten minutes at most."""
    assert [job_pause_s(failed) for failed in range(9)] == [0, 10, 20, 40, 80, 160, 320, 600, 600]
