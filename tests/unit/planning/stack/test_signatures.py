"""Signatures of checkpoints: what is planned for them, and where none can be verified."""

from typing import Any

import pytest

from planning.plan.pods import JobLimits
from planning.plan.proofs import Signature
from tests.unit.planning.stack.test_places import IMAGE, store
from tests.unit.small_stack import MODEL, planned, refusals, serving, stack

SIGNED: dict[str, Any] = {"kind": "key", "configMap": "sig", "image": f"ghcr.io/x/model-signing@sha256:{'a' * 64}"}
INSTEAD = "use kind: sharedClaim or existingClaim, or manifestSha256"


def signature(raw: dict[str, Any]) -> Signature | None:
    """Of the one checkpoint."""
    (held,) = planned(raw).weights.checkpoints
    return held.signature


def test_a_signature_has_an_image_and_time():
    """The image is the user's, with a numeric user; the deadline holds its pull and twice the hashing."""
    found = signature(serving(signature=SIGNED))
    assert found
    assert (found.config_map, found.image.reference, found.image.uid, found.image.pinned) == (
        "sig",
        SIGNED["image"],
        65532,
        True,
    )
    assert found.job == JobLimits(2, 1098, 1218)
    assert SIGNED["image"] in {image.reference for image in planned(serving(signature=SIGNED)).images}
    assert signature(serving()) is None


def test_one_of_two_servers_has_it_verified_for_both():
    """As with what was vouched for by a hash."""
    assert signature(stack(models={"a": MODEL, "b": {**MODEL, "signature": SIGNED}})) is not None


@pytest.mark.parametrize(
    ("canary", "both"),
    [({"contextTokens": 4096}, True), ({"revision": "f" * 40}, False), ({"model": "Qwen/Qwen3-14B-FP8"}, False)],
)
def test_a_canary_of_other_weights_is_not_signed_by_it(canary: dict[str, Any], both: bool):
    """A signature is of one set of files."""
    servers = planned(serving(signature=SIGNED, canary={"weight": 10, **canary})).servers
    assert [server.checkpoint.signature is not None for server in servers] == [True, both]


NOT_VERIFIED = [
    (serving(signature=SIGNED, weights=store()), f"models.m.signature: is verified on a claim; {INSTEAD}"),
    (
        serving(signature=SIGNED, weights={"kind": "image", "reference": IMAGE}),
        f"models.m.signature: is verified on a claim; {INSTEAD}",
    ),
    (
        serving(
            signature=SIGNED,
            weights={"kind": "nodeCache", "storageClass": "nvme", "from": {"kind": "image", "reference": IMAGE}},
        ),
        f"models.m.signature: is verified on a claim; {INSTEAD}",
    ),
    (
        serving(signature=SIGNED, weights={"storageClass": "nfs", "accessMode": "ReadWriteOncePod"}),
        (
            "models.m.signature: cannot be verified beside a server that has its claim alone (ReadWriteOncePod); use "
            "ReadWriteMany"
        ),
    ),
    (
        serving(signature={**SIGNED, "image": "ghcr.io/x/model-signing:latest"}),
        'models.m.signature.image: "latest" is a floating tag; name an exact version',
    ),
    (serving(signature={**SIGNED, "kind": "sigstore"}), 'models.m.signature.kind: "sigstore" is not one of key'),
]


@pytest.mark.parametrize(("raw", "said"), NOT_VERIFIED)
def test_where_no_job_can_verify_it_says_so(raw: dict[str, Any], said: str):
    """With what to use instead."""
    assert said in refusals(raw)
