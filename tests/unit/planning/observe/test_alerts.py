"""Alert rules: which pods they find by name.

Does not prove that Prometheus can read the rules, nor when they fire: `tests/stacks/test_promtool.py` does.
"""

import re

from hypothesis import given
from hypothesis import strategies as st

from planning.plan.scaling import pod_names
from planning.server.servers import server_name
from tests.unit.small_stack import properties

# What a Deployment's controller draws hashes and random endings from (k8s.io/apimachinery, util/rand).
DRAWN = "bcdfghjklmnpqrstvwxz2456789"
# Longest name before five random characters are added (k8s.io/apiserver, storage/names).
LONGEST_BASE = 58
NAMES = st.lists(st.sampled_from(["a", "b", "0", "12345", "cpu", "canary", "x" * 30]), min_size=1, max_size=4).map(
    lambda parts: "-".join(parts)[:40].strip("-")
)
SERVERS = st.tuples(NAMES, st.booleans()).map(lambda found: server_name(found[0], canary=found[1]))


def drawn(least: int, most: int) -> st.SearchStrategy[str]:
    """Characters a controller draws."""
    return st.text(DRAWN, min_size=least, max_size=most)


@st.composite
def pods(draw: st.DrawFn, server: str, nodes: int) -> str:
    """The name of some pod of a server."""
    if nodes == 1:
        return f"{server}-{draw(drawn(8, 10))}-"[:LONGEST_BASE] + draw(drawn(5, 5))
    leader = f"{server}-{draw(st.integers(0, 12))}"
    return draw(st.sampled_from([leader, f"{leader}-1", f"{leader}-15"]))


@given(st.data(), SERVERS, SERVERS, st.sampled_from([1, 2]), st.sampled_from([1, 2]))
@properties(400)
def test_a_server_finds_its_own_pods_and_no_others(data, server, other, nodes, others):
    """However alike two names are: one may begin with the other, as `qwen3-8b-cpu` does with `qwen3-8b`."""
    pattern = re.compile(pod_names(server, nodes))
    own, foreign = data.draw(pods(server, nodes)), data.draw(pods(other, others))
    assert (bool(pattern.fullmatch(own)), bool(pattern.fullmatch(foreign)) and server != other) == (True, False)
