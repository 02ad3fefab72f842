"""Prove that a node pool offers what was promised, or say node by node why not.

Runs as a Job whose ServiceAccount may list nodes (and, where pods claim GPUs, devices), configured by its environment:

    POOL_NAME                how messages call the pool
    NODE_SELECTOR            k=v,k=v|w,k!=v: the labels that make a node one of the pool; | is or
    EXPECTED_NODES           how many nodes were promised
    RESOURCE_NAME            e.g. nvidia.com/gpu; empty for a CPU pool
    GPUS_PER_NODE            how many of them every node offers
    TOLERATIONS              optional: those of the pool's pods, as JSON
    CPUS, MEMORY_MIB, DISK_MIB    optional: what every node offers to pods: cores, memory, local disk
    RESOURCES                optional: what one pod asks for beside, as JSON: resource to amount
    TOPOLOGY_LABEL           optional: the label by whose values replicas over several nodes are placed
    WHOLE_CARDS              optional: k=v|w,k=: labels and their values on nodes with whole cards; none: no such label
    DRIVER_LABELS            optional: k,k: labels of which one says the first number of the driver's version
    OLDEST_DRIVER, OLDER_DRIVERS  with it: the least of those numbers that will do, and others that do, n,n
    EXPECTED_GPU_MEMORY_MIB  optional: compared with the label nvidia.com/gpu.memory where there is one, within 2 %
    DEVICE_DRIVER            optional, where pods claim their GPUs: the driver whose devices are counted in place of
                             RESOURCE_NAME
    DEVICE_ATTRIBUTES        with it: k=v|w,k=v: attributes of a device that make it one of the pool's
    DRIVER_ATTRIBUTE         with it: the attribute that says the version of the kernel's driver
    MIG_CONFIG               optional, where cards are cut into parts: k=v, the label by which they are
    MIG_LABELS               with it: k=v|w: labels of nodes that are cut as promised
    GPU_MEMORY_LABEL         with it: the label to compare with instead; parts may have more, as drivers differ
    TIMEOUT_S                optional, default 900: how long drivers, device plugins and autoscalers get
    API_SERVER, SERVICE_ACCOUNT_DIR, TERMINATION_LOG    optional: for use outside a pod

Exit status: 0 enough nodes keep the promise, 1 they do not; the reasons are also the container's termination message.
"""

# ruff: noqa: T201 - printing is how a pod speaks
import json
import os
import re
import signal
import ssl
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

POLL_S = 15
PAGE = 500  # nodes per request, as kubectl does
MEMORY_LABEL = "nvidia.com/gpu.memory"  # MiB of one GPU, set by GPU feature discovery
MEMORY_TOLERANCE = 0.02
TERMINATION_BYTES = 4096  # what the kubelet keeps
MOST_NOTES = 5
MIB = 2**20
NOT_READY_TAINTS = ("node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable")
CORDON_TAINTS = ("node.kubernetes.io/unschedulable",)
PASSING = ("node.kubernetes.io/", "node.cloudprovider.kubernetes.io/")  # set and taken away by the cluster itself
CONTROL_PLANES = ("node-role.kubernetes.io/control-plane", "node-role.kubernetes.io/master")
NODES = "/api/v1/nodes"
SLICES = "/apis/resource.k8s.io/v1/resourceslices"
# How Kubernetes writes numbers (apimachinery, api/resource, Quantity).
QUANTITY = re.compile(r"([+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)(n|u|m|k|M|G|T|P|E|Ki|Mi|Gi|Ti|Pi|Ei)?")
DECIMAL = {unit: 1000.0**power for power, unit in enumerate(("n", "u", "m", "", "k", "M", "G", "T", "P", "E"), -3)}
UNITS = {**DECIMAL, **{f"{unit}i": 1024.0**power for power, unit in enumerate("KMGTPE", 1)}}


@dataclass(frozen=True)
class Expectation:
    """What the pool promised."""

    pool: str
    selector: Mapping[str, str]
    nodes: int
    resource: str = ""
    gpus_per_node: int = 0
    gpu_memory_mib: int = 0
    tolerations: tuple[Mapping[str, str], ...] = ()
    cpus: int = 0
    memory_mib: int = 0
    disk_mib: int = 0
    resources: Mapping[str, str] = field(default_factory=dict)
    topology_label: str = ""
    whole_cards: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    driver_labels: tuple[str, ...] = ()
    oldest_driver: int = 0
    older_drivers: tuple[int, ...] = ()
    mig_config: str = ""
    mig_labels: Mapping[str, str] = field(default_factory=dict)
    memory_label: str = MEMORY_LABEL
    device_driver: str = ""
    device_attributes: Mapping[str, str] = field(default_factory=dict)
    driver_attribute: str = ""


def expectation_from(environ: Mapping[str, str]) -> Expectation:
    """Read the promise from the environment."""

    def words(name: str, separator: str = ",") -> list[str]:
        return [word for word in environ.get(name, "").split(separator) if word]

    pairs = [pair.partition("=") for pair in words("NODE_SELECTOR")]
    whole = [pair.partition("=") for pair in words("WHOLE_CARDS")]
    parts = [pair.partition("=") for pair in words("MIG_LABELS")]
    attributes = [pair.partition("=") for pair in words("DEVICE_ATTRIBUTES")]
    return Expectation(
        pool=environ["POOL_NAME"],
        selector={key.strip(): value.strip() for key, _, value in pairs},
        nodes=int(environ["EXPECTED_NODES"]),
        resource=environ.get("RESOURCE_NAME", ""),
        gpus_per_node=int(environ.get("GPUS_PER_NODE") or 0),
        gpu_memory_mib=int(environ.get("EXPECTED_GPU_MEMORY_MIB") or 0),
        tolerations=tuple(json.loads(environ.get("TOLERATIONS") or "[]")),
        cpus=int(environ.get("CPUS") or 0),
        memory_mib=int(environ.get("MEMORY_MIB") or 0),
        disk_mib=int(environ.get("DISK_MIB") or 0),
        resources=json.loads(environ.get("RESOURCES") or "{}"),
        topology_label=environ.get("TOPOLOGY_LABEL", ""),
        whole_cards={label: tuple(value for value in values.split("|") if value) for label, _, values in whole},
        driver_labels=tuple(words("DRIVER_LABELS")),
        oldest_driver=int(environ.get("OLDEST_DRIVER") or 0),
        older_drivers=tuple(map(int, words("OLDER_DRIVERS"))),
        mig_config=environ.get("MIG_CONFIG", ""),
        mig_labels={label: values for label, _, values in parts},
        memory_label=environ.get("GPU_MEMORY_LABEL") or MEMORY_LABEL,
        device_driver=environ.get("DEVICE_DRIVER", ""),
        device_attributes={name: values for name, _, values in attributes},
        driver_attribute=environ.get("DRIVER_ATTRIBUTE", ""),
    )


def judge(nodes: list[dict], expectation: Expectation) -> list[str]:
    """Return why the pool does not keep its promise, one message per failing node; nothing when it does."""
    matching = [node for node in nodes if not pool_faults(node, expectation)]
    failing = {node["metadata"]["name"]: faults for node in matching if (faults := node_faults(node, expectation))}
    if len(matching) - len(failing) >= expectation.nodes:
        return []
    prefix = f"pool '{expectation.pool}':"
    messages = [f"{prefix} node {name} {', '.join(faults)}" for name, faults in sorted(failing.items())]
    if len(matching) < expectation.nodes:
        wanted = ",".join(f"{key}={value}" for key, value in expectation.selector.items())
        wanted = wanted or f"have devices with {asked(expectation)}"
        verb = "match " if expectation.selector else ""
        count = f"{prefix} {len(matching)} of {expectation.nodes} nodes {verb}{wanted}"
        messages.append(f"{count}, {nearest(nodes, expectation)}")
    return messages


def pool_faults(node: dict, expectation: Expectation) -> list[str]:
    """Return why a node is not one of the pool: by its labels or, where no label says it, by its devices."""
    faults = selector_faults(node, expectation.selector)
    if expectation.device_driver and not expectation.selector and not claimable(node, expectation):
        faults.append(f"it publishes {published(node, expectation)}")
    return faults


def selector_faults(node: dict, selector: Mapping[str, str]) -> list[str]:
    """Return why a node is not one of the pool."""
    labels = node["metadata"].get("labels", {})
    return [fault for key, value in selector.items() if (fault := label_fault(labels, key, value))]


def label_fault(labels: Mapping[str, str], key: str, value: str) -> str:
    """Return why labels do not meet `key=value`; of `key!=value` the exclamation mark is part of the key."""
    name = key.removesuffix("!")
    if (labels.get(name) in value.split("|")) != key.endswith("!"):
        return ""
    return f"its {name} is '{labels[name]}'" if name in labels else f"it has no label {name}"


def nearest(nodes: list[dict], expectation: Expectation) -> str:
    """Name the node that misses the selector by the fewest labels, and by which."""
    others = [(len(f), n["metadata"]["name"], f) for n in nodes if (f := pool_faults(n, expectation))]
    if not others:
        return "the cluster has no other node"
    _, name, faults = min(others)
    return f"nearest: {name} ({', '.join(faults)})"


def node_faults(node: dict, expectation: Expectation) -> list[str]:
    """Return what a node of the pool fails to offer."""
    faults, pool = [], f"gpuPools.{expectation.pool}"
    conditions = {c["type"]: c["status"] for c in node.get("status", {}).get("conditions", [])}
    ready, cordoned = conditions.get("Ready") == "True", bool(node.get("spec", {}).get("unschedulable"))
    if not ready:
        faults.append("is not Ready (kubectl describe node says why)")
    if cordoned:
        faults.append("is cordoned (kubectl uncordon makes it take pods again)")
    # the cluster's own way to say these two once more
    said = {*(NOT_READY_TAINTS if not ready else ()), *(CORDON_TAINTS if cordoned else ())}
    faults += [
        f"has the taint {shown(taint)}, which pods of the pool do not tolerate ({remedy(taint, expectation.pool)})"
        for taint in foreign_taints(node, expectation, ("NoSchedule", "NoExecute"))
        if taint["key"] not in said
    ]
    allocatable = node.get("status", {}).get("allocatable", {})
    if expectation.device_driver:
        faults += device_faults(node, expectation)
    elif expectation.resource:
        offered = int(quantity(allocatable.get(expectation.resource, "0")))
        if offered < expectation.gpus_per_node:
            promise = f"offers {offered} {expectation.resource}, promised {expectation.gpus_per_node}"
            cut = f" or cut its cards by the label {expectation.mig_config}," if expectation.mig_config else ""
            faults.append(f"{promise} ({in_place(allocatable, expectation)}{cut} or lower {pool}.gpusPerNode)")
    faults += cut_faults(node, expectation) + part_faults(node, expectation) + driver_faults(node, expectation)
    faults += joining_faults(node, expectation)
    return faults + memory_faults(node, expectation) + shortages(allocatable, expectation)


def with_devices(nodes: list[dict], slices: list[dict]) -> list[dict]:
    """Return the nodes, each with the devices that drivers publish of it: those of the newest of each pool's slices."""
    newest: dict[tuple[str, str], int] = {}
    for pool in (slice_["spec"] for slice_ in slices):
        key = pool["driver"], pool["pool"]["name"]
        newest[key] = max(newest.get(key, 0), pool["pool"]["generation"])
    devices: dict[str, list[dict]] = {}
    for pool in (slice_["spec"] for slice_ in slices):
        if pool["pool"]["generation"] == newest[pool["driver"], pool["pool"]["name"]] and pool.get("nodeName"):
            place = {"driver": pool["driver"], "pool": pool["pool"]["name"]}
            devices.setdefault(pool["nodeName"], []).extend({**each, **place} for each in pool.get("devices") or [])
    return [{**node, "devices": devices.get(node["metadata"]["name"], [])} for node in nodes]


def attribute(device: dict, name: str) -> str:
    """Return the value of an attribute as the pool writes it: as text, with dashes for spaces."""
    values = (device.get("attributes") or {}).get(name) or {}
    return str(next(iter(values.values()), "")).replace(" ", "-")


def claimable(node: dict, expectation: Expectation) -> list[dict]:
    """Return the devices of a node that pods of the pool may claim, as far as attributes say it."""
    return [
        device
        for device in node.get("devices") or []
        if device["driver"] == expectation.device_driver
        and not any(taint.get("effect") in ("NoSchedule", "NoExecute") for taint in device.get("taints") or [])
        and all(attribute(device, name) in value.split("|") for name, value in expectation.device_attributes.items())
    ]


def asked(expectation: Expectation) -> str:
    """Say what a device has to be."""
    return ", ".join(f"{name}={value}" for name, value in expectation.device_attributes.items())


def published(node: dict, expectation: Expectation) -> str:
    """Say which devices of the driver a node has."""
    kinds: dict[str, int] = {}
    for device in node.get("devices") or []:
        if device["driver"] == expectation.device_driver:
            kind = " ".join(filter(None, (attribute(device, name) for name in expectation.device_attributes)))
            kinds[kind] = kinds.get(kind, 0) + 1
    some = ", ".join(f"{amount} × {kind}" for kind, amount in sorted(kinds.items()))
    return some or f"no devices of {expectation.device_driver}"


def device_faults(node: dict, expectation: Expectation) -> list[str]:
    """Return why the devices of a node are not those that the pool's pods claim."""
    devices, pool = claimable(node, expectation), f"gpuPools.{expectation.pool}"
    faults = []
    if len(devices) < expectation.gpus_per_node:
        kept = published(node, expectation)
        running = "" if node.get("devices") else "does the driver run there?"
        others = running or f"it publishes {kept};"
        promise = f"has {len(devices)} devices with {asked(expectation)}, promised {expectation.gpus_per_node}"
        faults.append(f"{promise} ({others} or lower {pool}.gpusPerNode)")
    versions = sorted({attribute(device, expectation.driver_attribute).partition(".")[0] for device in devices})
    older = [number for number in versions if old_driver(number, expectation)]
    return faults + ([old_driver(older[0], expectation)] if older else [])


def memory_of(node: dict, expectation: Expectation) -> str:
    """Return the memory of one of a node's GPUs in MiB, as a label or its devices say it, the least of them."""
    if not expectation.device_driver:
        return node["metadata"].get("labels", {}).get(expectation.memory_label, "")
    memories = [(device.get("capacity") or {}).get("memory") for device in claimable(node, expectation)]
    sizes = [int(quantity(memory["value"]) / MIB) for memory in memories if memory]
    return str(min(sizes)) if sizes else ""


def joining_faults(node: dict, expectation: Expectation) -> list[str]:
    """Return what a node lacks of that which pods ask for beside GPUs, and of the label that places replicas."""
    pool, allocatable = f"gpuPools.{expectation.pool}", node.get("status", {}).get("allocatable", {})
    faults = [
        f"offers {allocatable.get(name, '0')} {name}, pods ask for {amount} (does what offers it run there? "
        f"{pool}.resources says how many)"
        for name, amount in expectation.resources.items()
        if quantity(allocatable.get(name, "0")) < quantity(amount)
    ]
    label = expectation.topology_label
    if label and label not in node["metadata"].get("labels", {}):
        faults.append(
            f"has no label {label}, by which replicas over several nodes are placed ({pool}.exclusiveTopology)"
        )
    return faults


def memory_faults(node: dict, expectation: Expectation) -> list[str]:
    """Return what the memory of a node's GPUs, as far as it is said, is too little or too much of."""
    memory = memory_of(node, expectation)
    promised, cut = expectation.gpu_memory_mib, "profile" in expectation.device_attributes or expectation.mig_config
    if not promised or not memory.isdigit():
        return []
    missing = promised - int(memory)
    if (missing if cut else abs(missing)) <= promised * MEMORY_TOLERANCE:
        return []
    key = "mig.profile" if cut else "gpu"
    kind = "parts of cards" if cut else "GPUs"
    return [f"has {kind} of {memory} MiB, promised {promised} (gpuPools.{expectation.pool}.{key} names another kind)"]


def cut_faults(node: dict, expectation: Expectation) -> list[str]:
    """Return why a node's cards, as far as labels say it, are not cut into the parts that were promised."""
    labels = node["metadata"].get("labels", {})
    faults = [fault for key, value in expectation.mig_labels.items() if (fault := label_fault(labels, key, value))]
    label = expectation.mig_config.partition("=")[0]
    if label and labels.get(f"{label}.state") == "failed":
        faults.append(f"its {label}.state is 'failed'")
    return (
        [f"is not cut as promised: {', '.join(faults)} (cut it by the label {expectation.mig_config})"]
        if faults
        else []
    )


def in_place(allocatable: Mapping[str, str], expectation: Expectation) -> str:
    """Return what a node offers in place of whole cards, or the question why it offers none."""
    maker = expectation.resource.partition("/")[0]
    parts = [
        f"{name}: {amount}"
        for name, amount in sorted(allocatable.items())
        if name.startswith(f"{maker}/") and name != expectation.resource and quantity(amount)
    ]
    return f"it offers {', '.join(parts)};" if parts else "does its device plugin run?"


def part_faults(node: dict, expectation: Expectation) -> list[str]:
    """Return the labels by which a node's GPUs are parts of cards, which have less memory than was planned with."""
    labels = node["metadata"].get("labels", {})
    kinds = "parts of slices" if expectation.mig_config else "parts of cards"
    return [
        f"offers {kinds}, promised whole ones (its {label} is '{labels[label]}'; switch that off there)"
        for label, values in expectation.whole_cards.items()
        if label in labels and labels[label] not in values
    ][:1]


def driver_faults(node: dict, expectation: Expectation) -> list[str]:
    """Return why the driver of a node, as far as a label says it, does not run the images of the pool's servers."""
    labels = node["metadata"].get("labels", {})
    number = next((labels[label] for label in expectation.driver_labels if label in labels), "")
    return [fault] if (fault := old_driver(number, expectation)) else []


def old_driver(number: str, expectation: Expectation) -> str:
    """Return why a driver, by the first number of its version, does not run the images of the pool's servers."""
    if not number.isdigit() or int(number) >= expectation.oldest_driver or int(number) in expectation.older_drivers:
        return ""
    others = "".join(f", or {older}" for older in expectation.older_drivers)
    need = f"its servers need {expectation.oldest_driver} or newer{others}"
    return f"has driver {number}, {need} (update it, or give its models an image for it)"


def shortages(allocatable: Mapping[str, str], expectation: Expectation) -> list[str]:
    """Return what a node offers too little of to pods: what the kubelet keeps for the system is not theirs."""
    pool = f"gpuPools.{expectation.pool}"
    rows = (
        ("cpu", expectation.cpus, 1, "CPU cores", f"{pool}.cpusPerNode"),
        ("memory", expectation.memory_mib, MIB, "MiB of memory", f"{pool}.memoryGibPerNode"),
        ("ephemeral-storage", expectation.disk_mib, MIB, "MiB of local disk", ""),
    )
    faults = []
    for name, wanted, unit, words, setting in rows:
        offered = quantity(allocatable.get(name, "0")) / unit
        if offered < wanted:
            less = f"lower {setting} or what its models ask for" if setting else "give it a larger one"
            faults.append(f"offers {offered:.6g} {words} to pods, {wanted} are needed ({less})")
    return faults


def foreign_taints(node: dict, expectation: Expectation, effects: tuple[str, ...]) -> list[dict]:
    """Return the taints with one of these effects that no toleration of the pool's pods matches."""
    return [
        taint
        for taint in node.get("spec", {}).get("taints") or []
        if taint.get("effect") in effects and not any(tolerates(item, taint) for item in expectation.tolerations)
    ]


def tolerates(toleration: Mapping[str, str], taint: Mapping[str, str]) -> bool:
    """Match as Kubernetes does: what a toleration leaves out matches everything, but for a value."""
    if toleration.get("effect") and toleration["effect"] != taint.get("effect"):
        return False
    if toleration.get("key") and toleration["key"] != taint.get("key"):
        return False
    if toleration.get("operator") == "Exists":
        return True
    return bool(toleration.get("key")) and (toleration.get("value") or "") == (taint.get("value") or "")


def shown(taint: Mapping[str, str]) -> str:
    """Write a taint as kubectl does."""
    value = f"={taint['value']}" if taint.get("value") else ""
    return f"{taint['key']}{value}:{taint['effect']}"


def remedy(taint: Mapping[str, str], pool: str) -> str:
    """Say what to do about a taint: the cluster's own go by themselves, and control planes are for no model."""
    if taint["key"].startswith(PASSING):
        return "it goes when the node is well"
    if taint["key"] in CONTROL_PLANES:
        return f"choose other nodes by gpuPools.{pool}.provisioning.labels"
    value = f", value: {json.dumps(taint['value'])}" if taint.get("value") else ""
    wanted = f"{{key: {taint['key']}{value}, effect: {taint['effect']}}}"
    return f"add {wanted} to gpuPools.{pool}.tolerations, or remove the taint"


def quantity(text: str) -> float:
    """Read a Kubernetes quantity: 192, 1930m, 16Gi, 129e6."""
    found = QUANTITY.fullmatch(str(text))
    if found is None:
        raise ValueError(f"'{text}' is no quantity")
    return float(found[1]) * UNITS[found[2] or ""]


def notes(nodes: list[dict], expectation: Expectation) -> list[str]:
    """Return what is odd about a pool that keeps its promise: further nodes that fail, and taints that only prefer."""
    found = []
    for node in sorted(nodes, key=lambda item: item["metadata"]["name"]):
        if pool_faults(node, expectation):
            continue
        faults = node_faults(node, expectation)
        faults += [
            f"has the taint {shown(taint)}, so pods of the pool go elsewhere first"
            for taint in foreign_taints(node, expectation, ("PreferNoSchedule",))
        ]
        found += [f"note: node {node['metadata']['name']} {', '.join(faults)}"] if faults else []
    more = [f"note: and {len(found) - MOST_NOTES} more nodes"] if len(found) > MOST_NOTES else []
    return found[:MOST_NOTES] + more


def look_around(environ: Mapping[str, str], expectation: Expectation) -> list[dict]:
    """Ask for every node, with its devices where these are claimed."""
    nodes = list_all(environ, NODES)
    return with_devices(nodes, list_all(environ, SLICES)) if expectation.device_driver else nodes


def list_all(environ: Mapping[str, str], path: str) -> list[dict]:
    """Ask the API server for every object, page by page, with the pod's own token (read anew: it rotates) and CA."""
    host, port = environ.get("KUBERNETES_SERVICE_HOST", ""), environ.get("KUBERNETES_SERVICE_PORT", "443")
    server = environ.get("API_SERVER") or f"https://{f'[{host}]' if ':' in host else host}:{port}"
    account = Path(environ.get("SERVICE_ACCOUNT_DIR") or "/var/run/secrets/kubernetes.io/serviceaccount")
    headers = {"Authorization": f"Bearer {(account / 'token').read_text(encoding='utf-8').strip()}"}
    handlers: list[urllib.request.BaseHandler] = [urllib.request.ProxyHandler({})]  # never through a proxy
    if server.startswith("https:"):
        context = ssl.create_default_context(cafile=str(account / "ca.crt"))
        # Python 3.13 switched this on; cluster CAs without key identifiers (EKS among them) fail it.
        context.verify_flags &= ~ssl.VERIFY_X509_STRICT
        handlers.append(urllib.request.HTTPSHandler(context=context))
    opener, objects, token = urllib.request.build_opener(*handlers), [], ""
    while True:
        query = urllib.parse.urlencode({"limit": PAGE, "continue": token} if token else {"limit": PAGE})
        request = urllib.request.Request(f"{server}{path}?{query}", headers=headers)  # noqa: S310 - our own
        with opener.open(request, timeout=10) as response:
            page = json.load(response)
        objects += page["items"]
        if not (token := page.get("metadata", {}).get("continue", "")):
            return objects


def attempt(expectation: Expectation, fetch: Callable[[], list[dict]]) -> list[str]:
    """Judge the pool as it is now; an API server that does not answer is a reason like any other."""
    try:
        return judge(fetch(), expectation)
    except urllib.error.HTTPError as error:
        kinds = "nodes and resourceslices" if expectation.device_driver else "nodes"
        hint = f"; may its ServiceAccount list {kinds}?" if error.code in (401, 403) else ""
        return [f"pool '{expectation.pool}': the API server answered {error.code} {error.reason}{hint}"]
    except (OSError, ValueError) as error:
        return [f"pool '{expectation.pool}': nodes could not be listed: {error}"]


def main(
    environ: Mapping[str, str],
    fetch: Callable[[], list[dict]] | None = None,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> int:
    """Poll until the promise is kept or the time is over; return the exit status."""
    expectation = expectation_from(environ)
    deadline = clock() + int(environ.get("TIMEOUT_S") or 900)
    found: list[dict] = []

    def look() -> list[dict]:
        found[:] = fetch() if fetch else look_around(environ, expectation)
        return found

    while reasons := attempt(expectation, look):
        left = deadline - clock()
        if left <= 0:
            report = "\n".join(reasons)
            print(report, flush=True)
            terminate_with(report, Path(environ.get("TERMINATION_LOG") or "/dev/termination-log"))
            return 1
        print(f"waiting, {left:.0f} s left: {reasons[0]}" + f" (+{len(reasons) - 1})" * (len(reasons) > 1), flush=True)
        sleep(min(POLL_S, left))
    kept = f"pool '{expectation.pool}': {expectation.nodes} of {expectation.nodes} nodes keep the promise"
    print("\n".join([kept, *notes(found, expectation)]), flush=True)
    return 0


def terminate_with(report: str, log: Path) -> None:
    """Leave the reasons where `kubectl describe pod` shows them; the kubelet provides the file, we never create it."""
    if os.access(log, os.W_OK):
        log.write_bytes(report.encode()[:TERMINATION_BYTES])


if __name__ == "__main__":
    # Process 1 of a container ignores signals that it does not handle; nothing here needs tidying up.
    signal.signal(signal.SIGTERM, lambda signum, _frame: os._exit(128 + signum))
    sys.exit(main(os.environ))
