"""*Expected on the cluster*, looked for: a row for each kind of thing."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet

from catalog.load import Catalog
from preview.preflight.cluster import Cluster, condition, items
from preview.preflight.findings import Finding, fine, missing, not_known, read, wrong
from preview.rendering.expected import Expected

CLASSES = "/apis/storage.k8s.io/v1/storageclasses"
GATEWAYS = "/apis/gateway.networking.k8s.io/v1"
MANY = "ReadWriteMany"
OTHER_VERSION = "another version of its operator"
Look = Callable[[Expected, Cluster, Catalog], Iterator[Finding]]


def look_for(expected: Sequence[Expected], cluster: Cluster, catalog: Catalog) -> Iterator[Finding]:
    """One finding of each, or more where several things are wrong with it."""
    for prerequisite in expected:
        subject = name_of(prerequisite)
        look = LOOKS.get(prerequisite.kind)
        if look is None:
            yield not_known(subject, f"no cluster can say that; {prerequisite.note}".removesuffix("; "))
        else:
            yield from read(subject, lambda look=look, asked=prerequisite: look(asked, cluster, catalog))


def name_of(expected: Expected) -> str:
    """`Secret hub-token in llm-serving`."""
    return f"{expected.kind} {expected.name}{f' in {expected.namespace}' if expected.namespace else ''}"


def _absent(expected: Expected) -> Finding:
    return missing(name_of(expected), expected.note, _on_a_line(expected.command))


def _on_a_line(command: str) -> str:
    return "the preview has the command" if "\n" in command else command


def _namespace(expected: Expected, cluster: Cluster, _: Catalog) -> Iterator[Finding]:
    present = cluster.get(f"/api/v1/namespaces/{expected.name}")
    if present is None:
        yield _absent(expected)
    elif present["metadata"].get("deletionTimestamp"):
        yield wrong(name_of(expected), "is being deleted", "wait until it is gone, and create it anew")
    else:
        yield fine(name_of(expected))


def _secret(expected: Expected, cluster: Cluster, _: Catalog) -> Iterator[Finding]:
    yield _with_entries(expected, cluster.entries(expected.namespace, expected.name))


def _config_map(expected: Expected, cluster: Cluster, _: Catalog) -> Iterator[Finding]:
    present = cluster.get(f"/api/v1/namespaces/{expected.namespace}/configmaps/{expected.name}")
    entries = None if present is None else {*(present.get("data") or {}), *(present.get("binaryData") or {})}
    yield _with_entries(expected, entries)


def _with_entries(expected: Expected, entries: AbstractSet[str] | None) -> Finding:
    if entries is None:
        return _absent(expected)
    lacking = [key for key in expected.keys if key not in entries]
    if lacking:
        return wrong(name_of(expected), f"has no entry {', '.join(lacking)}", _on_a_line(expected.add))
    return fine(name_of(expected), f"with {', '.join(expected.keys)}" if expected.keys else "")


def _claim(expected: Expected, cluster: Cluster, _: Catalog) -> Iterator[Finding]:
    present = cluster.get(f"/api/v1/namespaces/{expected.namespace}/persistentvolumeclaims/{expected.name}")
    if present is None:
        yield _absent(expected)
        return
    phase = present.get("status", {}).get("phase", "Pending")
    if phase == "Lost":
        yield wrong(name_of(expected), "has lost its volume")
    else:
        # a class that waits for the first pod binds it then
        unseen = f"{expected.note}, which only a pod that mounts it sees" if expected.note else ""
        yield fine(name_of(expected), "; ".join(filter(None, (phase, unseen))))


def _storage_class(expected: Expected, cluster: Cluster, catalog: Catalog) -> Iterator[Finding]:
    present = cluster.get(f"{CLASSES}/{expected.name}")
    if present is None:
        there = sorted(each["metadata"]["name"] for each in items(cluster, CLASSES))
        yield missing(name_of(expected), expected.note, f"there are: {', '.join(there) or 'none'}")
        return
    provisioner = present["provisioner"]
    disks = {row.driver for row in catalog.disk_readers.values()}
    if MANY in expected.keys and provisioner in disks:
        yield wrong(name_of(expected), f"is of {provisioner}, whose volumes one node writes", expected.note)
    else:
        yield fine(name_of(expected), f"of {provisioner}")


def _gateway(expected: Expected, cluster: Cluster, _: Catalog) -> Iterator[Finding]:
    present = cluster.get(f"{GATEWAYS}/namespaces/{expected.namespace}/gateways/{expected.name}")
    if present is None:
        yield _absent(expected)
        return
    listeners = [listener["name"] for listener in present["spec"].get("listeners", [])]
    lacking = [name for name in expected.keys if name not in listeners]
    programmed = condition(present, "Programmed")
    if lacking:
        yield wrong(name_of(expected), f"has no listener {lacking[0]}", f"there are: {', '.join(listeners)}")
    elif programmed.get("status") == "False":
        yield wrong(name_of(expected), f"is not programmed: {programmed.get('message') or programmed.get('reason')}")
    else:
        yield fine(name_of(expected))


def _class(path: str) -> Look:
    """A look for a class, by the path of its kind; where it is not there, those that are."""

    def look(expected: Expected, cluster: Cluster, _: Catalog) -> Iterator[Finding]:
        if cluster.get(f"{path}/{expected.name}") is None:
            there = sorted(each["metadata"]["name"] for each in items(cluster, path))
            yield missing(name_of(expected), expected.note, f"there are: {', '.join(there) or 'none'}")
        else:
            yield fine(name_of(expected))

    return look


def _csi_driver(expected: Expected, cluster: Cluster, _: Catalog) -> Iterator[Finding]:
    present = cluster.get(f"/apis/storage.k8s.io/v1/csidrivers/{expected.name}")
    if present is None:
        yield _absent(expected)
    elif "Ephemeral" not in (present["spec"].get("volumeLifecycleModes") or ("Persistent",)):
        yield wrong(name_of(expected), f"takes no volumes of pods; it {expected.note}")
    else:
        yield fine(name_of(expected))


def _issuer(expected: Expected, cluster: Cluster, _: Catalog) -> Iterator[Finding]:
    place = f"namespaces/{expected.namespace}/issuers" if expected.namespace else "clusterissuers"
    present = cluster.get(f"/apis/cert-manager.io/v1/{place}/{expected.name}")
    if present is None:
        yield _absent(expected)
        return
    ready = condition(present, "Ready")
    if ready.get("status") == "False":
        yield wrong(name_of(expected), f"is not ready: {ready.get('message') or ready.get('reason')}")
    else:
        yield fine(name_of(expected))


def _nodes(expected: Expected, cluster: Cluster, _: Catalog) -> Iterator[Finding]:
    there = {node["metadata"]["name"] for node in items(cluster, "/api/v1/nodes")}
    lacking = [name for name in expected.name.split(", ") if name not in there]
    if lacking:
        yield wrong("Nodes", f"not on the cluster: {', '.join(lacking)}", f"there are: {', '.join(sorted(there))}")
    else:
        yield fine(name_of(expected))


def _api(expected: Expected, cluster: Cluster, _: Catalog) -> Iterator[Finding]:
    group, _slash, version = expected.name.partition("/")
    answer = cluster.get(f"/apis/{expected.name}")
    if answer is None:
        known = cluster.get(f"/apis/{group}")
        served = ", ".join(each["version"] for each in known["versions"]) if known else ""
        text = f"the cluster serves {served} of it, not {version}"
        yield wrong(name_of(expected), text, OTHER_VERSION) if served else _absent(expected)
        return
    kinds = {resource["kind"] for resource in answer.get("resources", [])}
    lacking = [kind for kind in expected.keys if kind not in kinds]
    if lacking:
        yield wrong(name_of(expected), f"has no {', '.join(lacking)}", OTHER_VERSION)
    else:
        yield fine(name_of(expected))


LOOKS: Mapping[str, Look] = {
    "Namespace": _namespace,
    "Secret": _secret,
    "ConfigMap": _config_map,
    "PersistentVolumeClaim": _claim,
    "StorageClass": _storage_class,
    "Gateway": _gateway,
    "IngressClass": _class("/apis/networking.k8s.io/v1/ingressclasses"),
    "DeviceClass": _class("/apis/resource.k8s.io/v1/deviceclasses"),
    "Nodes": _nodes,
    "API": _api,
    "PriorityClass": _class("/apis/scheduling.k8s.io/v1/priorityclasses"),
    "CSIDriver": _csi_driver,
    "Issuer": _issuer,
    "ClusterIssuer": _issuer,
}
