"""LoRA adapters of a model: files, slots, names, and all that cannot be.

That vLLM serves what is planned here is proved by tests/local/test_canary.py.
"""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from planning.capacity.lora import adapter_bytes, lora_bytes
from planning.plan.weights import Adapter, ClaimVolume, ImageVolume, OwnClaim
from tests.unit.small_stack import CATALOG, CPU, GIB, H100, planned, properties, refusals, server, serving, stack

COMMIT, OTHER = "a" * 40, "b" * 40
SQL = {"repo": "acme/sql", "revision": COMMIT}
LEGAL = {"repo": "acme/legal", "revision": COMMIT, "rank": 24}
BOTH = {"legal": LEGAL, "sql": SQL}
DISK = {"kind": "existingClaim", "claimName": "disk"}
IMAGE = {"kind": "image", "reference": f"registry.example.com/m@sha256:{'a' * 64}"}
BUCKET = {"kind": "objectStore", "url": "s3://models", "credentials": {"kind": "existingSecret", "name": "store"}}
RWX = {"storageClass": "nfs"}


def lora(args: tuple[str, ...]) -> list[str]:
    """The arguments from the first about adapters on."""
    start = next((place for place, word in enumerate(args) if "lora" in word), len(args))
    return list(args[start:])


def test_adapters_are_loaded_from_claims_of_their_own():
    """Each is mounted beside the weights, named to vLLM, and in slots of a rank that vLLM has."""
    found = server(serving(adapters=BOTH))
    own, legal, sql = found.checkpoints
    assert [*found.serves] == ["m", "legal", "sql"]
    assert lora(found.args) == [
        "--enable-lora",
        "--max-loras=2",
        "--max-lora-rank=32",
        "--lora-modules",
        f"legal={legal.source.argument}",
        f"sql={sql.source.argument}",
    ]
    for plan, repo, rank in ((legal, "acme/legal", 24), (sql, "acme/sql", 16)):
        assert isinstance(plan.place, OwnClaim)
        assert (plan.model, plan.revision, plan.pinned, plan.fetch and plan.fetch.least_bytes) == (
            repo,
            COMMIT,
            True,
            0,
        )
        assert plan.place.name == f"weights-{plan.name}"
        assert plan.source.volume == ClaimVolume(plan.place.name, f"/adapters/{plan.name}")
        assert plan.source.argument == f"/adapters/{plan.name}/{repo.replace('/', '--')}/{COMMIT}"
        assert plan.adapter == Adapter("Qwen/Qwen3-14B", rank, f"models.m.adapters.{repo.partition('/')[2]}")
        assert plan.source.prewarm is False
    assert len({plan.place.name for plan in found.checkpoints}) == 3
    assert own == server(serving()).checkpoint


def test_a_server_without_adapters_is_as_it_was():
    """No slot, no argument, one name."""
    found = server(serving())
    assert (lora(found.args), [*found.serves], len(found.checkpoints)) == ([], ["m"], 1)


def test_slots_and_what_waits_for_them_take_memory():
    """Slots of the GPU, and in the pod whole copies for each of its workers."""
    plain, found = (server(serving(tensorParallel=2, **more)) for more in ({}, {"adapters": BOTH}))
    shape = CATALOG.models["Qwen/Qwen3-14B"].architecture
    assert shape is not None
    slots = lora_bytes(shape, found.parallelism, slots=2, rank=32) / GIB
    assert found.memory.weights_gib - plain.memory.weights_gib == pytest.approx(slots)
    waiting = 2 * 2 * adapter_bytes(shape, 32) / GIB
    assert found.resources.memory_gib - plain.resources.memory_gib == -(-waiting // 1)
    assert f"+ {-(-waiting // 1):.0f} of adapters that wait for their slots" in found.reasons["memoryGib"]


def test_more_adapters_than_slots_take_turns_in_memory():
    """Four slots at most; the others wait in the memory of the pod, from where they are not read again."""
    six = {f"a{number}": {**SQL, "repo": f"acme/a{number}", "rank": 64} for number in range(6)}
    found = server(serving(adapters=six))
    assert lora(found.args)[:4] == ["--enable-lora", "--max-loras=4", "--max-lora-rank=64", "--max-cpu-loras=6"]
    fewer = server(serving(adapters={name: six[name] for name in list(six)[:4]}))
    assert found.memory.weights_gib == fewer.memory.weights_gib
    assert found.resources.memory_gib > fewer.resources.memory_gib


@pytest.mark.parametrize(
    ("args", "expected"),
    [
        (["--max-loras=1"], ["--enable-lora", "--max-lora-rank=32", "--max-cpu-loras=2", "--max-loras=1"]),
        (["--max_loras", "3"], ["--enable-lora", "--max-lora-rank=32", "--max_loras", "3"]),
        (["--max-lora-rank=64", "--enable-lora"], ["--max-loras=2", "--max-lora-rank=64", "--enable-lora"]),
    ],
)
def test_slots_may_be_said_in_arguments(args: list[str], expected: list[str]):
    """They are then not said twice, and counted as they are said."""
    found = server(serving(adapters=BOTH, args=args))
    assert lora(found.args)[: len(expected)] == expected
    told = server(serving(args=["--enable-lora", "--max-loras=2", "--max-lora-rank=32"])).memory.weights_gib
    rank, slots = (64 if "64" in str(args) else 32), (1 if "1" in args[0][-1:] else 3 if "3" in args else 2)
    shape = CATALOG.models["Qwen/Qwen3-14B"].architecture
    assert shape is not None
    sizes = [lora_bytes(shape, found.parallelism, slots=s, rank=r) / GIB for s, r in ((slots, rank), (2, 32))]
    assert found.memory.weights_gib - told == pytest.approx(sizes[0] - sizes[1])


def test_an_adapter_has_a_route_of_the_price_and_limits_of_its_model():
    """With an id of its own, which no server can have."""
    raw = serving(adapters=BOTH, requestsPerMinute=60, priceUsdPerMillionTokens={"input": 1, "output": 4})
    first, legal, sql = planned(raw).gateway.routes
    for route, name in ((legal, "legal"), (sql, "sql")):
        assert (route.model_name, route.model, route.id) == (name, f"hosted_vllm/{name}", f"vllm-m/{name}")
        for field in ("server", "requests_per_minute", "input_cost_per_token", "output_cost_per_token", "task"):
            assert getattr(route, field) == getattr(first, field)


def test_an_adapter_may_be_a_fallback_and_a_model_of_a_team():
    """Its name is one like any other."""
    raw = serving(adapters=BOTH, fallbacks=["sql"])
    raw["gateway"] |= {
        "database": {"existingSecret": "pg"},
        "teams": {"t": {"models": ["legal"], "keys": ["app"], "existingSecret": "t-keys"}},
    }
    plan = planned(raw).gateway
    assert plan.fallbacks == (("m", ("sql",)),)
    assert plan.teams is not None
    assert plan.teams.teams[0].models == ("legal",)


CANARY = {"weight": 10, "maxNumSeqs": 8}


def test_a_canary_serves_the_same_adapters():
    """From the same claims, with its part of the requests; a route of each name at either server."""
    plan = planned(serving(adapters=BOTH, canary=CANARY))
    first, canary = plan.servers
    assert (canary.serves, canary.checkpoints) == (first.serves, first.checkpoints)
    assert [(route.id, route.weight) for route in plan.gateway.routes] == [
        (f"vllm-m{twin}{name}", weight)
        for twin, weight in (("", 90), ("-canary", 10))
        for name in ("", "/legal", "/sql")
    ]
    assert len(plan.weights.checkpoints) == 3


def test_a_canary_of_another_model_needs_to_know_the_base():
    """Its adapters were made for one of the two."""
    canary = {"weight": 10, "model": "Qwen/Qwen3-14B-AWQ"}
    assert refusals(serving(adapters={"sql": SQL}, canary=canary)) == [
        "models.m.adapters.sql.base: is needed: the canary serves Qwen/Qwen3-14B-AWQ, and the adapter names one base"
    ]
    plan = planned(serving(adapters={"sql": {**SQL, "base": "Qwen/Qwen3-14B"}}, canary=canary))
    assert [[*server.serves] for server in plan.servers] == [["m", "sql"], ["m", "sql"]]


@pytest.mark.parametrize(
    ("weights", "volume", "directory"),
    [
        (DISK, ClaimVolume("disk", "/models"), f"/models/acme--sql/{COMMIT}"),
        (IMAGE, ImageVolume(IMAGE["reference"], "/models"), f"/models/acme--sql/{COMMIT}"),
        ({"kind": "nodeCache", "storageClass": "nvme", "from": DISK}, ClaimVolume("disk", "/models"),
         f"/models/acme--sql/{COMMIT}"),
    ],
)  # fmt: skip
def test_files_that_are_there_already_are_loaded_where_they_are(weights: Any, volume: Any, directory: str):
    """Beside the weights on the same claim or image, by the layout that weights have; nothing is fetched."""
    raw = stack(weights=weights, models=serving(adapters={"sql": SQL})["models"])
    _, adapter = server(raw).checkpoints
    assert (adapter.source.volume, adapter.source.argument, adapter.fetch) == (volume, directory, None)
    assert (adapter.source.copy, adapter.source.script) == (None, "prewarm_weights")


def test_adapters_of_copied_weights_stay_on_their_claim():
    """They are small, and read once."""
    weights = {"kind": "nodeCache", "storageClass": "nvme", "from": RWX}
    _, adapter = server(stack(weights=weights, models=serving(adapters={"sql": SQL})["models"])).checkpoints
    assert adapter.source.volume == ClaimVolume(adapter.place.name, f"/adapters/{adapter.name}")
    assert adapter.source.copy is None


def test_adapters_on_cpus_are_counted_in_the_memory_of_the_pod():
    """Slots and copies are both there."""
    small = {"model": "Qwen/Qwen3-0.6B", "contextTokens": 2048}
    plain, found = (server(serving(CPU, **small, **more)) for more in ({}, {"adapters": {"sql": {**SQL, "rank": 512}}}))
    shape = CATALOG.models["Qwen/Qwen3-0.6B"].architecture
    assert shape is not None
    taken = (lora_bytes(shape, found.parallelism, slots=1, rank=512) + adapter_bytes(shape, 512)) / GIB
    assert taken - 1 < found.resources.memory_gib - plain.resources.memory_gib < taken + 1


def test_a_preview_says_that_another_adapter_restarts_the_server():
    """VLLM loads none while it runs but by a switch for development."""
    assert server(serving(adapters=BOTH)).reasons["adapters"] == (
        "legal, sql: loaded at the start, so one more restarts the server; 2 slots of rank 32"
    )


WRONG: dict[str, tuple[dict[str, Any], list[str]]] = {
    "a name of a model": (
        {"adapters": {"m": SQL}},
        ["models.m.adapters.m: is the public name of models.m already; give it another"],
    ),
    "a bucket": (
        {"adapters": BOTH, "weights": BUCKET},
        [("models.m.adapters: needs files on a volume, and vLLM streams none but the model's own from a bucket; give "
         "models.m.weights: {kind: sharedClaim, storageClass: …}, or an existingClaim with its files on it")],
    ),
    "disks of several zones": (
        {"adapters": BOTH, "weights": {**RWX, "kind": "sharedClaim", "accessMode": "ReadOnlyMany"}},
        [("models.m.adapters: has a claim of its own, and two of accessMode ReadOnlyMany may be disks of different "
         "nodes or zones; use accessMode ReadWriteMany, or a pool of one node")],
    ),
    "a smaller slot": (
        {"adapters": BOTH, "args": ["--max-lora-rank=16"]},
        ["models.m.args: --max-lora-rank=16 is less than the rank 24 of an adapter; leave it out"],
    ),
    "no slot": (
        {"adapters": BOTH, "args": ["--no-enable-lora"]},
        ["models.m.args: --no-enable-lora takes the adapters away; leave it out, or them"],
    ),
    "the option": (
        {"adapters": BOTH, "args": ["--lora-modules", "x=/y"]},
        [("models.m.args[0]: --lora-modules x=/y needs files that no server has: models.m.adapters delivers adapters; "
         "write them there")],
    ),
    "the switch": (
        {"adapters": BOTH, "env": {"VLLM_ALLOW_RUNTIME_LORA_UPDATING": "1"}},
        [("models.m.env.VLLM_ALLOW_RUNTIME_LORA_UPDATING: lets whoever reaches the pod load adapters without a key; "
         "write adapters")],
    ),
    "a hash of what moves": (
        {"adapters": {"sql": {"repo": "acme/sql", "manifestSha256": "c" * 64}}},
        ["models.m.adapters.sql.manifestSha256: is the hash of one commit; give models.m.adapters.sql.revision too"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG)
def test_what_cannot_be_is_refused_with_what_to_do(case: str):
    """Each at its path, once."""
    model, expected = WRONG[case]
    assert refusals(serving(**model)) == expected


@pytest.mark.parametrize(
    ("adapter", "text"),
    [
        ({}, "models.m.adapters.sql.repo: is missing"),
        ({"repo": "sql"}, 'models.m.adapters.sql.repo: "sql"'),
        ({"repo": "../.."}, "models.m.adapters.sql.repo"),
        ({**SQL, "revision": "main"}, "models.m.adapters.sql.revision"),
        ({**SQL, "rank": 0}, "models.m.adapters.sql.rank"),
        ({**SQL, "rank": 513}, "models.m.adapters.sql.rank"),
        ({**SQL, "path": "/x"}, "models.m.adapters.sql.path"),
    ],
)
def test_what_is_not_well_formed_is_refused_at_its_path(adapter: dict[str, Any], text: str):
    """By the settings, before anything is planned."""
    (line,) = refusals(serving(adapters={"sql": adapter}))
    assert line.startswith(text)


def test_a_name_belongs_to_one_adapter_of_the_stack():
    """Clients ask by it alone."""
    models = {
        name: {**serving()["models"]["m"], "contextTokens": 8192, "adapters": {"sql": SQL}} for name in ("a", "b")
    }
    assert refusals(stack(gpuPools={"a10": H100}, models=models)) == [
        "models.b.adapters.sql: is the public name of models.a.adapters.sql already; give it another"
    ]


def test_files_that_two_servers_share_are_described_alike():
    """One Job looks at them."""
    models = {
        name: {**serving()["models"]["m"], "contextTokens": 8192, "adapters": {f"sql-{name}": {**SQL, "rank": rank}}}
        for name, rank in (("a", 16), ("b", 32))
    }
    lines = refusals(stack(gpuPools={"a10": H100}, models=models))
    same = "differs from that of models.a.adapters.sql-a, which has the same files; write the same"
    assert lines == [f"models.b.adapters.sql-b.rank: {same}"]
    models["b"]["adapters"]["sql-b"]["rank"] = 16
    plan = planned(stack(gpuPools={"a10": H100}, models=models))
    assert len(plan.weights.checkpoints) == 2


def test_what_nothing_pins_is_refused_where_hashes_are_required():
    """As weights are; and warned of where they are not."""
    raw = serving(adapters={"sql": {"repo": "acme/sql"}})
    assert "acme/sql@main" in planned(raw).unpinned
    raw["images"] = {"requireDigests": True}
    lines = [line for line in refusals(raw) if line.startswith("models.")]
    path = "models.m.adapters.sql.revision"
    assert lines == [f"{path}: images.requireDigests is true, and nothing pins it; give a commit"]


def test_a_claim_for_one_pod_is_not_shared_by_adapters():
    """A canary could not mount it while the first server runs."""
    weights = {**RWX, "kind": "sharedClaim", "accessMode": "ReadWriteOncePod"}
    pool = {"gpu": "nvidia-h100", "nodes": 1, "gpusPerNode": 8}
    model = {"adapters": {"sql": SQL}, "weights": weights, "canary": {"weight": 10, "revision": OTHER}}
    (line,) = refusals(serving(pool, **model))
    assert line.startswith("models.m.canary: its weights are on a claim for one pod, which is that of vllm-m; use ")


@properties(60)
@given(st.lists(st.integers(1, 512), min_size=1, max_size=8))
def test_slots_hold_every_adapter(ranks: list[int]):
    """The rank of slots is one that vLLM has, no smaller than any, and each has its memory."""
    adapters = {f"a{place}": {"repo": f"acme/a{place}", "rank": rank} for place, rank in enumerate(ranks)}
    found = server(serving(H100, adapters=adapters, contextTokens=4096))
    told = dict(word.split("=", 1) for word in lora(found.args) if word.startswith("--max"))
    assert int(told["--max-lora-rank"]) >= max(ranks)
    assert told["--max-lora-rank"] in {str(rank) for rank in CATALOG.vllm.options["--max-lora-rank"].choices}
    assert int(told["--max-loras"]) == min(4, len(ranks))
    assert int(told.get("--max-cpu-loras", told["--max-loras"])) == len(ranks)
    shape = CATALOG.models["Qwen/Qwen3-14B"].architecture
    assert shape is not None
    waiting = len(ranks) * adapter_bytes(shape, int(told["--max-lora-rank"])) / GIB
    assert found.resources.memory_limit_gib >= found.resources.memory_gib >= 8 + waiting
