"""Weights for which somebody vouched: whose value counts, what is proven where, and what it costs a start."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from planning.plan.proofs import Proof
from planning.plan.servers import ServerPlan
from planning.resolve import resolve_stack
from tests.unit.planning.stack.test_places import COMMIT, IMAGE, store
from tests.unit.small_stack import CATALOG, MODEL, checked, planned, properties, refusals, serving, stack

VALUE, OTHER = "a" * 64, "b" * 64
VOUCHED: dict[str, Any] = {"revision": COMMIT, "manifestSha256": VALUE}
PLACES = {
    "sharedClaim": {"storageClass": "nfs"},
    "existingClaim": {"kind": "existingClaim", "claimName": "disk"},
    "image": {"kind": "image", "reference": IMAGE},
    "objectStore": store(),
    "filled": store(fill=True),
    "copy of a claim": {"kind": "nodeCache", "storageClass": "nvme", "from": {"storageClass": "nfs"}},
    "copy of an image": {"kind": "nodeCache", "storageClass": "nvme", "from": {"kind": "image", "reference": IMAGE}},
}
PROOFS = {
    # its Job has hashed every byte, and nobody else writes there
    "sharedClaim": None,
    "existingClaim": Proof(VALUE, every_byte=True),
    "image": Proof(VALUE, every_byte=True),
    "objectStore": Proof(VALUE, every_byte=False),
    "filled": Proof(VALUE, every_byte=False),
    "copy of a claim": Proof(VALUE, every_byte=False),
    "copy of an image": Proof(VALUE, every_byte=False),
}


def one(raw: dict[str, Any]) -> ServerPlan:
    """The one server of a stack."""
    (server,) = planned(raw).servers
    return server


@pytest.mark.parametrize("place", PLACES)
def test_every_place_is_proven_where_its_bytes_are_looked_at(place: str):
    """By the Job that brings them, by the pod that copies them, or by the pod that mounts them."""
    server = one(serving(weights=PLACES[place], **VOUCHED))
    assert (server.checkpoint.manifest_sha256, server.checkpoint.proof) == (VALUE, PROOFS[place])
    assert one(serving(weights=PLACES[place])).checkpoint.proof is None


@pytest.mark.parametrize("place", PLACES)
def test_only_what_is_hashed_takes_time(place: str):
    """A phase of its own where a pod hashes all bytes, and the deadline of its rollout holds it."""
    plain, vouched = (one(serving(weights=PLACES[place], **more)).timing for more in ({}, VOUCHED))
    proof = PROOFS[place]
    phases = [phase for phase in vouched.phases if phase not in plain.phases]
    if proof is None or not proof.every_byte:
        assert vouched == plain
        return
    assert [(phase.name, phase.seconds) for phase in phases] == [("prove", 20)]
    assert vouched.progress_deadline_s == plain.progress_deadline_s + 20 * 2
    assert vouched.cold_start_s == plain.cold_start_s + 20


def test_the_catalogue_vouches_for_its_own_commit():
    """A stack that names another commit, or another value, has its own."""
    known = CATALOG.models[MODEL["model"]].model_copy(update={"manifest_sha256": OTHER})
    catalog = replace(CATALOG, models={**CATALOG.models, MODEL["model"]: known})
    givens: list[dict[str, Any]] = [{}, {"revision": COMMIT}, {"revision": "f" * 40}, VOUCHED]
    found = [resolve_stack(checked(serving(**more)), catalog).weights.checkpoints[0].manifest_sha256 for more in givens]
    assert found == [OTHER, OTHER, None, VALUE]


CANARIES = [
    ({"contextTokens": 4096}, VALUE),
    ({"revision": "f" * 40}, None),
    ({"model": "Qwen/Qwen3-14B-FP8"}, None),
    ({"revision": "f" * 40, "manifestSha256": OTHER}, OTHER),
]


@pytest.mark.parametrize(("canary", "value"), CANARIES)
def test_a_canary_of_other_weights_has_another_value(canary: dict[str, Any], value: str | None):
    """It has that of its model where it serves the same."""
    servers = planned(serving(**VOUCHED, canary={"weight": 10, **canary})).servers
    assert [server.checkpoint.manifest_sha256 for server in servers] == [VALUE, value]


def test_who_vouches_for_a_checkpoint_vouches_for_all_who_serve_it():
    """One of two models has the value, and the Job of both proves it."""
    for models in ({"a": MODEL, "b": {**MODEL, **VOUCHED}}, {"a": {**MODEL, **VOUCHED}, "b": MODEL}):
        (held,) = planned(stack(models=models)).weights.checkpoints
        assert held.manifest_sha256 == VALUE


@pytest.mark.parametrize("place", PLACES)
def test_every_server_of_a_checkpoint_that_is_vouched_for_proves_it(place: str):
    """Wherever pods prove files, those of a model that says nothing of its own do too."""
    plan = planned(stack(weights=PLACES[place], models={"a": {**MODEL, **VOUCHED}, "b": MODEL}))
    assert [server.checkpoint.proof for server in plan.servers] == [PROOFS[place]] * 2


NOT_VOUCHED = [
    (
        serving(manifestSha256=VALUE),
        "models.m.manifestSha256: is the hash of one commit; give models.m.revision too",
    ),
    (
        serving(canary={"weight": 10, "model": "Qwen/Qwen3-14B-FP8", "manifestSha256": VALUE}),
        "models.m.canary.manifestSha256: is the hash of one commit; give models.m.canary.revision too",
    ),
    (
        stack(models={"a": {**MODEL, **VOUCHED}, "b": {**MODEL, **VOUCHED, "manifestSha256": OTHER}}),
        "models.b.manifestSha256: is another than that of models.a, which serves the same files; one is wrong",
    ),
    (
        serving(revision=COMMIT, manifestSha256=f"sha256:{VALUE}"),
        (
            f'models.m.manifestSha256: "sha256:{VALUE}" is not well formed; it must match ^[0-9a-f]{{64}}$; '
            f"did you mean '{VALUE}'?"
        ),
    ),
]


@pytest.mark.parametrize(("raw", "said"), NOT_VOUCHED)
def test_a_value_that_means_nothing_is_refused(raw: dict[str, Any], said: str):
    """With the path, and what to write."""
    assert said in refusals(raw)


@given(place=st.sampled_from(sorted(PLACES)), rate=st.integers(1, 5000))
@properties(40)
def test_a_proof_never_makes_a_start_seem_shorter(place: str, rate: int):
    """Whatever the rates, deadlines with a proof are those without it or more; arguments and place are the same."""
    weights = dict(PLACES[place])
    weights["readMibPerS"] = rate
    plain, vouched = (one(serving(weights=weights, **more)) for more in ({}, VOUCHED))
    assert vouched.timing.progress_deadline_s >= plain.timing.progress_deadline_s
    assert (vouched.args, vouched.env, vouched.checkpoint.place) == (plain.args, plain.env, plain.checkpoint.place)
