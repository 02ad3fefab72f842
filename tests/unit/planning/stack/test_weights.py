"""Which checkpoints are fetched, where each lies, and how large its claim is."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from planning.plan.pods import JobLimits
from planning.plan.weights import (
    CheckpointPlan,
    ClaimVolume,
    ExistingClaim,
    Fetch,
    Hub,
    OwnClaim,
    Source,
    WeightsPlan,
)
from planning.stack.network import endpoint_egress
from planning.stack.places import disk_bytes
from planning.stack.weights import gated_warnings, plan_checkpoint, tell_apart
from settings.schema import HubSettings, SharedClaimWeights
from tests.unit.small_stack import CATALOG, GIB, H200, MODEL, keeping, planned, properties, serving, stack

SETTINGS = SharedClaimWeights.model_validate({"storageClass": "nfs"})
QWEN = CATALOG.models["Qwen/Qwen3-14B"]
HUB = Hub(
    kind="huggingface",
    endpoint=None,
    egress=endpoint_egress(HubSettings(), CATALOG.networks),
    token_variable="HF_TOKEN",
    token_secret=None,
    image=keeping(SETTINGS).image,
    environment={},
    memory_gib=4,
    memory_limit_gib=8,
)
COMMIT = "40c069824f4251a91eefaf281ebe4c544efd3e18"


def held(repository, model, revision, settings=SETTINGS) -> CheckpointPlan:
    """The checkpoint of a stack with these weights."""
    return plan_checkpoint(repository, model, revision, settings, keeping(settings))


def claim(checkpoint: CheckpointPlan) -> str:
    """The claim its servers mount."""
    assert isinstance(checkpoint.source.volume, ClaimVolume)
    return checkpoint.source.volume.claim_name


def test_a_checkpoint_is_exact():
    """Directory and claim follow from repository and commit; the size has room to check the largest file."""
    found = held("Qwen/Qwen3-14B", QWEN, None, SETTINGS)
    expected_bytes = 31_013_445_120
    assert (found.model, found.revision, found.pinned) == ("Qwen/Qwen3-14B", COMMIT, True)
    assert found.name == "qwen--qwen3-14b-40c06982"
    claim = "weights-qwen--qwen3-14b-40c06982"
    directory = f"/models/Qwen--Qwen3-14B/{COMMIT}"
    assert found.source == Source(
        argument=directory,
        directory=directory,
        load_format="safetensors",
        volume=ClaimVolume(claim, "/models"),
        read_mib_per_s=500,
        prewarm=True,
    )
    # 28.9 GiB and 15 % are 33.2: the next of 2, 3, 4, 6, 8 … 32, 48
    deadline_s = 600 + 2 * 355 + 300
    assert found.disk_bytes == expected_bytes
    fetch = Fetch(HUB, 29_536_614_400, 355, JobLimits(4, deadline_s, deadline_s + 120))
    assert found.place == OwnClaim(claim, "nfs", "ReadWriteMany", 48, fetch)


@pytest.mark.parametrize(
    ("hub", "revision", "expected"),
    [
        ({}, None, (COMMIT, True)),
        ({"endpoint": "https://hf-mirror.com"}, None, (COMMIT, True)),
        ({}, "f" * 40, ("f" * 40, True)),
        # the catalogue's commits are not ModelScope's
        ({"kind": "modelscope"}, None, ("main", False)),
        ({"kind": "modelscope"}, "f" * 40, ("f" * 40, True)),
    ],
)
def test_the_commit_is_the_users_or_the_catalogues(hub, revision, expected):
    """A commit is one of the hub it is asked of; without one the newest is fetched and said to be unpinned."""
    settings = SETTINGS.model_copy(update={"hub": HubSettings.model_validate(hub)})
    found = held("Qwen/Qwen3-14B", QWEN, revision, settings)
    assert (found.revision, found.pinned) == expected


@pytest.mark.parametrize(
    ("model", "hub", "has_token", "warned"),
    [
        ("meta-llama/Llama-3.1-8B-Instruct", {}, False, True),
        ("meta-llama/Llama-3.1-8B-Instruct", {}, True, False),
        ("meta-llama/Llama-3.1-8B-Instruct", {"tokenSecret": "hub"}, False, False),
        ("meta-llama/Llama-3.1-8B-Instruct", {"kind": "modelscope"}, False, False),
        ("Qwen/Qwen3-14B", {}, False, False),
    ],
)
def test_a_gated_checkpoint_without_a_token_is_warned_of(model, hub, has_token, warned):
    """Its download would be refused (401, 403) when the servers wait for it already."""
    settings = SETTINGS.model_copy(update={"hub": HubSettings.model_validate(hub)})
    weights = WeightsPlan(checkpoints=(held(model, CATALOG.models[model], None, settings),))
    warnings = gated_warnings(weights, has_token=has_token)
    assert [text.split(" is gated and there is no hub token")[0] for text in warnings] == ([model] if warned else [])


@pytest.mark.parametrize(
    ("repository", "expected"),
    [
        # said by the catalogue
        ("Qwen/Qwen3-14B-FP8", 16_342_197_548),
        # loaded bytes and a twentieth
        ("Qwen/Qwen3-14B", 31_013_445_120),
    ],
)
def test_bytes_on_disk_are_known_or_estimated(repository, expected):
    """What is not loaded, such as a tokenizer, is a twentieth at most."""
    assert disk_bytes(CATALOG.models[repository]) == pytest.approx(expected, abs=1)


@pytest.mark.parametrize("repository", CATALOG.models)
def test_names_and_sizes_hold_for_every_model(repository):
    """Names are DNS labels that leave room for an ending, and a claim holds the checkpoint with a tenth to spare."""
    found = held(repository, CATALOG.models[repository], None, SETTINGS)
    assert len(found.name) <= 46
    assert set(found.name) <= set("abcdefghijklmnopqrstuvwxyz0123456789-")
    assert found.name[0] != "-" != found.name[-1]
    assert isinstance(found.place, OwnClaim)
    assert found.place.gib * GIB >= 1.1 * found.disk_bytes
    assert found.place.gib * GIB <= 2 * found.disk_bytes or found.place.gib == 2
    assert 0 < found.place.fetch.least_bytes <= found.disk_bytes


def test_no_two_models_share_a_name():
    """Names that are cut end in a hash, so they stay apart."""
    names = [held(name, model, None, SETTINGS).name for name, model in CATALOG.models.items()]
    assert len(names) == len(set(names))


def test_a_cut_name_depends_on_the_commit():
    """Two revisions of a model with a long name have two claims."""
    repository = "RedHatAI/DeepSeek-R1-Distill-Llama-70B-FP8-dynamic"
    names = {claim(held(repository, CATALOG.models[repository], commit * 40)) for commit in ("a", "b")}
    assert len(names) == 2


@pytest.mark.parametrize("order", [1, -1])
def test_two_commits_with_the_same_first_digits_have_claims_of_their_own(order):
    """The lower commit keeps its name, whatever the order of the models, and the other one's ends in a hash."""
    commits = ["c1899de2" + "0" * 32, "c1899de2" + "f" * 32][::order]
    models = {name: {**MODEL, "revision": commit} for name, commit in zip("ab", commits, strict=True)}
    found = {item.revision[-1]: item for item in planned(stack(models=models)).weights.checkpoints}
    assert {end: (item.name, claim(item)) for end, item in found.items()} == {
        "0": ("qwen--qwen3-14b-c1899de2", "weights-qwen--qwen3-14b-c1899de2"),
        "f": ("qwen--qwen3-14b-c1899de2-5fa2484d", "weights-qwen--qwen3-14b-c1899de2-5fa2484d"),
    }
    assert {server.checkpoint.key: server.checkpoint for server in planned(stack(models=models)).servers} == {
        item.key: item for item in found.values()
    }


@given(commits=st.sets(st.text("0f", min_size=40, max_size=40), max_size=6), long=st.booleans())
@properties(100)
def test_no_two_checkpoints_have_one_name(commits, long):
    """Nor one that is too long for a Job, whatever their commits."""
    name = "RedHatAI/DeepSeek-R1-Distill-Llama-70B-FP8-dynamic" if long else "Qwen/Qwen3-14B"
    found = tell_apart([held(name, CATALOG.models[name], commit, SETTINGS) for commit in sorted(commits)])
    assert len({item.name for item in found}) == len({claim(item) for item in found}) == len(commits)
    assert all(len(item.name) <= 46 for item in found)


def test_servers_that_share_a_checkpoint_share_the_download():
    """One claim for two models of the same files, another for a canary of other files."""
    models = {"a": MODEL, "b": {**MODEL, "canary": {"weight": 10, "model": "Qwen/Qwen3-14B-AWQ"}}}
    plan = planned(stack(models=models))
    assert [item.model for item in plan.weights.checkpoints] == ["Qwen/Qwen3-14B", "Qwen/Qwen3-14B-AWQ"]
    assert [claim(server.checkpoint) for server in plan.servers] == [
        "weights-qwen--qwen3-14b-40c06982",
        "weights-qwen--qwen3-14b-40c06982",
        "weights-qwen--qwen3-14b-awq-31c69efc",
    ]


def test_another_revision_is_another_download():
    """A canary of another commit has files of its own."""
    plan = planned(serving(canary={"weight": 10, "revision": "f" * 40}))
    assert [item.revision for item in plan.weights.checkpoints] == [COMMIT, "f" * 40]


def test_a_canary_of_another_model_does_not_inherit_the_commit():
    """A commit belongs to one repository."""
    raw = serving(revision="f" * 40, canary={"weight": 10, "model": "Qwen/Qwen3-14B-AWQ"})
    awq = CATALOG.models["Qwen/Qwen3-14B-AWQ"].revision
    assert [item.revision for item in planned(raw).weights.checkpoints] == ["f" * 40, awq]


def test_the_size_of_a_claim_is_that_of_its_checkpoint_alone():
    """Whatever else the stack serves: a claim can never shrink."""
    r1 = {"model": "deepseek-ai/DeepSeek-R1-0528", "pool": "h200", "contextTokens": 32_768}
    alone = planned(stack(gpuPools={"h200": H200}, models={"r1": r1}))
    together = planned(
        stack(gpuPools={"h200": {**H200, "nodes": 2}}, models={"r1": r1, "m": {**MODEL, "pool": "h200"}})
    )
    sizes = [
        {item.model: isinstance(item.place, OwnClaim) and item.place.gib for item in plan.weights.checkpoints}
        for plan in (alone, together)
    ]
    assert sizes == [{r1["model"]: 768}, {r1["model"]: 768, "Qwen/Qwen3-14B": 48}]


def test_checkpoints_on_a_claim_that_exists():
    """Repository, commit and directory are those a Job would publish; nothing is sized, fetched or run."""
    models = {"a": MODEL, "b": {**MODEL, "model": "Qwen/Qwen3-14B-AWQ"}}
    shared = planned(stack(models=models)).weights
    found = planned(stack(models=models, weights={"kind": "existingClaim", "claimName": "disk"})).weights
    assert [item.fetch for item in found.checkpoints] == [None, None]
    assert found.checkpoints == tuple(
        replace(
            item,
            place=ExistingClaim("disk"),
            source=replace(item.source, volume=ClaimVolume("disk", "/models")),
            key=(item.key[0], "existingClaim", "disk"),
        )
        for item in shared.checkpoints
    )


def test_an_existing_claim_changes_nothing_of_a_server_but_its_claim():
    """Arguments, environment, memory and waits are those of a server whose weights were downloaded."""
    shared, found = (
        planned(stack(weights=weights)).servers[0]
        for weights in ({"storageClass": "nfs"}, {"kind": "existingClaim", "claimName": "disk"})
    )
    assert replace(found, checkpoints=shared.checkpoints) == shared


def test_settings_of_the_weights_reach_the_plan():
    """Storage class, prewarming and the Secret with the token; the download runs in the CPU image."""
    raw = stack(weights={"storageClass": "fast", "prewarm": False, "hub": {"tokenSecret": "hub"}})
    found = planned(raw).weights
    (held,) = found.checkpoints
    assert isinstance(held.place, OwnClaim)
    hub = held.place.fetch.hub
    assert (held.place.storage_class, held.source.prewarm, hub.token_secret) == ("fast", False, "hub")
    assert (hub.kind, hub.image.name) == ("huggingface", "vllm-cpu")
