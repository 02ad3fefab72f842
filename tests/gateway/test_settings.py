"""Keys of LiteLLM's file that are the user's: the real program obeys one that is merged beside the stack's own.

One key is tried; what the others do is LiteLLM's.
"""

import pytest

from tests.gateway import stacks
from tests.gateway.client import request
from tests.gateway.fake_vllm import Fakes
from tests.gateway.proxies import proxy, rendered, running

pytestmark = pytest.mark.gateway
ASKED = {"model": "plain", "messages": [{"role": "user", "content": "x"}]}


def test_a_key_of_the_users_is_obeyed(fakes: Fakes):
    """With `enforce_user_param`, a request that names no user is refused, and one that does is answered."""
    settings = {"general_settings": {"enforce_user_param": True}}
    config = stacks.serving({"plain": {}}, redis={"kind": "none"}, replicas=1, settings=settings)
    gateway = proxy(rendered(config), stacks.KEYS, stacks.addresses(config, fakes, None))
    with running(gateway):
        answers = [
            request(gateway.url, "/v1/chat/completions", body, stacks.MASTER)
            for body in (ASKED, {**ASKED, "user": "a"})
        ]
    assert [answer.status == 200 for answer in answers] == [False, True]
