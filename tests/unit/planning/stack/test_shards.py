"""Checkpoints in files of each rank: where they are, how they are read, and what keeps a server from them."""

from typing import Any

import pytest

from planning.plan.servers import ServerPlan
from planning.stack.weights import asked_spread, plan_checkpoint
from tests.unit.planning.stack.test_places import FOLDER, on, store
from tests.unit.small_stack import A10, CATALOG, H200, MODEL, checked, keeping, planned, refusals, serving, stack

LIMIT = str(2 * 2**30)
BY, WHOLE = "weights: layout sharded is", "; leave layout out, with the whole files in the bucket"
SHARDED = store(layout="sharded")


def servers(**models: dict[str, Any]) -> list[ServerPlan]:
    """Servers of these models, which read from one bucket."""
    pools = {"a10": A10 | {"nodes": 8, "gpusPerNode": 4}}
    return list(planned(stack(weights=SHARDED, gpuPools=pools, models=models)).servers)


def test_each_rank_streams_the_files_of_its_own():
    """Folder, format and names are of the spread; the loader takes no options, so a variable limits its memory."""
    (server,) = planned(stack(weights=SHARDED)).servers
    url = f"s3://models/published/{FOLDER}-tp2"
    source, place = server.checkpoint.source, server.checkpoint.place
    assert (source.argument, source.directory, place.name, server.args[0]) == (url, url, url, url)
    assert (source.load_format, source.options, source.script) == ("runai_streamer_sharded", (), "check_shards")
    assert source.shards == ("model-rank-0-part-*.safetensors", "model-rank-1-part-*.safetensors")
    assert server.env["RUNAI_STREAMER_MEMORY_LIMIT"] == LIMIT
    assert [word for word in server.args if "load" in word] == ["--load-format=runai_streamer_sharded"]
    assert source.load_format in CATALOG.vllm.load_formats


def test_stages_of_a_pipeline_are_in_the_names_too():
    """VLLM has other names for files of several stages."""
    (server,) = planned(serving(A10, tensorParallel=2, pipelineParallel=2) | {"weights": SHARDED}).servers
    assert server.checkpoint.place.name.endswith("-tp2-pp2")
    assert server.checkpoint.source.shards == tuple(
        f"model-pp-{stage}-tp-{rank}-part-*.safetensors" for stage in (0, 1) for rank in (0, 1)
    )


def test_servers_of_other_spreads_have_folders_of_their_own():
    """One model on two and on four GPUs, and whole files, are three places with three names."""
    four, whole = MODEL | {"tensorParallel": 4}, MODEL | {"weights": store()}
    made = [server.checkpoint for server in servers(two=MODEL | {"tensorParallel": 2}, four=four, whole=whole)]
    endings = [one.place.name.removeprefix(f"s3://models/published/{FOLDER}") for one in made]
    assert sorted(endings) == ["", "-tp2", "-tp4"]
    assert len({one.name for one in made}) == len({one.key for one in made}) == 3


def test_a_canary_of_the_same_spread_reads_the_same_folder():
    """It is one checkpoint."""
    canary = {"canary": {"weight": 10, "args": ["--enable-prefix-caching"]}}
    stable, twin = servers(m=MODEL | {"tensorParallel": 2} | canary)
    assert stable.checkpoint == twin.checkpoint


def test_the_hash_of_shards_is_of_one_spread():
    """Of each spread it is its own."""
    vouched = {"revision": "f" * 40, "manifestSha256": "a" * 64}
    other = vouched | {"manifestSha256": "b" * 64, "tensorParallel": 4}
    made = servers(two=MODEL | {"tensorParallel": 2} | vouched, four=MODEL | other)
    assert sorted(str(server.checkpoint.manifest_sha256)[0] for server in made) == ["a", "b"]


@pytest.mark.parametrize(("weights", "manifest"), [(store(), "a" * 64), (SHARDED, None)])
def test_the_catalogue_vouches_for_whole_files(weights: dict[str, Any], manifest: str | None):
    """Its commit is that of both."""
    settings = checked(stack(weights=weights))
    model = CATALOG.models[MODEL["model"]].model_copy(update={"manifest_sha256": "a" * 64})
    spread = asked_spread(settings.models["m"], settings.weights)
    planned_ = plan_checkpoint(MODEL["model"], model, None, settings.weights, keeping(settings.weights), spread)
    assert planned_.manifest_sha256 == manifest


@pytest.mark.parametrize(
    ("model", "pool", "why"),
    [
        ({"model": "Qwen/Qwen3-0.6B", "tensorParallel": 1}, A10,
         f"{BY} for several GPUs, and this server has one rank (tensorParallel × pipelineParallel is 1)"),
        ({"tensorParallel": 1, "dataParallel": 2}, H200,
         f"{BY} by tensor and pipeline rank alone, and this server is TP 1 × DP 2"),
        ({"model": "Qwen/Qwen3-32B-FP8"}, H200,
         f"{BY} for weights in bf16: vLLM saves those in fp8-block128 as its kernels arranged them"),
        ({"model": "Qwen/Qwen3-30B-A3B-Instruct-2507"}, H200,
         f"{BY} for models without experts: vLLM saves those as its kernels arranged them"),
        ({"args": ["--quantization=fp8"]}, A10,
         "args: --quantization changes what each rank holds, which weights.layout sharded cannot say"),
        ({"args": ['--speculative-config={"method":"ngram"}']}, A10,
         "args: --speculative-config changes what each rank holds, which weights.layout sharded cannot say"),
    ],
)  # fmt: skip
def test_what_the_loader_would_read_wrongly_is_refused(model: dict[str, Any], pool: dict[str, Any], why: str):
    """With what to use instead."""
    assert f"models.m.{why}{WHOLE}" in refusals(serving(pool, **model) | {"weights": SHARDED})


@pytest.mark.parametrize(
    ("weights", "sections", "why"),
    [
        (SHARDED | {"fill": True}, {},
         "weights: layout sharded cannot be filled from a hub, which has whole files; leave out one of both"),
        (SHARDED | {"credentials": {"kind": "none"}}, {},
         "weights: layout sharded is listed with a signature; use credentials.kind existingSecret"),
        (SHARDED | {"url": "gs://models/published"}, {"cluster": on("gke")},
         "weights.layout: sharded is read from s3:// alone, not from gs://; leave it out"),
        ({"kind": "nodeCache", "storageClass": "nvme", "from": SHARDED}, {},
         "weights: from.layout must be left out: what is copied to a node is loaded as whole files"),
    ],
)  # fmt: skip
def test_a_bucket_that_cannot_hold_shards_is_refused(weights: dict[str, Any], sections: dict[str, Any], why: str):
    """Each with the nearest way out."""
    assert refusals(stack(weights=weights, **sections)) == [why]
