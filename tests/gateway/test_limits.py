"""Limits of models over two replicas of the gateway that share a Redis.

Does not prove limits while Redis is away: each replica then counts for itself.
"""

import pytest

from tests.gateway import stacks
from tests.gateway.client import chat
from tests.gateway.fake_vllm import Fakes
from tests.gateway.proxies import Proxy

pytestmark = pytest.mark.gateway


def test_an_answer_comes_from_the_server(pair: tuple[Proxy, Proxy], fakes: Fakes):
    """The request reaches the model's server with that server's key."""
    answer = chat(pair[0].url, "plain", stacks.MASTER)
    assert (answer.status, answer.served_by) == (200, "vllm-plain")
    assert [call.headers["authorization"] for call in fakes.server("vllm-plain").asked] == ["Bearer sk-vllm-plain-key"]
