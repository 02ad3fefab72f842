"""Two real vLLM servers of one model, the rendered routers before them, and rendered gateways before those: processes.

Only addresses and ports differ from a cluster. Both servers have one port and a loopback address each, as pods have; an
API server of the tests says where they are. What stands here proves nothing by itself.
"""

import os
import re
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.gateway import proxies, router
from tests.gateway.client import request
from tests.gateway.fake_vllm import Balancer, Fakes, wait_for
from tests.gateway.proxies import Proxy, free_port, proxy, rendered
from tests.harness import Config, environment, on_cpu, stack
from tests.local.compiling import PYTHON

MODEL, MASTER = "tiny", "sk-master-0123456789abcdef"
NAMESPACE = "llm-serving"
HOSTS = ("127.0.0.1", "127.0.0.2")
# Two cores may be busy with something else.
START_S = 240


def config(routing: str) -> Config:
    """One model of two replicas at most and none at least, whose requests wait for the first."""
    model = {
        "contextTokens": 2048,
        "maxNumSeqs": 16,
        "memoryGib": 5,
        "replicas": {"min": 0, "max": len(HOSTS)},
        "routing": routing,
        "scaling": {"atZero": "hold"},
        "args": ["--enforce-eager", "--dtype=float32"],
    }
    pool = {"nodes": 2, "cpusPerNode": 4, "memoryGibPerNode": 16}
    return on_cpu(gpuPools={"cpu": pool}, models={MODEL: model}, gateway={"replicas": 1, "redis": {"kind": "none"}})


@dataclass
class Replica:
    """One pod of the server. `port`: the same for all of them."""

    host: str
    port: int
    folder: Path
    command: Sequence[str]
    environment: Mapping[str, str]
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://{self.host}:{self.port}"

    def start(self) -> None:
        """Starts it; it is not ready yet."""
        with (self.folder / "log").open("ab") as log:
            process = subprocess.Popen(
                self.command, env=self.environment, stdout=log, stderr=log, cwd=self.folder, start_new_session=True
            )
        self.processes.append(process)

    def wait(self) -> None:
        """Until it is ready."""
        wait_for(self._is_ready, START_S, f"{self.url} is ready")

    def _is_ready(self) -> bool:
        assert self.processes[-1].poll() is None, (self.folder / "log").read_text()[-4000:]
        try:
            return request(self.url, "/health", timeout_s=5).status == 200
        except OSError:
            return False

    def kill(self) -> None:
        """Ends all its processes at once, as a node that goes does."""
        for process in self.processes:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait(30)
        self.processes.clear()


@dataclass(frozen=True)
class Router:
    """One pod of the router."""

    url: str

    def healthy(self) -> int:
        """How many replicas it takes for healthy."""
        return request(self.url, "/readiness").json.get("healthy_workers", 0)


@dataclass(frozen=True)
class Served:
    """A stack that runs. `gateways`: by the routing of their model; `service`: before the replicas."""

    replicas: Sequence[Replica]
    routers: Sequence[Router]
    gateways: Mapping[str, Proxy]
    service: Balancer
    fakes: Fakes
    cluster: router.Cluster
    labels: Mapping[str, str]

    def wake(self) -> None:
        """Starts all replicas, and tells the cluster and the Service of them once they are ready."""
        for replica in self.replicas:
            replica.start()
        for replica in self.replicas:
            replica.wait()
        for number, replica in enumerate(self.replicas):
            self.cluster.pod(f"replica-{number}", replica.host, dict(self.labels))
        self.fakes.do(self.service.listen())

    def total(self, name: str) -> float:
        """The sum of a metric over all replicas."""
        return sum(metric(f"{replica.url}/metrics", name) for replica in self.replicas)


def metric(url: str, name: str, label: str = "") -> float:
    """The sum of a metric's samples whose labels contain `label`."""
    base, _, path = url.rpartition("/")
    samples = re.findall(rf"^{name}\{{([^}}]*)\}} (\S+)", request(base, f"/{path}").text, re.MULTILINE)
    return sum(float(value) for labels, value in samples if label in labels)


@contextmanager
def serving(folder: Path, model: Path) -> Iterator[Served]:
    """Routers and gateways that run, and replicas that do not yet."""
    fakes, cluster, port = Fakes(), router.Cluster(), free_port()
    deployed = stack(config("prefix"))
    container, routers = router.container(deployed, MODEL), []
    with ExitStack() as running:
        running.callback(fakes.close)
        running.callback(cluster.close)
        for _ in range(deployed.object("Deployment", f"vllm-{MODEL}-router")["spec"]["replicas"]):
            at = free_port()
            words = router.arguments(at, port, container)
            running.enter_context(router.running(words, KUBECONFIG=cluster.kubeconfig(folder)))
            routers.append(Router(f"http://{HOSTS[0]}:{at}"))
        replicas = [_replica(folder / host, host, port, model) for host in HOSTS]
        for replica in replicas:
            running.callback(replica.kill)
        service = Balancer(replicas, free_port())
        before_routers = fakes.balancer(*routers)
        places = {
            f"vllm-{MODEL}.{NAMESPACE}.svc:8000": f"{HOSTS[0]}:{service.port}",
            f"vllm-{MODEL}-router.{NAMESPACE}.svc:8080": f"{HOSTS[0]}:{before_routers.port}",
        }
        keys = {"master-key": MASTER, f"vllm-{MODEL}": router.KEY}
        gateways = {way: proxy(rendered(config(way)), keys, places) for way in ("prefix", "service")}
        running.enter_context(proxies.running(*gateways.values()))
        yield Served(replicas, routers, gateways, service, fakes, cluster, router.selected(container))


def _replica(folder: Path, host: str, port: int, model: Path) -> Replica:
    """A pod of the server, its cache in a folder."""
    folder.mkdir()
    pod: Any = stack(config("prefix")).object("Deployment", f"vllm-{MODEL}")["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    here = {"--host=0.0.0.0": f"--host={host}", "--port=8000": f"--port={port}"}
    _, *rest = container["args"]
    command = [PYTHON, "-m", "vllm.entrypoints.openai.api_server", "--model", str(model)]
    command += [here.get(word) or word for word in rest]
    values = {
        name: router.KEY if value.startswith("secret:") else value.replace("/cache", str(folder), 1)
        for name, value in environment(container).items()
    }
    return Replica(host, port, folder, command, {**values, "PATH": os.environ["PATH"]})
