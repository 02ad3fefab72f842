"""Buckets that a Job fills: what it is planned with, and what keeps a stack from it."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from planning.plan.access import Identity, SecretVariable
from planning.plan.pods import JobLimits
from planning.plan.weights import ObjectStore, Source
from tests.unit.planning.stack.test_places import COMMIT, FOLDER, PUBLIC, ROLE, on, store
from tests.unit.small_stack import CATALOG, MODEL, planned, properties, refusals, serving, stack

WRITER_ROLE = "arn:aws:iam::111122223333:role/llm-filler"
IDENTITY = {"kind": "workloadIdentity", "identity": ROLE}
WRITER = {"kind": "workloadIdentity", "identity": WRITER_ROLE}
PUBLIC_STORE = {"kind": "none"}
UNPINNED = next(name for name, model in CATALOG.models.items() if model.revision is None)


def place(weights: dict[str, Any], **sections: Any) -> ObjectStore:
    """Where the one checkpoint of the small stack is."""
    (held,) = planned(stack(weights=weights, **sections)).weights.checkpoints
    assert isinstance(held.place, ObjectStore)
    return held.place


def parts(weights: dict[str, Any], **sections: Any) -> tuple[Any, Source]:
    """(how it comes there, the folder as the Job has it)."""
    found = place(weights, **sections)
    assert found.fetch
    assert found.writer
    return found.fetch, found.writer


def test_true_is_all_that_has_to_be_said():
    """The hub itself, 100 MiB/s, and the keys that servers read with; deadline and retries are those of a download."""
    fetch, writer = parts(store(fill=True))
    (usual,) = planned(stack()).weights.checkpoints
    assert usual.fetch
    assert (fetch.hub.kind, fetch.hub.endpoint, fetch.hub.egress) == ("huggingface", None, (PUBLIC,))
    assert (fetch.hub.environment, fetch.hub.memory_gib, fetch.hub.memory_limit_gib) == ({}, 2, 4)
    assert (fetch.least_bytes, fetch.download_s, fetch.job) == (
        usual.fetch.least_bytes,
        usual.fetch.download_s,
        usual.fetch.job,
    )
    assert fetch.job == JobLimits(4, 1610, 1730)
    assert (writer.directory, writer.secrets[0]) == (
        f"s3://models/published/{FOLDER}",
        SecretVariable("AWS_ACCESS_KEY_ID", "store", "access-key-id"),
    )


def test_false_is_as_if_nothing_was_said():
    """Then the bucket is full already, and nothing is declared for it."""
    assert (
        place(store(fill=False))
        == place(store())
        == ObjectStore(f"s3://models/published/{FOLDER}", "s3://models/published")
    )


def test_the_job_writes_as_another_than_servers_read():
    """Its role is its own; the server's is what it was."""
    weights = store(credentials=IDENTITY, fill={"credentials": WRITER})
    _, writer = parts(weights, cluster=on("eks"))
    (server,) = planned(stack(weights=weights, cluster=on("eks"))).servers
    found = [one.identity for one in (writer, server.checkpoint.source)]
    assert found == [Identity({"eks.amazonaws.com/role-arn": role}, {}) for role in (WRITER_ROLE, ROLE)]


def test_a_bucket_for_everybody_is_filled_with_keys():
    """What all may read, nobody may write without being asked who he is."""
    _, writer = parts(store(credentials=PUBLIC_STORE, fill={"credentials": {"kind": "existingSecret", "name": "w"}}))
    assert [one.secret for one in writer.secrets] == ["w", "w"]
    assert "RUNAI_STREAMER_S3_UNSIGNED" not in writer.environment


def test_a_mirror_is_told_and_may_be_reached():
    """The hub of a fill is a section like that of a claim."""
    fetch, _ = parts(store(fill={"hub": {"endpoint": "https://hf-mirror.com"}, "downloadMibPerS": 50}))
    (usual,) = planned(stack()).weights.checkpoints
    assert usual.fetch
    assert fetch.hub.environment == {"HF_ENDPOINT": "https://hf-mirror.com"}
    assert fetch.download_s == pytest.approx(2 * usual.fetch.download_s, abs=1)


NOT_FILLED = [
    (
        stack(weights=store(fill={"hub": {"kind": "modelscope"}})),
        "weights.fill: hub.kind modelscope cannot fill a bucket; publish with kind: sharedClaim and copy the folder",
    ),
    (
        stack(weights=store(fill={"hub": {"xet": True}})),
        "weights.fill: hub.xet must be left out: a bucket is filled over plain HTTPS",
    ),
    (
        stack(weights=store(fill=True, credentials=PUBLIC_STORE)),
        "weights: credentials.kind none may read alone, and fill writes; give fill.credentials",
    ),
    (
        stack(weights=store(fill={"credentials": PUBLIC_STORE})),
        "weights.fill.credentials: kind 'none' is not one of workloadIdentity, existingSecret",
    ),
    (
        stack(weights=store(fill={"credentials": WRITER})),
        (
            "weights.fill.credentials: pods of platform generic have no identity that a store knows; use "
            "{kind: existingSecret, name: …}"
        ),
    ),
    (
        stack(weights=store(fill={"hub": {"endpoint": "http://localhost:8080"}})),
        'weights.fill.hub.endpoint: "http://localhost:8080" leads to the pod itself; name the host of the hub',
    ),
    (
        stack(weights=store(fill="yes")),
        'weights.fill: "yes" must be a mapping of keys',
    ),
    (
        serving(weights=store(fill=True)) | {"weights": store()},
        "models.m.weights: is the same place as weights, but differs in fill; write the same in both",
    ),
    (
        serving(weights=store(fill={"credentials": WRITER}, credentials=IDENTITY, url="s3://other"))
        | {"cluster": on("eks"), "weights": store(fill=True, credentials=IDENTITY)},
        (
            "models.m.weights.fill: is done as another identity than that of weights; the Jobs of a stack have one: "
            "give both the same fill.credentials"
        ),
    ),
    (
        stack(weights=store(fill=True)) | {"models": {"m": {**MODEL, "model": UNPINNED}}},
        "models.m.revision: is needed to fill a bucket, for a branch moves; give the commit, 40 digits",
    ),
]


@pytest.mark.parametrize(("raw", "said"), NOT_FILLED)
def test_where_no_job_can_fill_it_says_so(raw: dict[str, Any], said: str):
    """Each with the path, and what to write instead."""
    assert said in refusals(raw)


HUBS = st.sampled_from([{}, {"endpoint": "https://hf-mirror.com"}, {"tokenSecret": "hub"}])
KEYS = st.sampled_from([None, {"kind": "existingSecret", "name": "writer"}])


@given(hub=HUBS, keys=KEYS, rate=st.integers(1, 10_000))
@properties(40)
def test_servers_know_nothing_of_who_fills(hub: dict[str, Any], keys: dict[str, Any] | None, rate: int):
    """However a bucket is filled, its servers are planned as if it had been full; the place alone has more."""
    said = {"hub": hub, "downloadMibPerS": rate, **({"credentials": keys} if keys else {})}
    full, filled = (planned(stack(weights=weights)) for weights in (store(), store(fill=said)))
    assert [server.checkpoint.source for server in filled.servers] == [one.checkpoint.source for one in full.servers]
    assert [server.args for server in filled.servers] == [server.args for server in full.servers]
    (held,) = filled.weights.checkpoints
    assert (held.fetch is not None, held.revision, len(filled.weights.hubs)) == (True, COMMIT, 1)
