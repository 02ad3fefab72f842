"""Who notices a change and for how long, from documents written here; tests/stacks/test_preview_diff.py has real ones.

Does not prove that pods take as long as planned, only that what is planned is said.
"""

from typing import Any

import pytest

from preview.reporting.compare import Thing, compare
from preview.reporting.notices import collect_notices
from preview.reporting.sides import Sides

Model = dict[str, Any]


def model(**fields: Any) -> Model:
    """One model of a document: a server on a full pool, which an update stops for twelve minutes."""
    return {
        "model": "Qwen/Qwen3-14B",
        "server": "vllm-a",
        "pool": "a10",
        "gpus": 2,
        "canary": False,
        "weight_percent": 0,
        "replaces": None,
        "context_tokens": 32768,
        "replicas": {"min": 1, "max": 1},
        "expected_start_s": 360,
        "cold_start_s": 400,
        "update_gap_s": 720,
        "drain_s": 600,
        "checkpoint": {"claim": "weights-a", "gib": 27.5, "fetch_s": 300},
    } | fields


def document(models: dict[str, Model], **rest: Any) -> dict[str, Any]:
    """One side of a comparison."""
    return {
        "stack": "prod",
        "models": models,
        "cluster": {"identifier": "one", "namespace": "llm"},
        "gateway": {"name": "litellm", "host": "llm.example.com", "replicas": 2, "drain_s": 600, "fallbacks": {}},
        "alerts": ["Down"],
    } | rest


def thing(kind: str, name: str, body: dict[str, Any], **entry: Any) -> Thing:
    """An object of a side."""
    full = {"apiVersion": "v1", "kind": kind, "namespace": "llm", "name": name, "logicalName": name, "urn": name}
    return Thing({**full, "component": "", **entry}, body)


def workload(name: str, image: str = "1", owner: str = "VllmServer/x", **entry: Any) -> Thing:
    """A Deployment whose pods restart when `image` differs."""
    pod = {"containers": [{"name": "c", "image": image}]}
    return thing("Deployment", name, {"spec": {"template": {"spec": pod}}}, component=owner, **entry)


def said(
    before: dict[str, Any] | None, after: dict[str, Any], old: list[Thing], new: list[Thing], *rekeyed: str
) -> list[str]:
    """The lines of the comment."""
    return [str(notice) for notice in collect_notices(Sides(before, after, compare(old, new), rekeyed))]


def of_one(change: Model, old: list[Thing], new: list[Thing], **rest: Any) -> list[str]:
    """What is said when the one model `a` changes in these fields."""
    return said(document({"a": model()}), document({"a": model(**change)}, **rest), old, new)


RESTARTED = ([workload("vllm-a")], [workload("vllm-a", "2")])
GATEWAY = {"name": "litellm", "host": "llm.example.com", "replicas": 2, "drain_s": 600}


def test_nothing_changes():
    """Where nothing differs nobody is named."""
    assert of_one({}, [], []) == []


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        (
            {},
            (
                "**users of `a`**, for about 12 min: its pod is stopped before the next one starts (no GPUs are "
                "spare); "
                "streams that run have 10 min to end"
            ),
        ),
        (
            {"update_gap_s": 0},
            "**nobody**: the pods of `a` are replaced one by one, a new one first; streams that run have 10 min to end",
        ),
        (
            {"replicas": {"min": 3, "max": 3}},
            (
                "**users of `a`**, for about 12 min: its 3 replicas are replaced in place, so one at a time is "
                "missing, each "
                "for that long; streams that run have 10 min to end"
            ),
        ),
        (
            {"replicas": {"min": 0, "max": 1}},
            (
                "**users of `a`**, for about 12 min: its pod is stopped before the next one starts (no GPUs are "
                "spare), "
                "unless it is at zero then; streams that run have 10 min to end"
            ),
        ),
    ],
)
def test_a_restarted_server(fields, expected):
    """The gap is the plan's: none with room for a new pod, one replica at a time with several, an outage with one."""
    both = document({"a": model(**fields)})
    assert said(both, both, *RESTARTED) == [expected]


def test_fallbacks_answer_meanwhile():
    """Whoever has a fallback is told who answers."""
    both = document({"a": model()}, gateway={**GATEWAY, "fallbacks": {"a": ["b", "c"]}})
    (line,) = said(both, both, *RESTARTED)
    assert line.endswith("streams that run have 10 min to end. b and c answer meanwhile")


def test_a_server_without_traffic_may_be_stopped():
    """While the canary has all requests, nobody notices what happens to the first server; else its share is said."""
    twin = model(server="vllm-a-canary", canary=True, weight_percent=100)
    idle, shared = (document({"a": model(), "a-canary": {**twin, "weight_percent": share}}) for share in (100, 10))
    assert said(idle, idle, *RESTARTED) == [
        "**nobody**: `a` is stopped and started again, and gets no requests meanwhile"
    ]
    assert said(shared, shared, *RESTARTED) == [
        (
            "**users of `a`**, for about 12 min: the server of 90 % of the requests is stopped and started "
            "again; they are "
            "retried at the other one"
        )
    ]


def test_only_replicas():
    """More or fewer replicas are noticed by nobody; the requests of pods that go are drained."""
    scaled = {"replicas": {"min": 1, "max": 4}}
    assert of_one(scaled, [], []) == ["**nobody**: `vllm-a` runs with 1–4 replicas, no longer 1"]
    fewer = said(document({"a": model(**scaled)}), document({"a": model()}), [], [])
    assert fewer == [
        "**nobody**: `vllm-a` runs with 1 replicas, no longer 1–4; requests of pods that go have 10 min to end"
    ]


def test_scaling_to_zero():
    """Whoever asks a model that may now be at zero waits for a cold start."""
    assert of_one({"replicas": {"min": 0, "max": 1}}, [], []) == [
        (
            "**users of `a`**: the model may go to zero replicas; whoever asks first after a pause waits for its "
            "start or is "
            "refused, about 7 min"
        )
    ]


def test_another_answer():
    """Another checkpoint and a shorter context are said to those who ask, and what is fetched to those who wait."""
    change = {
        "model": "Qwen/Qwen3-8B",
        "context_tokens": 8192,
        "update_gap_s": 0,
        "checkpoint": {"claim": "weights-b", "gib": 16, "fetch_s": 180},
    }
    assert of_one(change, [], []) == [
        "**users of `a`**: prompt and answer together may have up to 8,192 tokens, no longer up to 32,768",
        "**users of `a`**: answers come from Qwen/Qwen3-8B, no longer from Qwen/Qwen3-14B",
        "**whoever waits for the update**: 16.0 GiB of weights of Qwen/Qwen3-8B are fetched first, in about 3 min",
    ]


def test_adapters_come_and_go():
    """Each is a name that somebody asks for; of a canary's, which are the same ones, nothing more is said."""
    names = {"sql": "acme/sql@1", "legal": "acme/legal@1"}, {"sql": "acme/sql@2", "tickets": "acme/tickets@1"}
    old, new = ({"a": model(adapters=side), "a-canary": model(adapters=side, canary=True)} for side in names)
    assert said(document(old), document(new), [], []) == [
        "**users of `legal`**: the adapter is gone, its requests are refused",
        "**users of `sql`**: answers come from acme/sql@2, no longer from acme/sql@1",
        "**nobody**: the adapter `tickets` is new, and answers once the server of its model has started anew",
    ]


def test_another_public_name():
    """Whoever asks by the former one is told, though no object of the server changes; a file of before has none."""
    expected = (
        "it is called `Org/A` from now on: requests for `a` are refused, write `Org/A` in clients; keys made by hand "
        "that name the old one lose it"
    )
    old = document({"a": model()})
    assert said(old, document({"a": model(public_name="Org/A")}), [], []) == [f"**users of `a`**: {expected}"]
    assert said(old, document({"a": model(public_name="a")}), [], []) == []


def test_models_come_and_go():
    """A new model disturbs nobody, one that goes is missed; `replaces` says whose place is taken."""
    old = document({"a": model()})
    new = {"b": model(server="vllm-b", replaces="vllm-a")}
    assert said(old, document(new), [], []) == [
        "**users of `a`**: the model is gone, its requests are refused; `b` takes its place",
        "**nobody**: `b` is new and answers about 6 min after its weights are there once a has gone",
    ]
    both = document({"a": model(), "b": model(server="vllm-b", checkpoint={"claim": "c", "gib": 1, "fetch_s": 60})})
    assert said(old, both, [], []) == [
        "**whoever waits for the update**: 1.0 GiB of weights of Qwen/Qwen3-14B are fetched first, in about 60 s",
        "**nobody**: `b` is new and answers about 6 min after its weights are there",
    ]


def test_a_canary_comes_widens_and_goes():
    """Its share of the requests is what users notice."""
    twin = model(server="vllm-a-canary", canary=True, weight_percent=10, model="Qwen/Qwen3-14B-FP8")
    without, narrow = document({"a": model()}), document({"a": model(), "a-canary": twin})
    wider = document({"a": model(), "a-canary": {**twin, "weight_percent": 50}})
    assert said(without, narrow, [], []) == [
        (
            "**users of `a`**: 10 % of the requests are answered by the canary, Qwen/Qwen3-14B-FP8; until it is "
            "loaded, "
            "about 6 min later, they are retried"
        )
    ]
    assert said(narrow, wider, [], []) == ["**users of `a`**: 50 % of the requests go to the canary, no longer 10 %"]
    assert said(wider, without, [], []) == [
        "**users of `a`**: the canary's 50 % of the requests go back to the first server"
    ]


def test_an_autoscaler_that_is_another():
    """Another driver leaves the replicas alone; none sets them at once."""
    old, new = thing("ScaledObject", "vllm-a", {}), thing("HorizontalPodAutoscaler", "vllm-a", {})
    fixed, scaled = (document({"a": model(replicas={"min": 1, "max": most})}) for most in (1, 4))
    assert said(scaled, scaled, [old], [new]) == [
        (
            "**whoever operates it**: the autoscaler of `vllm-a` is another object; replicas stay until it counts "
            "for itself"
        )
    ]
    assert said(scaled, fixed, [old], [])[0] == (
        "**users of `a`**: `vllm-a` is no longer scaled and set to 1 replica at once"
    )


def test_the_gateway_and_its_redis():
    """The gateway rolls without a gap; a Redis that restarts has forgotten what it counted."""
    both = document({"a": model()})
    owner = "LlmGateway/gateway"
    old, new = ([workload(name, i, owner) for name in ("litellm", "litellm-redis")] for i in "12")
    assert said(both, both, old, new) == [
        "**clients with limits**: requests and tokens of the current minute are counted anew: what Redis held is gone",
        "**nobody**: the gateway's pods are replaced one by one, a new one first; streams that run have 10 min to end",
    ]


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ((2, None), (2, 2), []),
        ((2, None), (2, 9), ["**nobody**: the gateway runs with 2–9 replicas, no longer 2"]),
        (
            (3, 9),
            (3, 3),
            ["**nobody**: the gateway runs with 3 replicas, no longer 3–9; streams of pods that go have 10 min to end"],
        ),
    ],
)
def test_the_gateways_replicas(old, new, expected):
    """A number or a range, also against the document of a version that knew numbers alone."""
    sides = [
        document({}, gateway={**GATEWAY, "replicas": few, **({"max_replicas": most} if most else {})})
        for few, most in (old, new)
    ]
    assert said(sides[0], sides[1], [], []) == expected


@pytest.mark.parametrize(
    ("old", "new", "host", "expected"),
    [
        (
            ["Ingress"],
            ["HTTPRoute"],
            "llm.example.com",
            ["traffic comes by HTTPRoute, no longer by Ingress: its address is another, and DNS has to follow"],
        ),
        (
            ["Ingress"],
            [],
            None,
            [
                "the Ingress goes: the gateway cannot be reached",
                "https://llm.example.com no longer answers; it is inside the cluster only",
            ],
        ),
        (
            ["Ingress"],
            ["Ingress"],
            "ai.example.com",
            ["https://llm.example.com no longer answers; it is https://ai.example.com"],
        ),
    ],
)
def test_another_way_in(old, new, host, expected):
    """Whoever asks from outside is told when the address is another or gone."""
    sides = [[thing(kind, "litellm", {}, component="LlmGateway/gateway") for kind in kinds] for kinds in (old, new)]
    lines = of_one({}, *sides, gateway={**GATEWAY, "host": host, "fallbacks": {}})
    assert lines == [f"**clients outside of the cluster**: {text}" for text in expected]


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ((600, None), (600, None), []),
        (
            (600, None),
            (300, None),
            [
                (
                    "**users of `a`**: `a` takes 300 requests per minute, no longer 600; the gateway refuses what is "
                    "beyond"
                ),
            ],
        ),
        ((600, None), (None, None), ["**nobody**: `a` takes any number of requests per minute, no longer 600"]),
        (
            (None, None),
            (None, 5000),
            [
                (
                    "**users of `a`**: `a` takes 5,000 tokens per minute, no longer any number of; "
                    "the gateway refuses what is beyond"
                )
            ],
        ),
    ],
)
def test_limits(old, new, expected):
    """Lower limits are noticed by those who ask more, higher ones by nobody."""

    def side(limits: tuple[int | None, int | None]) -> dict[str, Any]:
        gateway = {**GATEWAY, "fallbacks": {}, "limits": {"a": dict(zip(("requests", "tokens"), limits, strict=True))}}
        return document({"a": model()}, gateway=gateway)

    assert said(side(old), side(new), [], []) == expected


def test_keys():
    """A key that is encrypted anew may be another: clients and servers hear of it; its value is nowhere."""
    both = document({"a": model()})
    assert said(both, both, [], [], "gatewayMasterKey", "huggingFaceToken") == [
        (
            "**everybody**: `gatewayMasterKey` is encrypted anew. If its value is another, clients with the old key "
            "get 401, "
            "and every server restarts, the slowest for about 12 min: their keys are derived from it"
        ),
        "**nobody**: `huggingFaceToken` is encrypted anew; only downloads use it",
    ]


def test_keys_from_another_secret():
    """Another Secret of the master key, and a database that comes, goes or is another, are other keys."""

    def gateway(**secrets: str) -> Thing:
        env = [{"name": name, "valueFrom": {"secretKeyRef": {"name": at, "key": "k"}}} for name, at in secrets.items()]
        pod = {"spec": {"containers": [{"name": "litellm", "env": env}]}}
        return thing("Deployment", "litellm", {"spec": {"template": pod}}, component="LlmGateway/gateway")

    both = document({})
    assert said(both, both, [gateway(LITELLM_MASTER_KEY="x", DATABASE_URL="p")], [gateway(LITELLM_MASTER_KEY="y")]) == [
        (
            "**everybody**: the master key is read from Secret y, no longer from Secret x: clients need the one that "
            "is there"
        ),
        (
            "**holders of virtual keys**: keys, teams and budgets come from nowhere, no longer from Secret p: what "
            "only the "
            "old one has gets 401"
        ),
        "**nobody**: the gateway's pods are replaced one by one, a new one first; streams that run have 10 min to end",
    ]


OURS = "postgresql://litellm:$(POSTGRES_PASSWORD)@{}.here.svc:5432/litellm"
BUNDLED, CLUSTER = OURS.format("litellm-postgres"), OURS.format("litellm-database-rw")
SECRET = {"valueFrom": {"secretKeyRef": {"name": "llm-db", "key": "database-url"}}}


@pytest.mark.parametrize(
    ("old", "new", "places"),
    [
        (
            {"value": BUNDLED},
            {"value": CLUSTER},
            ("litellm-database-rw.here.svc", "litellm-postgres.here.svc"),
        ),
        ({"value": BUNDLED}, SECRET, ("Secret llm-db", "litellm-postgres.here.svc")),
        (SECRET, {"value": CLUSTER}, ("litellm-database-rw.here.svc", "Secret llm-db")),
        ({"value": CLUSTER}, {"value": f"{CLUSTER}?sslmode=require"}, None),
    ],
)
def test_keys_stay_in_the_database_that_was_left(old: Any, new: Any, places: tuple[str, str] | None):
    """Another kind of Postgres is another one, and nothing is moved; the same one spoken to otherwise is not."""

    def gateway(source: Any) -> Thing:
        pod = {"spec": {"containers": [{"name": "litellm", "env": [{"name": "DATABASE_URL", **source}]}]}}
        return thing("Deployment", "litellm", {"spec": {"template": pod}}, component="LlmGateway/gateway")

    both = document({})
    heard = [line for line in said(both, both, [gateway(old)], [gateway(new)]) if "virtual keys" in line]
    told = "**holders of virtual keys**: keys, teams and budgets come from {}, no longer from {}: what only the old "
    assert heard == ([f"{told.format(*places)}one has gets 401"] if places else [])


def test_everything_moves():
    """Another namespace is a second stack beside the first: its GPUs, Secrets and weights are needed twice."""
    both = document({"a": model(), "b": model(server="vllm-b", pool="h200", gpus=8)})
    old, new = ([workload("vllm-a", namespace=name), workload("litellm", namespace=name)] for name in ("llm", "ai"))
    first, *rest = said(both, both, old, new)
    assert first == (
        "**everybody**: the whole stack is made anew in namespace `ai` before it is deleted in `llm`; 2 GPUs of "
        "pool a10 "
        "and 8 GPUs of pool h200 are needed twice meanwhile, and where they are not free the update waits in vain. "
        "Addresses inside the cluster change to `ai`, and Secrets that were made by hand must be there, too"
    )
    assert rest == [
        "**whoever waits for the update**: 27.5 GiB of weights of Qwen/Qwen3-14B are fetched first, in about 5 min"
    ]


def test_another_cluster():
    """Another identifier replaces everything, which is rarely meant."""
    assert of_one({}, [], [], cluster={"identifier": "two", "namespace": "llm"})[0] == (
        "**everybody**, for about 6 min: `cluster.identifier` is another, so Pulumi takes the cluster for "
        "another one: it "
        "replaces every object. If it is the same cluster, give it its old identifier"
    )


def test_another_way_to_give_out_gpus():
    """The GPU Operator does not go from its device plugin to claims, or back, while it serves."""
    former, later = (
        thing("Release", "gpu-operator", {"chart": "gpu-operator", "version": "1", "values": values})
        for values in ({"mig": {}}, {"clusterPolicy": {"deployCR": False}})
    )
    assert said(document({}), document({}), [former], [later]) == [
        (
            "**whoever operates the cluster**: gpu-operator is upgraded; it gives out GPUs in another way, by claims "
            "or by its device plugin, which NVIDIA does not support in place: scale the servers to zero, uninstall it, "
            "then update (docs/claims.md)"
        )
    ]


def test_operators_and_alerts():
    """Whoever operates the cluster hears of charts, whoever is on call of alerts."""

    def release(chart: str, version: str) -> Thing:
        return thing("Release", chart, {"chart": chart, "version": version})

    lines = said(
        document({}),
        document({}, alerts=["New", "Newer"]),
        [release("keda", "1"), release("lws", "1")],
        [release("keda", "2"), release("x", "1")],
    )
    assert lines == [
        "**whoever operates the cluster**: lws is uninstalled, for all that use it",
        (
            "**whoever operates the cluster**: keda is upgraded: 1 → 2; nothing is scaled, and nothing wakes from "
            "zero, while "
            "it restarts"
        ),
        "**whoever operates the cluster**: x 1 is installed",
        "**whoever is on call**: New, Newer are new",
        "**whoever is on call**: Down is gone",
    ]


def test_an_update_that_cannot_succeed_is_said_first():
    """A claim that shrinks stops the update, whatever else changes."""
    claims = (
        thing("PersistentVolumeClaim", "c", {"spec": {"resources": {"requests": {"storage": size}}}})
        for size in ("2Gi", "1Gi")
    )
    old, new = claims
    first, *_ = of_one({}, [old, RESTARTED[0][0]], [new, RESTARTED[1][0]])
    assert first == (
        "**the update stops**: `PersistentVolumeClaim c in llm`: it shrinks from 2Gi to 1Gi, which the API "
        "server refuses"
    )


def test_a_new_server_that_waits_for_gpus_of_one_that_goes():
    """A rename on a full pool without `replaces` may wait in vain, which is said before the outage."""

    def on_gpus(name: str) -> Thing:
        pod = {"containers": [{"resources": {"limits": {"nvidia.com/gpu": 1}}}]}
        return thing("Deployment", name, {"spec": {"template": {"spec": pod}}})

    old, new = document({"a": model()}), document({"b": model(server="vllm-b")})
    first, second = said(old, new, [on_gpus("vllm-a")], [on_gpus("vllm-b")])
    assert first.startswith("**the update may stop**: `b` starts before vllm-a is deleted")
    assert second == "**users of `a`**: the model is gone, its requests are refused"


def test_a_new_stack_fetches_its_weights():
    """There is nobody yet who could notice; what is fetched takes its time."""
    assert said(None, document({"a": model(), "b": model(server="vllm-b")}), [], []) == [
        "**whoever waits for the update**: 27.5 GiB of weights of Qwen/Qwen3-14B are fetched first, in about 5 min"
    ]


def test_a_base_of_an_older_version():
    """What an older document does not say is not made up: neither weights, nor alerts, nor another cluster."""
    lacking = ("checkpoint", "replaces", "drain_s")
    older = {key: value for key, value in document({}).items() if key not in ("cluster", "gateway", "alerts")}
    older["models"] = {"a": {key: value for key, value in model().items() if key not in lacking}}
    assert said(older, document({"a": model()}), [], []) == []
