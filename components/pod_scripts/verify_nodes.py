"""Prove that a node pool offers what was promised, or say node by node why not.

Runs as a Job whose ServiceAccount may list nodes, configured by its environment alone:

    POOL_NAME                how messages call the pool
    NODE_SELECTOR            k=v,k=v|w,k!=v: the labels that make a node one of the pool; | is or
    EXPECTED_NODES           how many nodes were promised
    RESOURCE_NAME            e.g. nvidia.com/gpu; empty for a CPU pool
    GPUS_PER_NODE            how many of them every node offers
    EXPECTED_GPU_MEMORY_MIB  optional: compared with the label nvidia.com/gpu.memory where there is one, within 2 %
    TIMEOUT_S                optional, default 900: how long drivers, device plugins and autoscalers get
    API_SERVER, SERVICE_ACCOUNT_DIR, TERMINATION_LOG    optional: for use outside a pod

Exit status: 0 enough nodes keep the promise, 1 they do not; the reasons are also the container's termination message.
"""

# ruff: noqa: T201 - printing is how a pod speaks
import json
import os
import signal
import ssl
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

POLL_S = 15
PAGE = 500  # nodes per request, as kubectl does
MEMORY_LABEL = "nvidia.com/gpu.memory"  # MiB of one GPU, set by GPU feature discovery
MEMORY_TOLERANCE = 0.02
TERMINATION_BYTES = 4096  # what the kubelet keeps


@dataclass(frozen=True)
class Expectation:
    """What the pool promised."""

    pool: str
    selector: Mapping[str, str]
    nodes: int
    resource: str = ""
    gpus_per_node: int = 0
    gpu_memory_mib: int = 0


def expectation_from(environ: Mapping[str, str]) -> Expectation:
    """Read the promise from the environment."""
    pairs = [pair.partition("=") for pair in environ["NODE_SELECTOR"].split(",") if pair]
    return Expectation(
        pool=environ["POOL_NAME"],
        selector={key.strip(): value.strip() for key, _, value in pairs},
        nodes=int(environ["EXPECTED_NODES"]),
        resource=environ.get("RESOURCE_NAME", ""),
        gpus_per_node=int(environ.get("GPUS_PER_NODE") or 0),
        gpu_memory_mib=int(environ.get("EXPECTED_GPU_MEMORY_MIB") or 0),
    )


def judge(nodes: list[dict], expectation: Expectation) -> list[str]:
    """Return why the pool does not keep its promise, one message per failing node; nothing when it does."""
    matching = [node for node in nodes if not selector_faults(node, expectation.selector)]
    failing = {node["metadata"]["name"]: faults for node in matching if (faults := node_faults(node, expectation))}
    if len(matching) - len(failing) >= expectation.nodes:
        return []
    prefix = f"pool '{expectation.pool}':"
    messages = [f"{prefix} node {name} {', '.join(faults)}" for name, faults in sorted(failing.items())]
    if len(matching) < expectation.nodes:
        wanted = ",".join(f"{key}={value}" for key, value in expectation.selector.items())
        count = f"{prefix} {len(matching)} of {expectation.nodes} nodes match {wanted}"
        messages.append(f"{count}, {nearest(nodes, expectation.selector)}")
    return messages


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


def nearest(nodes: list[dict], selector: Mapping[str, str]) -> str:
    """Name the node that misses the selector by the fewest labels, and by which."""
    others = [(len(f), n["metadata"]["name"], f) for n in nodes if (f := selector_faults(n, selector))]
    if not others:
        return "the cluster has no other node"
    _, name, faults = min(others)
    return f"nearest: {name} ({', '.join(faults)})"


def node_faults(node: dict, expectation: Expectation) -> list[str]:
    """Return what a node of the pool fails to offer."""
    faults = []
    conditions = {c["type"]: c["status"] for c in node.get("status", {}).get("conditions", [])}
    if conditions.get("Ready") != "True":
        faults.append("is not Ready")
    if node.get("spec", {}).get("unschedulable"):
        faults.append("is cordoned")
    if expectation.resource:
        offered = int(node.get("status", {}).get("allocatable", {}).get(expectation.resource, "0"))
        if offered < expectation.gpus_per_node:
            faults.append(f"offers {offered} {expectation.resource}, promised {expectation.gpus_per_node}")
    memory = node["metadata"].get("labels", {}).get(MEMORY_LABEL, "")
    promised = expectation.gpu_memory_mib
    if promised and memory.isdigit() and abs(int(memory) - promised) > promised * MEMORY_TOLERANCE:
        faults.append(f"has GPUs of {memory} MiB, promised {promised}")
    return faults


def list_nodes(environ: Mapping[str, str]) -> list[dict]:
    """Ask the API server for every node, page by page, with the pod's own token (read anew: it rotates) and CA."""
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
    opener, nodes, token = urllib.request.build_opener(*handlers), [], ""
    while True:
        query = urllib.parse.urlencode({"limit": PAGE, "continue": token} if token else {"limit": PAGE})
        request = urllib.request.Request(f"{server}/api/v1/nodes?{query}", headers=headers)  # noqa: S310 - our own
        with opener.open(request, timeout=10) as response:
            page = json.load(response)
        nodes += page["items"]
        if not (token := page.get("metadata", {}).get("continue", "")):
            return nodes


def attempt(expectation: Expectation, fetch: Callable[[], list[dict]]) -> list[str]:
    """Judge the pool as it is now; an API server that does not answer is a reason like any other."""
    try:
        return judge(fetch(), expectation)
    except urllib.error.HTTPError as error:
        hint = "; may its ServiceAccount list nodes?" if error.code in (401, 403) else ""
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
    while reasons := attempt(expectation, fetch or (lambda: list_nodes(environ))):
        left = deadline - clock()
        if left <= 0:
            report = "\n".join(reasons)
            print(report, flush=True)
            terminate_with(report, Path(environ.get("TERMINATION_LOG") or "/dev/termination-log"))
            return 1
        print(f"waiting, {left:.0f} s left: {reasons[0]}" + f" (+{len(reasons) - 1})" * (len(reasons) > 1), flush=True)
        sleep(min(POLL_S, left))
    print(f"pool '{expectation.pool}': {expectation.nodes} of {expectation.nodes} nodes keep the promise", flush=True)
    return 0


def terminate_with(report: str, log: Path) -> None:
    """Leave the reasons where `kubectl describe pod` shows them; the kubelet provides the file, we never create it."""
    if os.access(log, os.W_OK):
        log.write_bytes(report.encode()[:TERMINATION_BYTES])


if __name__ == "__main__":
    # Process 1 of a container ignores signals that it does not handle; nothing here needs tidying up.
    signal.signal(signal.SIGTERM, lambda signum, _frame: os._exit(128 + signum))
    sys.exit(main(os.environ))
