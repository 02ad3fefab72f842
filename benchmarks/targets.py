"""Subjects of the gateway's benchmark: a server alone, nginx, vllm-router, and LiteLLM as it is rendered."""

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.upstream import LOOPBACK
from tests.gateway import database, stacks
from tests.gateway.backing import Redis
from tests.gateway.client import request
from tests.gateway.database import Postgres
from tests.gateway.proxies import Proxy, free_port, proxy, rendered, running
from tests.harness import Config, merged, stack
from workshop.local.toolchain import VENV, is_ready

ROOT = Path(__file__).resolve().parent.parent
ROUTER = ROOT / ".venv-bench" / "bin" / "vllm-router"
TICKS_PER_S = os.sysconf("SC_CLK_TCK")
START_S = 30
NGINX = """
worker_processes 1; daemon off; pid {folder}/pid; error_log {folder}/error;
events {{ worker_connections 4096; }}
http {{
  access_log off; client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/f;
  uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
  upstream server {{ server 127.0.0.1:{upstream}; keepalive 256; }}
  server {{
    listen 127.0.0.1:{port};
    location / {{
      proxy_pass http://server; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_buffering off;
    }}
  }}
}}
"""


@dataclass
class Subject:
    """One of them, running. `heavy`: it takes milliseconds of CPU for a request; `counted`: its CPU is known at all."""

    name: str
    url: str
    key: str
    sessions: Sequence[int]
    heavy: bool = False
    database: bool = False

    @property
    def counted(self) -> bool:
        """Whether it is more than the server that all of them ask."""
        return bool(self.sessions)

    def cpu_s(self) -> float:
        """CPU seconds of all its processes so far."""
        stats = [stat for file in Path("/proc").glob("[0-9]*/stat") if (stat := _read(file))]
        return cpu_s(stats, self.sessions)


def _read(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def cpu_s(stats: Sequence[str], sessions: Sequence[int]) -> float:
    """CPU seconds of the processes of these sessions, of all below them and of those of these that ended.

    `stats`: lines of /proc/PID/stat (proc(5)).
    """
    parents: dict[int, int] = {}
    ours, ticks = set(sessions), {}
    for stat in stats:
        head, _, tail = stat.rpartition(")")
        pid, fields = int(head.partition(" ")[0]), tail.split()
        parents[pid] = int(fields[1])
        ticks[pid] = sum(int(field) for field in fields[11:15])
        if int(fields[3]) in sessions:
            ours.add(pid)
    grown = True
    while grown:
        below = {pid for pid, parent in parents.items() if parent in ours} - ours
        ours |= below
        grown = bool(below)
    return sum(ticks.get(pid, 0) for pid in ours) / TICKS_PER_S


@contextlib.contextmanager
def _process(words: Sequence[str], port: int, folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A program that listens on a port, until the end."""
    with (folder / "log").open("ab") as log:
        process = subprocess.Popen(words, stdout=log, stderr=log, cwd=folder, start_new_session=True)  # noqa: S603 - our own
    try:
        end = time.monotonic() + START_S
        while not _listens(port):
            if process.poll() is not None or time.monotonic() > end:
                raise RuntimeError(f"{words[0]} did not start: {(folder / 'log').read_text(errors='replace')[-2000:]}")
            time.sleep(0.05)
        yield process
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex((LOOPBACK, port)) == 0


@contextlib.contextmanager
def subjects() -> Iterator[tuple[list[Subject], list[str]]]:
    """(all that can be started here, started; why others are not)."""
    with contextlib.ExitStack() as cleanup:
        folder = Path(cleanup.enter_context(tempfile.TemporaryDirectory(prefix="benchmark-")))
        upstream = free_port()
        words = [sys.executable, "-m", "benchmarks.upstream", str(upstream)]
        cleanup.enter_context(_process(["env", f"PYTHONPATH={ROOT}", *words], upstream, folder))
        started = [Subject("the server alone", f"http://{LOOPBACK}:{upstream}", "none", [])]
        skipped = []
        for name, port, command in (_nginx(folder, upstream), _router(upstream)):
            if command is None:
                skipped.append(f"{name} is not here")
                continue
            process = cleanup.enter_context(_process(command, port, folder))
            started.append(Subject(name, f"http://{LOOPBACK}:{port}", "none", [process.pid]))
        gateways, missing = _gateways(cleanup, upstream)
        yield started + gateways, skipped + missing


def _nginx(folder: Path, upstream: int) -> tuple[str, int, list[str] | None]:
    program, port = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin"), free_port()
    text = NGINX.format(folder=folder, upstream=upstream, port=port)
    (folder / "nginx.conf").write_text(text, encoding="utf-8")
    return "nginx", port, [program, "-p", str(folder), "-c", str(folder / "nginx.conf")] if program else None


def _router(upstream: int) -> tuple[str, int, list[str] | None]:
    port, metrics = free_port(), free_port()
    words = ["--host", LOOPBACK, "--port", str(port), "--prometheus-port", str(metrics), "--log-level", "error"]
    server = ["--worker-urls", f"http://{LOOPBACK}:{upstream}", "--policy", "round_robin"]
    return "vllm-router", port, [str(ROUTER), *words, *server] if ROUTER.exists() else None


def _gateways(cleanup: contextlib.ExitStack, upstream: int) -> tuple[list[Subject], list[str]]:
    """LiteLLM without and with a database, where they can be had."""
    if not is_ready(VENV):
        return [], ["LiteLLM: .venv-local is not there; make gateway-test makes it"]
    if shutil.which("redis-server") is None:
        return [], ["LiteLLM: redis-server is not here"]
    redis, skipped = Redis(stacks.KEYS["redis-password"]), []
    cleanup.callback(redis.stop)
    redis.start()
    proxies = [pod_of(stacks.serving({"plain": {}}), upstream, redis, None)]
    if lacking := database.missing():
        skipped.append(f"LiteLLM with a database: needs {', '.join(lacking)}")
    else:
        postgres = Postgres()
        cleanup.callback(postgres.close)
        postgres.create()
        proxies.append(pod_of(with_database(), upstream, redis, postgres))
    cleanup.enter_context(running(*proxies))
    plain, *keyed = proxies
    return [
        _subject("LiteLLM, a key in a file", plain, stacks.MASTER),
        *(_subject("LiteLLM, a key in Postgres", pod, _virtual_key(pod), database=True) for pod in keyed),
    ], skipped


def _subject(name: str, pod: Proxy, key: str, *, database: bool = False) -> Subject:
    pids = [process.pid for process in pod.processes]
    return Subject(name, pod.url, key, pids, heavy=True, database=database)


def pod_of(config: Config, upstream: int, redis: Redis, postgres: Postgres | None) -> Proxy:
    """The gateway of a stack as a pod before the one server, not started."""
    pod = rendered(config)
    names = [server.name for server in stack(config).plan.servers]
    addresses = {f"{name}.{pod.namespace}.svc:8000": f"{LOOPBACK}:{upstream}" for name in names}
    addresses[f"litellm-redis.{pod.namespace}.svc:6379"] = f"{LOOPBACK}:{redis.port}"
    keys = {**stacks.KEYS, **dict.fromkeys(names, "sk-any"), **({"database-url": postgres.url} if postgres else {})}
    return proxy(pod, keys, addresses, database.environment(postgres.url) if postgres else {})


def with_database() -> Config:
    """The stack of the other, with keys in Postgres, whose budgets need prices."""
    config = stacks.serving({"plain": {}}, database={"existingSecret": "llm-database"})
    return merged(config, {"gpuPools": {"l4": {"pricePerNodeHourUsd": 10}}})


def _virtual_key(pod: Proxy) -> str:
    answer = request(pod.url, "/key/generate", {"key_alias": "benchmark", "models": ["plain"]}, stacks.MASTER)
    return answer.json["key"]
