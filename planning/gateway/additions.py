"""Additions of a user to the gateway's pods: which variables and folders LiteLLM has already, and who decides them."""

from collections.abc import Iterator, Mapping
from dataclasses import replace

from catalog.schema import Networks
from planning.plan.additions import Additions
from planning.plan.gateway import GatewayPlan
from planning.stack.additions import Owned, addition_problems, plan_additions
from planning.stack.flows import GATEWAY, flows_of
from planning.stack.outward import CA_FOLDER, DIRECT_VARIABLES, PROXY_VARIABLES, TRUST_VARIABLES
from planning.stack.variables import variable_problems
from settings.doubt import judge
from settings.problems import Problem
from settings.schema import GatewaySettings, StackSettings

_STACK = "is decided by the stack"
_ARGUMENT = "is an argument of LiteLLM, and those are the stack's"
_FILE = "would put another file in place of the stack's"
# Variables that the pods have, or that would undo what the stack promises of them → why they are not for others to set.
VARIABLES = {
    **dict.fromkeys(
        (
            "AIOHTTP_KEEPALIVE_TIMEOUT", "DISABLE_ADMIN_UI", "DISABLE_SCHEMA_UPDATE", "HOME",
            "LITELLM_LOCAL_MODEL_COST_MAP", "LITELLM_LOG", "LITELLM_MIGRATION_DIR", "LITELLM_MODE",
            "LITELLM_PRISMA_COMMAND_TIMEOUT", "NO_DOCS", "NO_OPENAPI", "NO_REDOC", "REPEATED_STREAMING_CHUNK_LIMIT",
            "XDG_CACHE_HOME",
        ),
        _STACK,
    ),
    # options of its command that are read from the environment, too (litellm/proxy/proxy_cli.py, 1.109.1, envvar)
    **dict.fromkeys(
        (
            "HOST", "PORT", "NUM_WORKERS", "GRANIAN_RUNTIME_THREADS", "DEBUG", "DETAILED_DEBUG", "SSL_KEYFILE_PATH",
            "SSL_CERTFILE_PATH", "KEEPALIVE_TIMEOUT", "TIMEOUT_WORKER_HEALTHCHECK", "LIMIT_CONCURRENCY",
            "USE_V2_MIGRATION_RESOLVER", "PROMETHEUS_METRICS_PORT",
        ),
        _ARGUMENT,
    ),
    **dict.fromkeys(("MAX_REQUESTS_BEFORE_RESTART", "MAX_REQUESTS_BEFORE_RESTART_JITTER"),
                    "is decided by gateway.restartAfterRequests; set that"),
    **dict.fromkeys(("CONFIG_FILE_PATH", "WORKER_CONFIG", "LITELLM_CONFIG_BUCKET_NAME",
                     "LITELLM_CONFIG_BUCKET_OBJECT_KEY", "LITELLM_CONFIG_BUCKET_TYPE"), _FILE),
    **dict.fromkeys(("LITELLM_MASTER_KEY", "LITELLM_SALT_KEY"),
                    "is a key of the gateway; set gateway.existingSecret, or gatewayMasterKey"),
    **dict.fromkeys((*PROXY_VARIABLES, *DIRECT_VARIABLES), "is decided by cluster.proxy; set that"),
    **dict.fromkeys(TRUST_VARIABLES, "is decided by cluster.caBundle; set that"),
    "GRACEFUL_SHUTDOWN_TIMEOUT": "follows from the longest answer; set gateway.requestTimeoutS",
    "SERVER_ROOT_PATH": "would move the paths that clients, probes and routes ask at",
    "STORE_MODEL_IN_DB": "would let a database say which models there are; they are those of models",
}  # fmt: skip
# The same of all whose names begin so.
PREFIXES = {
    "DATABASE_": "is decided by gateway.database; set that",
    "GATEWAY_": "is read by the stack's own modules",
    "KEY_": "is the key of a server, which the stack makes",
    "LANGFUSE_": "is decided by gateway.callbacks; set that",
    "OTEL_": "is decided by gateway.callbacks; set that",
    "POSTGRES_": "is decided by gateway.database; set that",
    "PROVIDER_": "is the key of a provider; set gateway.providers",
    "REDIS_": "is decided by gateway.redis; set that",
}
FOLDERS = {
    "/etc/litellm": "where its configuration is",
    "/etc/redis-ca": "where the authorities of Redis are",
    CA_FOLDER: "where the authorities of cluster.caBundle are",
    "/tmp": "where it writes",  # noqa: S108 - an emptyDir of the pod
    "/app": "where LiteLLM itself is",
}


def gateway_additions(settings: StackSettings, networks: Networks) -> Additions:
    """All that is added to its pods, variables included."""
    gateway = settings.gateway
    return replace(
        plan_additions(gateway, settings.workloads),
        environment=dict(sorted(gateway.env.items())),
        flows=flows_of(settings, GATEWAY, networks),
        settings={section: dict(sorted(values.items())) for section, values in sorted(gateway.settings.items())},
    )


def gateway_addition_problems(settings: StackSettings, plan: GatewayPlan) -> list[Problem]:
    """Additions that the gateway has or needs otherwise."""
    gateway = settings.gateway
    owned = {name: why for name in (*gateway.env, *gateway.secret_env) if (why := _decided(name, plan))}
    added = addition_problems(gateway, "gateway", Owned(variables=owned, folders=FOLDERS))
    return judge(_variable_problems, gateway, owned) + added


def _variable_problems(gateway: GatewaySettings, owned: Mapping[str, str]) -> Iterator[Problem]:
    for name, value in gateway.env.items():
        where = f"gateway.env.{name}"
        if name in owned:
            yield Problem(where, owned[name])
        else:
            faults = list(variable_problems(name, value, (), where))
            yield from (replace(fault, message=_by_secret(fault.message, name)) for fault in faults)


def _by_secret(message: str, name: str) -> str:
    return f"{message}; write it in gateway.secretEnv.{name}" if message.startswith("looks like a secret") else message


def _decided(name: str, plan: GatewayPlan) -> str | None:
    """The reason why a variable is not for others to set."""
    if name in VARIABLES:
        return VARIABLES[name]
    keys = {provider.key.name: provider.name for provider in plan.providers}
    if name in keys:
        return f"is the key of gateway.providers.{keys[name]}; set that"
    if name in plan.outside.environment or name in {entry.name for entry in plan.outside.secrets}:
        return "is decided by cluster.proxy and cluster.caBundle; set those"
    return next((why for prefix, why in PREFIXES.items() if name.startswith(prefix)), None)
