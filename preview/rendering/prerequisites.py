"""Objects that a stack expects to find on the cluster: named by its objects, declared by none of them.

Read from the rendered objects alone, so nothing can be forgotten when a component changes.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from planning.stack.beside import SECTIONS
from preview.rendering.expected import Expected
from preview.rendering.manifests import Category, Manifest
from preview.rendering.pod_classes import device_classes, pod_classes
from preview.rendering.published_weights import published_weights
from preview.rendering.secret_commands import Entries, add, create, takes_any

# API groups whose definitions a chart brings along; every other group outside Kubernetes must be served already.
GROUPS_OF_CHART = {
    "gpu-operator": ("nvidia.com", "nfd.k8s-sigs.io"),
    "keda": ("keda.sh",),
    "kube-prometheus-stack": ("monitoring.coreos.com",),
    "cloudnative-pg": ("postgresql.cnpg.io",),
    "lws": ("leaderworkerset.x-k8s.io",),
}
# Namespaces every cluster has.
BORN_NAMESPACES = frozenset({"default", "kube-system", "kube-public", "kube-node-lease"})
# Fields, of pods and of what is about them, that name a Secret.
NAMING_SECRETS = frozenset(
    {
        "secretKeyRef",
        "secretTargetRef",
        "secretRef",
        "secret",
        "tls",
        "imagePullSecrets",
        "pullSecrets",
        "passwordSecret",
        "nodePublishSecretRef",
    }
)
# What must be in a namespace before the stack is.
PLURALS = {"Secret": "Secrets", "ConfigMap": "ConfigMaps", "PersistentVolumeClaim": "claims"}


def find_prerequisites(manifests: Sequence[Manifest]) -> tuple[Expected, ...]:
    """Everything that `pulumi up` expects to find: Secrets, claims, weights, classes, Gateways, nodes, API groups."""
    inside = [(manifest, mappings_in(manifest.body)) for manifest in manifests]
    secrets, config_maps, claims = tuple(_secrets(inside)), tuple(_config_maps(inside)), tuple(_claims(inside))
    return (
        *_namespaces(manifests, [*secrets, *config_maps, *claims]),
        *secrets,
        *config_maps,
        *claims,
        *(Expected(kind, name, note=note) for kind, name, note in published_weights(inside)),
        *_storage_classes(inside),
        *(Expected(kind, name, note=note) for kind, name, note in pod_classes(inside)),
        *(Expected("DeviceClass", name, note=note) for name, note in device_classes(manifests, _charts(manifests))),
        *dict.fromkeys(_gateways(manifests)),
        *_licences(manifests),
        *_nodes(manifests),
        *_resource_metrics(manifests),
        *_api_groups(manifests),
    )


def _namespaces(manifests: Sequence[Manifest], inside: Sequence[Expected]) -> Iterator[Expected]:
    """`inside`: what must exist in a namespace; the stack declares such a namespace, but somebody has to come first."""
    declared = {manifest.name for manifest in manifests if manifest.kind == "Namespace"}
    for name in sorted({expected.namespace for expected in inside} & declared):
        kinds = dict.fromkeys(PLURALS[expected.kind] for expected in inside if expected.namespace == name)
        note = f"for the {' and '.join(kinds)} below; the stack takes it over"
        yield Expected("Namespace", name, note=note, command=f"kubectl create namespace {name}")
    created = {m.namespace for m in manifests if m.category is Category.RELEASE and m.body.get("createNamespace")}
    used = {manifest.namespace for manifest in manifests if manifest.namespace}
    for name in sorted(used - declared - created - BORN_NAMESPACES):
        yield Expected("Namespace", name, command=f"kubectl create namespace {name}")


def _secrets(contents: Iterable[tuple[Manifest, Sequence[Any]]]) -> Iterator[Expected]:
    """`contents`: objects with all mappings in them."""
    declared = {(manifest.namespace, manifest.name) for manifest, _ in contents if manifest.kind == "Secret"}
    # the operator's own, of the owner of the database
    declared |= {(manifest.namespace, f"{manifest.name}-app") for manifest, _ in contents if _is_postgres(manifest)}
    declared |= {(m.namespace, tls["secretName"]) for m, _ in contents if _issuer(m) for tls in m.body["spec"]["tls"]}
    needed: dict[tuple[str, str], set[str]] = {}
    drawn: set[tuple[str, str, str]] = set()
    for manifest, inside in contents:
        for name, keys in _secret_references(inside):
            needed.setdefault((manifest.namespace, name), set()).update(keys)
        app = manifest.body.get("metadata", {}).get("labels", {}).get("app.kubernetes.io/name")
        for variable, name, key in _secret_variables(inside):
            if takes_any(app, variable):
                drawn.add((manifest.namespace, name, key))
    for (namespace, name), keys in sorted(needed.items()):
        if (namespace, name) not in declared:
            drawn_keys = tuple(key for key in sorted(keys) if (namespace, name, key) in drawn)
            yield secret(name, namespace, tuple(sorted(keys)), drawn_keys)


def secret(name: str, namespace: str, keys: Sequence[str], drawn: Sequence[str]) -> Expected:
    """A Secret with these entries, `drawn` among them, and the commands for it."""
    entries = Entries(tuple(drawn), tuple(key for key in keys if key not in drawn))
    commands = create(name, namespace, entries), add(name, namespace, entries)
    return Expected("Secret", name, namespace, tuple(keys), "", commands[0], entries.drawn, commands[1])


def mappings_in(body: Mapping[str, Any]) -> list[dict[str, Any]]:
    """All mappings in an object, itself included, in no order."""
    mappings: list[dict[str, Any]] = []
    waiting: list[Any] = [body]
    while waiting:
        here = waiting.pop()
        if isinstance(here, dict):
            mappings.append(here)
            here = here.values()
        waiting.extend(child for child in here if isinstance(child, dict | list))
    return mappings


def _secret_variables(inside: Iterable[Any]) -> Iterator[tuple[str, str, str]]:
    """(variable, Secret, key) of every environment variable among these mappings that comes from a Secret."""
    for value in inside:
        match value:
            case {"name": str(variable), "valueFrom": {"secretKeyRef": {"name": str(name), "key": str(key)}}}:
                yield variable, name, key


def _secret_references(inside: Iterable[Any]) -> Iterator[tuple[str, set[str]]]:
    """(name, keys) of every Secret that these mappings need, wherever one of them names it."""
    for field, here in ((field, value[field]) for value in inside for field in sorted(NAMING_SECRETS & value.keys())):
        match field, here:
            case "secretKeyRef" | "secretTargetRef", {"name": str(name), "key": str(key)} if not here.get("optional"):
                yield name, {key}
            case "secretRef" | "nodePublishSecretRef", {"name": str(name)} if not here.get("optional"):
                yield name, set()
            case "secret", {"secretName": str(name)} | {"name": str(name)} if not here.get("optional"):
                yield name, {part["key"] for part in here.get("items", [])}
            case "passwordSecret", {"name": str(name)}:
                yield name, {"username", "password"}
            case "tls", [*hosts]:
                names = [entry.get("secretName") for entry in hosts if isinstance(entry, Mapping)]
                yield from ((name, {"tls.crt", "tls.key"}) for name in names if name)
            case "imagePullSecrets" | "pullSecrets", [*pulled]:
                # values of charts may have the names alone
                names = [entry.get("name") if isinstance(entry, Mapping) else entry for entry in pulled]
                yield from ((name, {".dockerconfigjson"}) for name in names if name)


def _config_maps(manifests: Iterable[tuple[Manifest, Sequence[Any]]]) -> Iterator[Expected]:
    """ConfigMaps that pods mount and nobody declares, with the entries they mount."""
    declared = {(manifest.namespace, manifest.name) for manifest, _ in manifests if manifest.kind == "ConfigMap"}
    needed: dict[tuple[str, str], set[str]] = {}
    for manifest, inside in manifests:
        for mounted in (value["configMap"] for value in inside if isinstance(value.get("configMap"), dict)):
            entries = {entry["key"] for entry in mounted.get("items", [])}
            needed.setdefault((manifest.namespace, mounted["name"]), set()).update(entries)
    for (namespace, name), keys in sorted(needed.items()):
        if (namespace, name) not in declared:
            files = " ".join(f"--from-file={key}=<FILE>" for key in sorted(keys))
            command = f"kubectl -n {namespace} create configmap {name} {files}".rstrip()
            yield Expected("ConfigMap", name, namespace, tuple(sorted(keys)), command=command)


def _claims(contents: Iterable[tuple[Manifest, Sequence[Any]]]) -> Iterator[Expected]:
    """Claims that pods mount and nobody declares; their init containers know which published directories they want."""
    declared = {(claim.namespace, claim.name) for claim, _ in contents if claim.kind == "PersistentVolumeClaim"}
    needed: dict[tuple[str, str], set[str]] = {}
    for manifest, inside in contents:
        for name, directories in _claim_references(inside):
            needed.setdefault((manifest.namespace, name), set()).update(directories)
    for (namespace, name), directories in sorted(needed.items()):
        if (namespace, name) not in declared:
            held = ", ".join(f"{directory}/" for directory in sorted(directories))
            note = f"must hold {held} with manifest.json, as the weights Job publishes it" if held else ""
            yield Expected("PersistentVolumeClaim", name, namespace, note=note)


def _claim_references(inside: Iterable[Any]) -> Iterator[tuple[str, set[str]]]:
    """(claim, directories on it) of every pod spec among these mappings: MODEL_DIR of the containers that mount it."""
    for pod in (value for value in inside if "containers" in value):
        containers = [*pod.get("initContainers", []), *pod["containers"]]
        for volume in pod.get("volumes", []):
            if "persistentVolumeClaim" in volume:
                directories = {
                    variable["value"].removeprefix(f"{mount['mountPath']}/")
                    for container in containers
                    for mount in container.get("volumeMounts", [])
                    for variable in container.get("env", [])
                    if mount["name"] == volume["name"] and variable["name"] == "MODEL_DIR"
                }
                yield volume["persistentVolumeClaim"]["claimName"], directories


def _is_postgres(manifest: Manifest) -> bool:
    return (manifest.api_version, manifest.kind) == ("postgresql.cnpg.io/v1", "Cluster")


def _storage_classes(manifests: Iterable[tuple[Manifest, Sequence[Any]]]) -> Iterator[Expected]:
    modes: dict[str, set[str]] = {}
    cloned: set[str] = set()
    for manifest, inside in manifests:
        if manifest.kind == "PersistentVolumeClaim":
            spec = manifest.body.get("spec", {})
            if spec.get("storageClassName"):
                modes.setdefault(spec["storageClassName"], set()).update(spec.get("accessModes", []))
                cloned.update([spec["storageClassName"]] if "dataSource" in spec else [])
        if _is_postgres(manifest) and (name := manifest.body["spec"]["storage"].get("storageClass")):
            modes.setdefault(name, set()).add("ReadWriteOnce")
        for spec in (value["ephemeral"]["volumeClaimTemplate"]["spec"] for value in inside if "ephemeral" in value):
            modes.setdefault(spec["storageClassName"], set()).update(spec["accessModes"])
    for name, access_modes in sorted(modes.items()):
        clones = ", and clone volumes" if name in cloned else ""
        offered = tuple(sorted(access_modes))
        yield Expected("StorageClass", name, keys=offered, note=f"must offer {', '.join(offered)}{clones}")


def _issuer(manifest: Manifest) -> str | None:
    """Kind and name of what makes the certificate of an Ingress."""
    return manifest.body.get("metadata", {}).get("annotations", {}).get("llm-stack.io/issuer")


def _gateways(manifests: Sequence[Manifest]) -> Iterator[Expected]:
    for manifest in manifests:
        spec = manifest.body.get("spec", {})
        if manifest.kind == "HTTPRoute":
            for parent in spec.get("parentRefs", []):
                listeners = (parent["sectionName"],) if "sectionName" in parent else ()
                note = "".join(f"with the listener {listener}" for listener in listeners)
                yield Expected("Gateway", parent["name"], parent.get("namespace", manifest.namespace), listeners, note)
        elif manifest.kind == "Ingress" and spec.get("ingressClassName"):
            yield Expected("IngressClass", spec["ingressClassName"])
        if issuer := _issuer(manifest):
            kind, _, name = issuer.partition(" ")
            note = f"of cert-manager, which makes the Secret {spec['tls'][0]['secretName']}"
            yield Expected(kind, name, "" if kind == "ClusterIssuer" else manifest.namespace, note=note)


def _licences(manifests: Sequence[Manifest]) -> Iterator[Expected]:
    """Gated checkpoints that nobody's token asks for: the hub would refuse their downloads."""
    for manifest in manifests:
        if manifest.kind != "Job" or "llm-stack.io/gated" not in manifest.body["metadata"].get("annotations", {}):
            continue
        (container,) = manifest.body["spec"]["template"]["spec"]["containers"]
        values = {variable["name"]: variable.get("value") for variable in container["env"]}
        if "HF_TOKEN" not in values:
            note = "gated: an account that accepted its licence, and a token of it"
            command = "pulumi config set --secret huggingFaceToken <TOKEN>"
            yield Expected("Access to", values["MODEL_REPO"], note=note, command=command)


def _nodes(manifests: Sequence[Manifest]) -> Iterator[Expected]:
    names = [manifest.name for manifest in manifests if manifest.category is Category.PATCH and manifest.kind == "Node"]
    if names:
        yield Expected("Nodes", ", ".join(names), note="get labels and taints")


def _resource_metrics(manifests: Sequence[Manifest]) -> Iterator[Expected]:
    """The API that serves the CPU of pods to autoscalers; without it their replicas stay as they are."""
    scaled = [
        manifest.name
        for manifest in manifests
        if manifest.kind == "HorizontalPodAutoscaler"
        and any(metric["type"] == "Resource" for metric in manifest.body["spec"].get("metrics", []))
    ]
    if scaled:
        note = f"metrics-server, for the autoscaler {', '.join(scaled)}, which without it leaves the replicas there are"
        yield Expected("API", "metrics.k8s.io/v1beta1", note=note)


def _charts(manifests: Sequence[Manifest]) -> set[str]:
    return {str(m.body.get("chart", "")).rpartition("/")[2] for m in manifests if m.category is Category.RELEASE}


def _api_groups(manifests: Sequence[Manifest]) -> Iterator[Expected]:
    charts = _charts(manifests)
    brought = {group for chart in charts for group in GROUPS_OF_CHART.get(chart, ())}
    declared = {m.body.get("spec", {}).get("group") for m in manifests if m.kind == "CustomResourceDefinition"}
    kinds: dict[str, set[str]] = {}
    for manifest in manifests:
        group = manifest.api_version.rpartition("/")[0]
        if manifest.category is Category.OBJECT and not _built_in(group) and group not in brought | declared:
            kinds.setdefault(manifest.api_version, set()).add(manifest.kind)
    for version, names in sorted(kinds.items()):
        group = version.rpartition("/")[0]
        owner = "".join(
            f"; {chart} brings it, of another stack or yours, or by {SECTIONS[chart]}: {{install: true}}"
            for chart, groups in GROUPS_OF_CHART.items()
            if group in groups
        )
        yield Expected("API", version, keys=tuple(sorted(names)), note=f"for {', '.join(sorted(names))}{owner}")


def _built_in(group: str) -> bool:
    return "." not in group or (group.endswith(".k8s.io") and group != "gateway.networking.k8s.io")
