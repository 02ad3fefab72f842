"""The claim of a stack on its namespace: what waits for it, whose it is, and what is said when it was lost.

Does not prove what server-side apply says to a second claim: tests/engine/test_two_owners.py does.
"""

from typing import Any

import pulumi
import pytest

from components import LlmStack
from components.ownership import ANNOTATION, FORCE
from planning.stack.identity import CLAIM
from preview.rendering.recorder import Recorder, run
from tests.harness import PROOF, kind_of, minimal, stack


def test_everything_waits_for_the_proof_of_the_claim():
    """Every object and every release but the namespace, so that nothing of another state's is changed before."""
    named = {"l4": {"nodes": 1, "provisioning": {"kind": "existing", "nodeNames": ["n"]}}}
    deployed = stack(minimal(cluster={"namespace": "search"}, gpuPools=named))
    early = [
        f"{kind_of(record)}/{record.name}"
        for record in deployed.records
        if record.type.startswith("kubernetes:")
        if not deployed.waits_for(kind_of(record), record.name) >= PROOF
    ]
    assert early == ["Namespace/search", f"ConfigMap/{CLAIM}"]


def test_the_claim_is_of_this_state():
    """It says which, and so does its owner; told so, it is taken from whoever has it."""
    forced = stack(minimal(cluster={"takeOver": True}))
    manager = "llm-stack-test, state cluster-id; cluster.takeOver: true takes over"
    claim = forced.object("ConfigMap", CLAIM)
    assert (claim["metadata"]["annotations"], claim["data"]) == (
        {ANNOTATION: manager, FORCE: "true"},
        {"stack": "llm-stack-test", "state": "cluster-id"},
    )
    assert stack(minimal()).object("ConfigMap", CLAIM)["metadata"]["annotations"] == {ANNOTATION: manager}
    policy = forced.object("NetworkPolicy", "metrics-from-monitoring")["metadata"]["annotations"]
    assert policy == {ANNOTATION: "llm-stack-test", FORCE: "true"}


class Robbed(Recorder):
    """A cluster on which another state has claimed the namespace meanwhile."""

    def ReadResource(self, request: Any) -> Any:  # noqa: N802 - the name of the RPC
        """The claim as it is by now."""
        answer = super().ReadResource(request)
        answer.properties["data"]["state"] = "other-id"
        return answer


def test_nothing_is_declared_under_a_claim_that_was_lost():
    """What the cluster has is another state's: the program ends with whose the namespace is, and how it comes back."""
    settings = minimal()
    robbed = Robbed()
    with pytest.raises(pulumi.RunError) as refusal:
        run(lambda: LlmStack("llm-stack", {"settings": settings}), recorder=robbed)
    assert str(refusal.value) == (
        "cluster.namespace: 'llm-serving' was taken over by stack 'llm-stack-dev' of another state "
        "(ConfigMap llm-stack-claim); leave it to them, or take it back by cluster.takeOver: true and one "
        "`pulumi up --refresh`"
    )
    declared = [kind_of(record) for record in robbed.records() if record.custom]
    assert declared == ["kubernetes", "Namespace", "ConfigMap"]
