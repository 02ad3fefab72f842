"""The stacks of this tier: small stack files whose gateways are rendered as every other stack's is."""

from collections.abc import Mapping
from itertools import product
from typing import Any

from tests.gateway.backing import Redis
from tests.gateway.fake_vllm import LOOPBACK, Balancer, Fakes, Server
from tests.harness import Config, merged, minimal, stack

MASTER = "sk-gateway-test-0123456789abcdef"
# Entry of the Secrets → value; the servers' keys are added by name.
KEYS: dict[str, str] = {
    "master-key": MASTER,
    "redis-password": "redis-test-password",
    "salt-key": "sk-salt-test",
    "openai-key": "sk-openai-marker-77aa",
    "anthropic-key": "sk-ant-marker-88bb",
    "public-key": "pk-lf-marker-1",
    "secret-key": "sk-lf-marker-2",
    "headers": "authorization=Bearer otel-marker-3",
}
PRICE = {"input": 2, "output": 8}
# Short, so that tests wait for them: a whole answer, and the silence of a stream.
REQUEST_TIMEOUT_S, FIRST_TOKEN_TIMEOUT_S = 6, 3
# Models of providers; the second may be asked by its name. Endpoint → name of the fake that is there.
PROVIDERS: dict[str, Any] = {
    "openai": {
        "kind": "openAi",
        "existingSecret": "llm-openai",
        "entry": "openai-key",
        "models": {
            "gpt-x": {"model": "gpt-5-mini", "contextTokens": 400_000, "priceUsdPerMillionTokens": PRICE},
            "gpt-direct": {
                "model": "gpt-5",
                "contextTokens": 400_000,
                "direct": True,
                "priceUsdPerMillionTokens": PRICE,
            },
        },
    },
    "anthropic": {
        "kind": "anthropic",
        "existingSecret": "llm-anthropic",
        "entry": "anthropic-key",
        "models": {
            "claude-x": {
                "model": "claude-sonnet-4-5",
                "contextTokens": 200_000,
                "priceUsdPerMillionTokens": PRICE,
            }
        },
    },
}
CALLBACKS = {
    "langfuse": {"endpoint": "https://langfuse.example.com", "existingSecret": "llm-langfuse"},
    "otel": {"endpoint": "https://otel.example.com:4318", "existingSecret": "llm-otel"},
}
OUTSIDE = {
    "https://api.openai.com": "openai",
    "https://api.anthropic.com": "anthropic",
    "https://langfuse.example.com": "langfuse",
    "https://otel.example.com:4318": "otel",
}
# How long models at zero make requests wait: longer than both, and not.
HELD_S, BRIEFLY_S = 60, 7
# What clients call the model `named`.
PUBLIC = "openai/Small-1.5"
# The model whose server has several pods.
SPREAD = "spread"
# Last part of the paths that answer in words, also as streams → a request to them, without its model.
ANSWERING: dict[str, dict[str, Any]] = {
    "chat/completions": {"messages": [{"role": "user", "content": "x"}]},
    "completions": {"prompt": "x"},
    "messages": {"max_tokens": 9, "messages": [{"role": "user", "content": "x"}]},
    "responses": {"input": "x"},
}
CONTEXT, LARGER_CONTEXT = 8192, 16384
REQUESTS, SHARED_REQUESTS, TOKENS = 5, 10, 300


def tokens_of(path: str, stream: bool) -> str:
    """The model whose tokens are used up by this kind of answers only."""
    return f"tpm-{path.replace('/', '-')}-{'stream' if stream else 'whole'}"


def serving(models: Mapping[str, Mapping[str, Any]], **gateway: Any) -> Config:
    """A stack that serves these models, all the same small one, on a pool with room for all and their canaries."""
    base = {"model": "Qwen/Qwen3-0.6B", "pool": "l4", "contextTokens": CONTEXT, "maxOutputTokens": 20}
    return minimal(
        gpuPools={"l4": {"nodes": 100}},
        models={"small": None, **{name: {**base, **model} for name, model in models.items()}},
        gateway=gateway,
    )


def asleep(**scaling: Any) -> dict[str, Any]:
    """A model that may have no replica, and starts so fast that its requests wait for as long as a test can."""
    start = {"loadS": 1, "compileS": 1, "engineS": 1}
    figures = {"weightsGibPerGpu": 1.2, "kvTokens": 100_000, "gpus": 1, "start": start}
    return {"replicas": {"min": 0}, "measured": figures, "scaling": scaling}


def everything(**gateway: Any) -> Config:
    """One model for each thing that can be said of a model's traffic, so that one start serves many tests."""
    canary = {"maxNumSeqs": 8}
    models: dict[str, dict[str, Any]] = {
        "plain": {},
        "rpm": {"requestsPerMinute": REQUESTS},
        "rpm-burst": {"requestsPerMinute": SHARED_REQUESTS},
        "rpm-canary": {"requestsPerMinute": SHARED_REQUESTS, "canary": {"weight": 20, **canary}},
        "rpm-once-canary": {"requestsPerMinute": 1, "canary": {"weight": 20, **canary}},
        "rpm-fallback": {"requestsPerMinute": REQUESTS, "fallbacks": ["plain"]},
        "tpm": {"tokensPerMinute": TOKENS},
        **{tokens_of(*way): {"tokensPerMinute": TOKENS} for way in product(ANSWERING, (False, True))},
        "tpm-canary": {"tokensPerMinute": TOKENS, "canary": {"weight": 50, **canary}},
        "canary": {"canary": {"weight": 10, **canary}},
        "backed": {"fallbacks": ["larger"]},
        "backed-smaller": {"contextTokens": LARGER_CONTEXT, "fallbacks": ["plain"]},
        "chained": {"fallbacks": ["middle"]},
        "middle": {"fallbacks": ["last"]},
        "last": {},
        "larger": {"contextTokens": LARGER_CONTEXT},
        "leaving": {"fallbacks": ["gpt-x", "claude-x"], "dataPolicy": "mayLeave"},
        "leaving-last": {"fallbacks": ["larger", "claude-x"], "dataPolicy": "mayLeave"},
        SPREAD: {},
        "held": asleep(atZero="hold", holdS=HELD_S),
        "held-briefly": asleep(atZero="hold", holdS=BRIEFLY_S),
        "held-backed": {**asleep(atZero="hold", holdS=BRIEFLY_S), "fallbacks": ["plain"]},
        "held-canary": {**asleep(atZero="hold", holdS=HELD_S), "canary": {"weight": 10, **canary}},
        "told": asleep(atZero="fail"),
        "told-backed": {**asleep(atZero="fail"), "fallbacks": ["plain"]},
        "falls": {**asleep(), "fallbacks": ["plain"]},
    }
    gateway = {"providers": PROVIDERS, "audit": {}, "callbacks": CALLBACKS, **gateway}
    settings = {"requestTimeoutS": REQUEST_TIMEOUT_S, "firstTokenTimeoutS": FIRST_TOKEN_TIMEOUT_S, **gateway}
    return serving(models, **settings)


def with_database(**database: Any) -> Config:
    """Models that cost something, one of which falls back to another, keys in Postgres, and the default times."""
    models: dict[str, dict[str, Any]] = {"plain": {}, "other": {}, "backed": {"fallbacks": ["other"]}}
    models["leaving"] = {"fallbacks": ["gpt-x"], "dataPolicy": "mayLeave"}
    # the first part is a word of LiteLLM's for somebody else's servers
    models["named"] = {"publicName": PUBLIC, "fallbacks": ["other"]}
    config = serving(
        models, database={"existingSecret": "llm-database", **database}, audit={"prompts": True}, providers=PROVIDERS
    )
    return merged(config, {"gpuPools": {"l4": {"pricePerNodeHourUsd": 10}}})


def addresses(config: Config, fakes: Fakes, redis: Redis | None) -> dict[str, str]:
    """Where each server and Redis of the stack are here: `host:port` as rendered → address; fakes have their names."""
    done = stack(config)
    namespace = config["cluster"].get("namespace", "llm-serving")
    found = {
        f"{server.name}.{namespace}.svc:8000": f"{LOOPBACK}:{_listener(fakes, server.name).port}"
        for server in done.plan.servers
    }
    for server in done.plan.servers:
        KEYS.setdefault(server.name.removesuffix("-canary"), f"sk-{server.name.removesuffix('-canary')}-key")
    found |= {host: f"http://{LOOPBACK}:{fakes.server(name).port}" for host, name in OUTSIDE.items()}
    if redis is not None:
        found[f"litellm-redis.{namespace}.svc:6379"] = f"{LOOPBACK}:{redis.port}"
    return found


def _listener(fakes: Fakes, name: str) -> Server | Balancer:
    return fakes.service(name) if name == f"vllm-{SPREAD}" else fakes.server(name)
