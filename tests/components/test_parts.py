"""`plan_pool` and its like as a program calls them: the parts of a stack's plan, and refusals without a traceback.

From which sections each follows is proved in tests/unit/planning/test_parts.py.
"""

import pytest

from components import plan_gateway, plan_observability, plan_pool, plan_server, plan_weights
from settings.load import ConfigError
from tests.harness import VARIANTS, stack

CONFIG = VARIANTS["hpa-canary"]


def test_the_parts_of_a_program_are_those_of_a_stack():
    """Pool, weights, server, canary, gateway and monitoring, with the catalogue of this project."""
    plan = stack(CONFIG).plan
    assert plan_pool(CONFIG, "l4") == plan.pools["l4"]
    assert plan_weights(CONFIG) == plan.weights
    assert (plan_server(CONFIG, "small"), plan_server(CONFIG, "small", canary=True)) == plan.servers
    assert plan_gateway(CONFIG) == plan.gateway
    assert plan_observability(CONFIG) == plan.observability


def test_what_is_wrong_ends_a_program_as_a_list():
    """Pulumi prints this error, and no traceback."""
    with pytest.raises(ConfigError) as caught:
        plan_server(CONFIG, "smal")
    assert str(caught.value).splitlines()[1:] == ["  models.smal: no model 'smal'; did you mean 'small'?"]
