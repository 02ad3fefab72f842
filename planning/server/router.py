"""The router in front of the replicas of one server: `models.NAME.routing: prefix`.

What it does was tried with vllm-router 0.1.17 before fake servers and real ones (tests/gateway/test_prefix.py,
tests/local/test_replicas.py). See docs/adr/0028.
"""

from collections.abc import Mapping

from planning.capacity import flags
from planning.plan.pods import ImagePlan, Probe, Probes
from planning.plan.router import RouterPlan
from planning.server import scratch
from planning.server.servers import Draft
from settings.problems import Problem

PORT, METRICS_PORT = 8080, 29000
# Each learns by itself where prompts went: a beginning is then cached in as many replicas at most.
REPLICAS = 2
# Whole answers and streams pass through it at 0.2 ms of CPU each, and 80 MiB at rest; its memory of prompts is bounded.
CPU_MILLIS, MEMORY_MIB, MEMORY_LIMIT_MIB = 250, 256, 1024
CHARACTERS_PER_SERVER = 2**24
# The gateway gives up long before.
REQUEST_TIMEOUT_S = 86_400
# A replica may have so many more requests than another until prompts go to that one: the router's own figure, or a
# quarter of what a replica computes at once, since each router sees half of the requests. Without that, all that begin
# with the same system prompt would queue at one replica.
MOST_APART, SHARE_APART = 64, 4
# A server that dies refuses two looks, and is asked no more; one that is busy may take as long as a liveness probe lets
# it. Its tries and pauses are over when that is known, and the gateway has some of its own. No breaker: it would count
# errors of single requests, so that one client could take all servers away from others.
LOOK_EVERY_S, LOOKS, LOOK_TIMEOUT_S = 1, 2, 10
TRIES, FIRST_PAUSE_MS = 3, 400
# A pod that is ready answers at once. While one does not, e.g. on a node that is gone, the router hears of no other:
# by itself it would wait for 600 s, and look every 30 s.
FIRST_LOOK_WITHIN_S, FIRST_LOOK_EVERY_S = 20, 1
READY_PATH, ALIVE_PATH = "/readiness", "/liveness"


def plan_router(draft: Draft, images: Mapping[str, ImagePlan]) -> RouterPlan | None:
    """The router of a server, or None; a canary is reached by its Service."""
    if draft.canary or draft.settings.routing == "service":
        return None
    timing = draft.timing
    return RouterPlan(
        name=f"{draft.name}-router",
        image=images["vllm-router"],
        replicas=REPLICAS,
        port=PORT,
        args=(
            "--host=0.0.0.0",
            f"--port={PORT}",
            "--policy=cache_aware",
            f"--max-tree-size={CHARACTERS_PER_SERVER}",
            f"--balance-abs-threshold={_most_apart(draft.max_num_seqs * draft.parallelism.data)}",
            f"--request-timeout-secs={REQUEST_TIMEOUT_S}",
            f"--retry-max-retries={TRIES}",
            f"--retry-initial-backoff-ms={FIRST_PAUSE_MS}",
            "--disable-circuit-breaker",
            f"--health-check-interval-secs={LOOK_EVERY_S}",
            f"--health-check-timeout-secs={LOOK_TIMEOUT_S}",
            f"--health-failure-threshold={LOOKS}",
            "--health-success-threshold=1",
            f"--health-check-endpoint={draft.endpoint.health_path}",
            f"--worker-startup-timeout-secs={FIRST_LOOK_WITHIN_S}",
            f"--worker-startup-check-interval={FIRST_LOOK_EVERY_S}",
            f"--prometheus-port={METRICS_PORT}",
            "--service-discovery",
            f"--service-discovery-port={draft.endpoint.port}",
        ),
        cpu_millis=CPU_MILLIS,
        memory_mib=MEMORY_MIB,
        memory_limit_mib=MEMORY_LIMIT_MIB,
        disk_mib=scratch.ROUTER.disk_mib,
        probes=Probes(ready=Probe(period_s=5), live=Probe(period_s=20)),
        ready_path=READY_PATH,
        alive_path=ALIVE_PATH,
        pre_stop_s=timing.pre_stop_s,
        probe_grace_s=timing.probe_grace_s,
        termination_grace_s=timing.termination_grace_s,
    )


def _most_apart(sequences: int) -> int:
    return min(MOST_APART, max(1, sequences // SHARE_APART))


def router_problems(draft: Draft) -> list[Problem]:
    """A router that has nothing to choose, or that would lead to pods that answer nobody."""
    model, path = draft.settings, f"models.{draft.model_name}.routing"
    if draft.canary or model.routing == "service":
        return []
    if not draft.task.prefix_caching:
        return [Problem(path, "prefix is for models that chat: this one keeps no prompt; use routing: service")]
    problems = []
    if model.replicas.max < 2:
        least = "replicas.max: 2 or more"
        problems.append(Problem(path, f"prefix has one replica to choose from; use {least}, or routing: service"))
    if draft.nodes_per_replica > 1:
        problems.append(Problem(path, "prefix is not there where a replica spans nodes; use routing: service"))
    if flags.prefix_cache_is_off(draft.args):
        problems.append(Problem(path, "prefix needs the prefix cache, which args turn off; use routing: service"))
    if flags.scale_out_is_off(draft.args):
        problems.append(Problem(path, "prefix asks servers for tokens, which args turn off; use routing: service"))
    return problems


def router_reasons(draft: Draft) -> dict[str, str]:
    """A sentence for the preview where there is a choice."""
    if draft.canary or draft.settings.replicas.max < 2 or not draft.task.prefix_caching:
        return {}
    if draft.settings.routing == "prefix":
        return {"routing": f"prefix: {REPLICAS} routers send a prompt to a replica that has its beginning cached"}
    return {
        "routing": "service: any replica; prefix pays where prompts begin alike, as with system prompts and long chats"
    }
