"""Of a list or mapping, one broken element keeps no other from being judged.

Every list and mapping that a stack file may have is looked up in its shape, so that a new one needs a row here. Does
not prove that an element is judged at all, nor what is told of it.
"""

from collections.abc import Iterator
from copy import deepcopy
from types import UnionType
from typing import Any, Union, get_args, get_origin

import pytest
from pydantic import BaseModel, TypeAdapter

from planning import resolve_stack
from planning.own_catalog import own_catalog
from settings import Refused, validate
from settings.broken import ELEMENTS
from settings.catalog_files import read_own
from settings.schema import StackSettings
from tests.unit.planning.test_one_wave import whole
from tests.unit.small_stack import CATALOG, MODEL

TEAM = "gateway.teams.apps"
EXPOSED = {"gateway.host": "llm.example.com"}
INGRESS = {"kind": "ingress", "className": "nginx"}
SENTINELS = {"kind": "sentinel", "masterName": "m", "passwordless": True, "passwordSecret": "s"}
RESERVED = {"kind": "karpenter", "instanceTypes": ["p5.48xlarge"], "capacityTypes": ["reserved"]}
KEY = {"keys": ["b-c"], "models": ["chat"], "existingSecret": "a-keys"}
PAGE = {
    "host": "chat.example.com",
    "team": "nobody",
    "key": "app",
    "existingSecret": "chat",
    "tlsSecret": "chat-tls",
}


def volume(path: str) -> dict[str, Any]:
    """A volume that is mounted there."""
    return {"kind": "configMap", "name": "files", "mountPath": path}


def provider(**models: Any) -> dict[str, Any]:
    """A provider with these models."""
    return {"kind": "openAi", "existingSecret": "key", "models": models}


def way(**fields: Any) -> dict[str, Any]:
    """A way out that nothing is wrong with but these."""
    return {"to": {"kind": "addresses", "cidrs": ["10.0.0.0/8"]}, "ports": [1], "workloads": ["all"], **fields}


def way_in(**fields: Any) -> dict[str, Any]:
    """The same of a way in."""
    made = way(**fields)
    return {"from": made.pop("to"), **made}


# Collection → where it is, a value of it with one element that is broken, and the paths of all that is told: of the
# broken element, of one beside it that has a fault of its own where another check looks at it, and no more. Paths that
# begin with a bracket or dot are inside; in `{"at": …}`, other keys that the stack has besides.
ROWS: dict[str, tuple[str, Any, list[str], dict[str, Any]]] = {
    "AddressPeers.cidrs": (
        "network.extraEgress.x", way(to={"kind": "addresses", "cidrs": [3, "127.0.0.0/8"]}),
        [".to.cidrs[0]", ".to.cidrs[1]"], {},
    ),
    "ExtraEgress.ports": (
        "network.extraEgress.x", way(ports=[0], workloads=["nobody"]), [".ports[0]", ".workloads[0]"], {},
    ),
    "ExtraEgress.workloads": (
        "network.extraEgress.x", way(workloads=[3, "nobody"]), [".workloads[0]", ".workloads[1]"], {},
    ),
    "ExtraIngress.ports": (
        "network.extraIngress.x", way_in(ports=[0], workloads=["nobody"]), [".ports[0]", ".workloads[0]"], {},
    ),
    "ExtraIngress.workloads": (
        "network.extraIngress.x", way_in(workloads=[3, "nobody"]), [".workloads[0]", ".workloads[1]"], {},
    ),
    "GatewaySettings.settings": ("gateway.settings", {"a": 3, "model_list": {}}, [".a", ".model_list"], {}),
    "HostPeers.names": (
        "network.extraEgress.x", way(to={"kind": "hosts", "names": [3, "a.example.com"]}),
        [".to.names[0]", ".to.names[1]"], {},
    ),
    "NetworkSettings.extraEgress": (
        "network.extraEgress", {"a": 3, "b": way(workloads=["nobody"])}, [".a", ".b.workloads[0]"], {},
    ),
    "NetworkSettings.extraIngress": (
        "network.extraIngress", {"a": 3, "b": way_in(workloads=["nobody"])}, [".a", ".b.workloads[0]"], {},
    ),
    "PodPeers.podLabels": (
        "network.extraEgress.x", way(to={"kind": "pods", "namespace": "llm-serving", "podLabels": {"a": 3}}),
        [".to.namespace", ".to.podLabels.a"], {},
    ),
    "SharedNodes.labels": (
        "gpuPools.spare", {"gpu": "nvidia-l9", "nodes": 1, "gpusPerNode": 1,
                           "provisioning": {"kind": "shared", "labels": {"a": 3, "b": "c"}}},
        [".gpu", ".provisioning.labels.a"], {},
    ),
    "StackSettings.overrides": ("overrides", {"Job/a": 3, "Secret/b": {}}, [".Job/a", ".Secret/b"], {}),
    "CanarySettings.args": ("models.tested.canary.args", [3, "--no-such"], ["[0]", "[1]"], {}),
    "CapacityReservation.ids": (
        "gpuPools.spare.provisioning", RESERVED | {"reservation": {"ids": ["x", "cr-1"]}},
        [".reservation.ids[0]", ".instanceTypes[0]"], {},
    ),
    "CapacityReservation.tags": (
        "gpuPools.spare.provisioning", RESERVED | {"reservation": {"tags": {"a": 3, "b": "*"}}},
        [".reservation.tags.a", ".instanceTypes[0]"], {},
    ),
    "CatalogSettings.files": ("catalog.files", [3, "missing.yaml"], ["[0]", "missing.yaml"], {}),
    "CatalogSettings.gpus": (
        "catalog.gpus", {"acme-1": 3, "acme-2": {"like": "acme-9"}}, [".acme-1", ".acme-2.like"], {},
    ),
    "CatalogSettings.instances": (
        "catalog.instances", {"a.b": 3, "c.d": {"like": "e.f"}}, [".a.b", ".c.d.like"], {},
    ),
    "CatalogSettings.models": (
        "catalog.models", {"acme/a": 3, "acme/b": {"like": "acme/c"}}, [".acme/a", ".acme/b.like"], {},
    ),
    "CatalogSettings.prices": ("catalog.prices", {"g5.12xlarge": "x", "nobody": 3}, [".g5.12xlarge", ".nobody"], {}),
    "CertificateTls.names": (
        "gateway.expose", {**INGRESS, "controller": "alb", "tls": {"kind": "certificate", "names": [3, "x"]}},
        [".tls.names[0]", ".tls.names[1]"], EXPOSED,
    ),
    "ChartOverride.values": (
        "charts.keda.values", {"a": ["\a", {"password": "x"}]}, [".a[0]", ".a[1].password"], {},
    ),
    "ClaimsSettings.selectors": (
        "gpuPools.spare.claims", {"selectors": [3, "true)", "device.driver == 'x'"]},
        [".selectors[0]", ".selectors[1]"], {},
    ),
    "ClusterSettings.dnsAddresses": ("cluster.dnsAddresses", ["x", "10.0.0.10"], ["[0]"], {}),
    "ComputeClassNodes.capacityTypes": (
        "gpuPools.spare.provisioning",
        {"kind": "computeClass", "machineTypes": ["a3-highgpu-8g"], "capacityTypes": ["spott", "on-demand"]},
        [".capacityTypes[0]", ".machineTypes[0]"], {},
    ),
    "ComputeClassNodes.machineTypes": (
        "gpuPools.spare.provisioning", {"kind": "computeClass", "machineTypes": ["G2 x", "a3-highgpu-8g"]},
        [".machineTypes[0]", ".machineTypes[1]"], {},
    ),
    "CsiVolume.attributes": (
        "models.chat.extraVolumes.v", {"kind": "csi", "driver": "d", "mountPath": "/etc", "attributes": {"a": 3}},
        [".attributes.a", ".mountPath"], {},
    ),
    "ExistingNodes.nodeNames": (
        "gpuPools.a10.provisioning", {"kind": "existing", "nodeNames": [3, "n-1", 4, "n-3"]},
        [".nodeNames[0]", ".nodeNames[2]", "gpuPools.h100.provisioning.nodeNames[1]"],
        {"gpuPools.h100.provisioning": {"kind": "existing", "nodeNames": ["h-1", "n-1"]}},
    ),
    "GatewaySettings.env": ("gateway.env", {"A": 3, "DATABASE_URL": "x"}, [".A", ".DATABASE_URL"], {}),
    "GatewaySettings.extraVolumes": (
        "gateway.extraVolumes", {"a": volume("a"), "b": volume("/etc")}, [".a.mountPath", ".b.mountPath"], {},
    ),
    "GatewaySettings.podAnnotations": (
        "gateway.podAnnotations", {"a": 3, "pulumi.com/x": "y"}, [".a", ".pulumi.com/x"], {},
    ),
    "GatewaySettings.podLabels": ("gateway.podLabels", {"a": 3, "k8s.io/x": "y"}, [".a", ".k8s.io/x"], {}),
    "GatewaySettings.providers": (
        "gateway.providers", {"a": 3, "b": provider(x={"model": "x", "contextTokens": 1})},
        [".a", ".b.models.x.priceUsdPerMillionTokens"], {},
    ),
    "GatewaySettings.secretEnv": (
        "gateway.secretEnv", {"A": 3, "HOST": {"name": "s", "key": "k"}}, [".A", ".HOST"], {},
    ),
    "GatewaySettings.serviceAccountAnnotations": (
        "gateway.serviceAccountAnnotations", {"a": 3, "pulumi.com/x": "y"}, [".a", ".pulumi.com/x"], {},
    ),
    "GatewaySettings.teams": (
        "gateway.teams", {"a": 3, "b": {**KEY, "models": ["nobody"]}}, [".a", ".b.models[0]"], {},
    ),
    "IngressExposure.annotations": (
        "gateway.expose", {**INGRESS, "controller": "nobody", "annotations": {"a": 3}},
        [".annotations.a", ".controller"], EXPOSED,
    ),
    "KarpenterNodes.capacityTypes": (
        "gpuPools.spare.provisioning",
        {"kind": "karpenter", "instanceTypes": ["p5.48xlarge"], "capacityTypes": ["spott", "spot"]},
        [".capacityTypes[0]", ".instanceTypes[0]"], {},
    ),
    "KarpenterNodes.instanceTypes": (
        "gpuPools.spare.provisioning", {"kind": "karpenter", "instanceTypes": ["G5 x", "p5.48xlarge"]},
        [".instanceTypes[0]", ".instanceTypes[1]"], {},
    ),
    "KeySettings.generations": (
        f"{TEAM}.keys", {"app": {"generations": [2, "x"]}, "Bad": {}}, [".app.generations[1]", ".Bad"], {},
    ),
    "LabelledNodes.labels": (
        "gpuPools.spare", {"gpu": "nvidia-l9", "nodes": 1, "gpusPerNode": 1,
                           "provisioning": {"kind": "labelled", "labels": {"a": 3, "b": "c"}}},
        [".gpu", ".provisioning.labels.a"], {},
    ),
    "ModelSettings.adapters": (
        "models.large.adapters", {"a": {"repo": "a"}, "chat": {"repo": "acme/chat"}}, [".a.repo", ".chat"], {},
    ),
    "ModelSettings.args": ("models.chat.args", [{"--a": 1}, "--no-such"], ["[0]", "[1]"], {}),
    "ModelSettings.env": ("models.chat.env", {"A": 3, "HF_TOKEN": "x"}, [".A", ".HF_TOKEN"], {}),
    "ModelSettings.extraVolumes": (
        "models.chat.extraVolumes", {"a": 3, "b": volume("/etc")}, [".a", ".b.mountPath"], {},
    ),
    "ModelSettings.fallbacks": ("models.chat.fallbacks", [3, "nobody"], ["[0]", "[1]"], {}),
    "ModelSettings.podAnnotations": (
        "models.chat.podAnnotations", {"a": 3, "pulumi.com/x": "y"}, [".a", ".pulumi.com/x"], {},
    ),
    "ModelSettings.podLabels": ("models.chat.podLabels", {"a": 3, "k8s.io/x": "y"}, [".a", ".k8s.io/x"], {}),
    "ModelSettings.secretEnv": (
        "models.chat.secretEnv", {"A": 3, "VLLM_API_KEY": {"name": "s", "key": "k"}}, [".A", ".VLLM_API_KEY"], {},
    ),
    "ModelSettings.serviceAccountAnnotations": (
        "models.chat.serviceAccountAnnotations", {"a": 3, "pulumi.com/x": "y"}, [".a", ".pulumi.com/x"], {},
    ),
    "ImagesSettings.overrides": (
        "images.overrides", {"redi": {}, "redis": {"version": "latest"}}, [".redi", ".redis"], {},
    ),
    "ImagesSettings.pullSecrets": (
        "images", {"pullSecrets": [3, "a"], "overrides": {"redis": {"version": "latest"}}},
        [".pullSecrets[0]", ".overrides.redis"], {},
    ),
    "OidcSettings.allowedDomains": (
        "gateway.chatUi",
        {**PAGE, "oidc": {"endpoint": "https://a.example.com", "clientId": "c", "allowedDomains": [3]}},
        [".oidc.allowedDomains[0]", ".team"], {**EXPOSED, "gateway.expose": INGRESS},
    ),
    "PoolSettings.resources": ("gpuPools.a10.resources", {"a.b/c": 1.5, "cpu": 4}, [".a.b/c", ".cpu"], {}),
    "PoolSettings.tolerations": (
        "gpuPools.a10.tolerations", [3, {"key": "a", "operator": "Exists", "value": "b"}], ["[0]", "[1]"], {},
    ),
    "ProviderSettings.models": (
        "gateway.providers.p", provider(a=3, x={"model": "x", "contextTokens": 1}),
        [".models.a", ".models.x.priceUsdPerMillionTokens"], {},
    ),
    "ProxySettings.noProxy": (
        "cluster.proxy", {"endpoint": "http://proxy.example.com", "noProxy": [3, "a.huggingface.co"]},
        [".endpoint", ".noProxy[0]", ".noProxy[1]"], {},
    ),
    "RouteExposure.annotations": (
        "gateway.expose", {"kind": "route", "annotations": {"a": 3}}, [".annotations.a", ".kind"], EXPOSED,
    ),
    "SentinelRedisSettings.sentinels": (
        "gateway.redis", {**SENTINELS, "sentinels": [3, "a"]}, ["", ".sentinels[0]"], {},
    ),
    "SharedClaimWeights.env": ("weights.env", {"A": 3, "HF_TOKEN": "x"}, [".A", ".HF_TOKEN"], {}),
    "StackSettings.charts": (
        "charts", {"kedda": {}, "kube-prometheus-stack": {"version": "x"}},
        [".kedda", ".kube-prometheus-stack.version"], {},
    ),
    "StackSettings.gpuPools": ("gpuPools.other", 3, ["", "gpuPools.spare.gpu"], {"gpuPools.spare.gpu": "nvidia-l9"}),
    "StackSettings.models": (
        "models.other", 3, ["", "models.more.model"], {"models.more": {**MODEL, "model": "acme/none"}},
    ),
    "TeamSettings.keys": (
        "gateway.teams", {"a": {**KEY, "keys": ["b-c", 3]}, "a-b": {**KEY, "keys": ["c"], "existingSecret": "b-keys"}},
        [".a.keys[1]", ".a-b.keys.c"], {},
    ),
    "TeamSettings.models": (f"{TEAM}.models", [3, "nobody"], ["[0]", "[1]"], {}),
    "TeamSettings.perModel": (
        f"{TEAM}.perModel", {"a": {}, "nobody": {"tokensPerMinute": 1}}, [".a", ".nobody"], {},
    ),
    "WorkloadsSettings.podAnnotations": (
        "workloads.podAnnotations", {"a": 3, "pulumi.com/x": "y"}, [".a", ".pulumi.com/x"], {},
    ),
    "WorkloadsSettings.podLabels": ("workloads.podLabels", {"a": 3, "k8s.io/x": "y"}, [".a", ".k8s.io/x"], {}),
}  # fmt: skip


def sections(kind: Any, known: set[Any]) -> set[type[BaseModel]]:
    """All settings classes within a type."""
    for part in get_args(kind):
        sections(part, known)
    if isinstance(kind, type) and issubclass(kind, BaseModel) and kind not in known:
        known.add(kind)
        for field in kind.model_fields.values():
            sections(field.annotation, known)
    return known


def collection(kind: Any) -> Any:
    """The list or mapping that a type is, may be, or is beside what pydantic is told of it."""
    if get_origin(kind) in (UnionType, Union):
        return next((part for part in map(collection, get_args(kind)) if part), None)
    return kind if get_origin(kind) in (list, dict) else None


def collections() -> Iterator[tuple[str, str, Any]]:
    """Every field of a list or mapping: its section, its key, its type."""
    for section in sections(StackSettings, set()):
        for name, field in section.model_fields.items():
            if kind := collection(field.annotation):
                yield section.__name__, field.alias or name, kind


def told(raw: dict[str, Any], folder: Any) -> list[str]:
    """Paths of all that is wrong with a stack and with its own entries of the catalogue."""
    files = read_own(raw, folder)
    settings, problems = validate(files.sections)
    with pytest.raises(Refused) as refused:
        resolve_stack(settings, own_catalog(CATALOG, files), problems)
    return sorted(problem.path for problem in refused.value.problems)


def put(raw: dict[str, Any], path: str, value: Any) -> None:
    """Writes a value at a path of keys."""
    *holders, key = path.split(".")
    for step in holders:
        raw = raw.setdefault(step, {})
    raw[key] = deepcopy(value)


def test_every_list_and_mapping_has_a_row():
    """Those of unions, of sections in mappings, and of mappings that may be written as lists, too."""
    assert sorted(ROWS) == sorted(f"{section}.{key}" for section, key, _ in collections())


@pytest.mark.parametrize("name", ROWS)
def test_a_broken_element_hides_no_fault_of_another(name, tmp_path):
    """Both are told at once, and nothing that only follows."""
    path, value, expected, beside = ROWS[name]
    raw = whole()
    for where, other in {**beside, path: value}.items():
        put(raw, where, other)
    assert told(raw, tmp_path) == sorted(f"{path}{end}" if end[:1] in ("", "[", ".") else end for end in expected)


def test_an_element_that_stands_in_for_a_broken_one_is_well_formed():
    """Without the list that it is in, which may want more of it."""
    lists = [(key, get_args(kind)[0]) for _, key, kind in collections() if get_origin(kind) is list]
    for key, kind in lists:
        TypeAdapter(kind).validate_python(ELEMENTS.get(key, "unknown-0"))
    assert {key for key, _ in lists} >= {*ELEMENTS}
