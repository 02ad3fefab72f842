"""The stacks of this tier: small stack files whose gateways are rendered as every other stack's is."""

from collections.abc import Mapping
from typing import Any

from tests.gateway.backing import Redis
from tests.gateway.fake_vllm import LOOPBACK, Fakes
from tests.harness import Config, minimal, stack

MASTER = "sk-gateway-test-0123456789abcdef"
# Entry of the Secrets → value; the servers' keys are added by name.
KEYS: dict[str, str] = {
    "master-key": MASTER,
    "redis-password": "redis-test-password",
    "salt-key": "sk-salt-test",
}


def serving(models: Mapping[str, Mapping[str, Any]], **gateway: Any) -> Config:
    """A stack that serves these models, all the same small one, on a pool with room for all and their canaries."""
    base = {"model": "Qwen/Qwen3-0.6B", "pool": "l4", "contextTokens": 8192, "maxOutputTokens": 20}
    return minimal(
        gpuPools={"l4": {"nodes": 100}},
        models={"small": None, **{name: {**base, **model} for name, model in models.items()}},
        gateway=gateway,
    )


def limited() -> Config:
    """Models with limits."""
    return serving({"plain": {}, "rpm": {"requestsPerMinute": 5}})


def addresses(config: Config, fakes: Fakes, redis: Redis | None) -> dict[str, str]:
    """Where each server and Redis of the stack are here: `host:port` as rendered → address; fakes have their names."""
    done = stack(config)
    namespace = config["cluster"].get("namespace", "llm-serving")
    found = {
        f"{server.name}.{namespace}.svc:8000": f"{LOOPBACK}:{fakes.server(server.name).port}"
        for server in done.plan.servers
    }
    for server in done.plan.servers:
        KEYS.setdefault(server.name, f"sk-{server.name}-key")
    if redis is not None:
        found[f"litellm-redis.{namespace}.svc:6379"] = f"{LOOPBACK}:{redis.port}"
    return found
