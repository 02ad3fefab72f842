"""A Postgres with standbys under the real engine: made, changed, left, found again, and never deleted.

What is not proved here: what the operator makes of it; a stand-in calls it ready, and makes the Secret of its owner.
"""

import base64
from collections.abc import Iterator
from typing import Any

import pytest

from tests.cluster.world import NAMESPACE
from tests.engine.conftest import Story

NAME = "litellm-database"
KEPT = (("postgresql.cnpg.io/v1", "Cluster"), ("networking.k8s.io/v1", "NetworkPolicy"))
DATABASE = {"kind": "cloudNativePg", "storageClass": "ssd"}


def standbys(**changes: Any) -> Any:
    """A change of the stack file to such a database."""

    def change(config: dict[str, Any]) -> None:
        config["llm-stack:gateway"]["database"] = {**DATABASE, **changes}

    return change


def none(config: dict[str, Any]) -> None:
    """No database at all."""
    del config["llm-stack:gateway"]["database"]


@pytest.fixture(scope="module")
def served() -> Iterator[Story]:
    """The stack `dev` with three instances, whose operator somebody else has installed."""
    story = Story.begin("dev")
    story.own_keys()
    story.change(standbys())
    story.up()
    yield story
    story.end()


def identities(story: Story) -> list[str | None]:
    """Who is kept: the same object has the same."""
    return [story.world.uids(version, kind).get(NAME) for version, kind in KEPT]


def test_an_up_is_done_and_says_nothing_a_second_time(served: Story):
    """The API server takes the object by the operator's own definition; nothing is left to do, and no password told."""
    assert None not in identities(served)
    assert served.preview() == {}
    secrets = [
        item for item in served.world.api.items("v1", "Secret", NAMESPACE) if item.get("type", "").endswith("auth")
    ]
    passwords = [base64.b64decode(item["data"]["password"]).decode() for item in secrets]
    assert len(passwords) == 2
    assert [password for password in passwords if password in served.state()] == []


def test_more_of_everything_changes_it_in_place(served: Story):
    """More instances on larger claims are the same Cluster, and another number for who counts them."""
    before = identities(served)
    changed = {"Cluster/gateway-cluster": "update", "PrometheusRule/observability-alerts": "update"}
    assert served.preview(standbys(instances=5, gib=40)) == changed
    served.change(standbys(instances=5, gib=40))
    assert served.up() == {"update": 2}
    assert identities(served) == before


def test_another_master_key_is_another_password_for_the_same_postgres(served: Story):
    """The Cluster reads another Secret."""
    before = identities(served)
    served.secret("gatewayMasterKey", "sk-engine-another-77aa01c3b2")
    served.engine.write(served.content)
    assert served.preview()["Cluster/gateway-cluster"] == "update"
    served.up()
    assert identities(served) == before
    assert served.preview() == {}


def test_it_stays_when_the_stack_leaves_it_and_is_found_again(served: Story):
    """Taken out of the stack file and put back, and likewise with the whole stack."""
    before = identities(served)
    served.change(none)
    served.up()
    assert identities(served) == before
    served.change(standbys())
    served.up()
    assert identities(served) == before
    served.engine.on_stack("destroy", "--yes", "--skip-preview", capture=True)
    assert identities(served) == before
    served.up()
    assert identities(served) == before
    assert served.preview() == {}
