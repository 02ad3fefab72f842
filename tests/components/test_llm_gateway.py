"""`LlmGateway` on small stacks: proxy, keys, Redis, database migration, exposure, network rules.

LiteLLM itself does not run here: that it accepts the configuration and routes by it is proved where it is started.
"""

import json
from dataclasses import replace
from typing import Any

import pulumi
import pytest
import yaml

from components._litellm_pod import REDIS_AWAY, container
from components.keys import MasterKey
from preview.rendering.prerequisites import find_prerequisites
from tests.harness import (
    MASTER_KEY,
    Deployed,
    container_of,
    deploy,
    environment,
    gateway_config,
    merged,
    minimal,
    own_keys,
    refusals,
    stack,
)

# Any pod and any address, but metadata services and what is link-local.
ELSEWHERE = [
    {"namespaceSelector": {}},
    {
        "ipBlock": {
            "cidr": "0.0.0.0/0",
            "except": ["100.100.100.200/32", "168.63.129.16/32", "169.254.0.0/16", "192.0.0.192/32"],
        }
    },
    {
        "ipBlock": {
            "cidr": "::/0",
            "except": [
                "fd00:42::42/128",
                "fd00:c1::a9fe:a9fe/128",
                "fd00:ec2::23/128",
                "fd00:ec2::254/128",
                "fd20:ce::254/128",
                "fe80::/10",
            ],
        }
    },
]
MATCH = {"app.kubernetes.io/name": "litellm", "app.kubernetes.io/instance": "litellm"}
REDIS = {"app.kubernetes.io/name": "redis", "app.kubernetes.io/instance": "litellm-redis"}
EXPOSED = {"host": "llm.example.com", "expose": {"kind": "gatewayApi", "gatewayName": "public"}}
DATABASE = {"database": {"existingSecret": "llm-database"}}
API_PATHS = [
    ("/v1/chat/completions", "exact"),
    ("/v1/completions", "exact"),
    ("/v1/embeddings", "exact"),
    ("/v1/rerank", "exact"),
    ("/v1/messages", "exact"),
    ("/v1/messages/count_tokens", "exact"),
    ("/v1/audio/transcriptions", "exact"),
    ("/v1/responses", "prefix"),
    ("/v1/models", "prefix"),
    ("/health/liveliness", "exact"),
]


def test_a_key_of_a_server_is_there_once():
    """However many names the server answers to: the API server refuses a variable that is there twice."""
    plan = stack(minimal()).plan.gateway
    (route,) = plan.routes
    both = replace(plan, routes=(route, replace(route, model_name="x", id="vllm-small-x")))
    reference: Any = {"url": "http://x", "key_secret": "secret", "key_entry": "key"}
    names = [item["name"] for item in container(both, {route.server: reference}, "keys", "")["env"]]
    assert [name for name in names if name.startswith("KEY_")] == ["KEY_VLLM_SMALL"]


def proxy(deployed: Deployed) -> Any:
    """The gateway's Deployment."""
    return deployed.object("Deployment", "litellm")


# --- what there is ----------------------------------------------------------------------------------------------------


SCALED = {"replicas": {"min": 2, "max": 5}}


def test_the_gateway_has_these_children():
    """Redis with all it needs, and the proxy with its configuration, autoscaler, Service and budget."""
    assert stack(minimal(gateway=SCALED)).children("gateway") == [
        ("ServiceAccount", "gateway-redis", "litellm-redis"),
        ("Deployment", "gateway-redis", "litellm-redis"),
        ("Service", "gateway-redis", "litellm-redis"),
        ("NetworkPolicy", "gateway-redis", "litellm-redis"),
        ("NetworkPolicy", "gateway", "litellm"),
        ("NetworkPolicy", "gateway-to-redis", "litellm-to-redis"),
        ("ServiceAccount", "gateway", "litellm"),
        ("ConfigMap", "gateway-config", "gateway-config-auto"),
        ("Deployment", "gateway", "litellm"),
        ("HorizontalPodAutoscaler", "gateway", "litellm"),
        ("Service", "gateway", "litellm"),
        ("PodDisruptionBudget", "gateway", "litellm"),
    ]


def test_an_autoscaler_follows_the_cpu():
    """60 % of what the pods request; up within a minute, down by one after ten minutes; it owns the replicas."""
    deployed = stack(minimal(gateway=SCALED))
    spec = deployed.object("HorizontalPodAutoscaler", "litellm")["spec"]
    cpu = {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 60}}
    up = {"policies": [{"type": "Percent", "value": 100, "periodSeconds": 60}]}
    down = {"stabilizationWindowSeconds": 600, "policies": [{"type": "Pods", "value": 1, "periodSeconds": 60}]}
    assert spec == {
        "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "litellm"},
        "minReplicas": 2,
        "maxReplicas": 5,
        "metrics": [{"type": "Resource", "resource": cpu}],
        "behavior": {"scaleUp": up, "scaleDown": down},
    }
    assert deployed.manifest("Deployment", "litellm").options.ignore_changes == ("spec.replicas",)
    assert container_of(proxy(deployed))["resources"]["requests"]["cpu"] == "1"
    (metrics,) = [item for item in find_prerequisites(deployed.manifests) if item.name == "metrics.k8s.io/v1beta1"]
    assert metrics.note == (
        "metrics-server, for the autoscaler litellm, which without it leaves the replicas there are"
    )


def test_a_fixed_number_has_no_autoscaler():
    """A number is what somebody wants; the engine keeps it."""
    deployed = stack(minimal(gateway={"replicas": 3}))
    assert (proxy(deployed)["spec"]["replicas"], deployed.objects("HorizontalPodAutoscaler")) == (3, [])
    assert deployed.manifest("Deployment", "litellm").options.ignore_changes == ()


def test_the_proxy_is_replaced_without_a_gap():
    """Two replicas by default, a new pod before an old one goes, after Redis and the network rules of both."""
    deployed = stack(minimal())
    spec = proxy(deployed)["spec"]
    assert {key: value for key, value in spec.items() if key != "template"} == {
        "replicas": 2,
        "selector": {"matchLabels": MATCH},
        "revisionHistoryLimit": 3,
        "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}},
    }
    assert deployed.depends_on("Deployment", "gateway") == {
        "ConfigMap/gateway-config",
        "Deployment/gateway-redis",
        "Namespace/llm-serving",
        "NetworkPolicy/gateway",
        "NetworkPolicy/gateway-redis",
        "NetworkPolicy/gateway-to-redis",
        "Service/gateway-redis",
        "ServiceAccount/gateway",
    }
    assert deployed.manifest("Deployment", "litellm").options.timeouts == {"create": "900s", "update": "900s"}


def test_the_proxy_container_is_closed_and_drained():
    """No admin pages, metrics on a port of their own, keys from the Secret, one writable folder."""
    deployed = stack(minimal())
    container = container_of(proxy(deployed))
    assert container["args"] == [
        "--config",
        "/etc/litellm/config.yaml",
        "--host",
        "0.0.0.0",
        "--port",
        "4000",
        "--num_workers",
        "1",
    ]
    assert environment(container) == {
        "AIOHTTP_KEEPALIVE_TIMEOUT": "0",
        "DISABLE_ADMIN_UI": "True",
        "DISABLE_SCHEMA_UPDATE": "true",
        "GRACEFUL_SHUTDOWN_TIMEOUT": "1816",
        "GATEWAY_METRICS_HOST": "0.0.0.0",
        "GATEWAY_METRICS_PORT": "4002",
        "HOME": "/tmp",
        "KEY_VLLM_SMALL": "secret:llm-keys/vllm-small",
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",
        "LITELLM_LOG": "ERROR",
        "LITELLM_MASTER_KEY": "secret:llm-keys/master-key",
        "LITELLM_MIGRATION_DIR": "/tmp/migrations",
        "LITELLM_MODE": "PRODUCTION",
        "NO_DOCS": "True",
        "NO_OPENAPI": "True",
        "NO_REDOC": "True",
        "REDIS_CIRCUIT_BREAKER_RECOVERY_TIMEOUT": "10",
        "REDIS_HOST": "litellm-redis.llm-serving.svc",
        "REDIS_PASSWORD": "secret:llm-keys/redis-password",
        "REDIS_PORT": "6379",
        "REPEATED_STREAMING_CHUNK_LIMIT": "100000",
        "XDG_CACHE_HOME": "/tmp/cache",
    }
    assert [(port["name"], port["containerPort"]) for port in container["ports"]] == [("http", 4000), ("metrics", 4002)]
    assert container["lifecycle"] == {"preStop": {"sleep": {"seconds": 15}}}
    assert proxy(deployed)["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] == 15 + 10 + 1816 + 15


def test_probes_ask_the_health_paths_that_need_no_key():
    """Started by readiness, which asks the database; ready and alive by liveliness, since known keys need none."""
    container = container_of(proxy(stack(minimal())))
    assert {name: container[name]["httpGet"]["path"] for name in container if name.endswith("Probe")} == {
        "startupProbe": "/health/readiness",
        "readinessProbe": "/health/liveliness",
        "livenessProbe": "/health/liveliness",
    }


def test_the_configuration_follows_the_plan():
    """Retries and both times of the stack, and one complete route."""
    config = gateway_config(stack(minimal(gateway={"retries": 5, "requestTimeoutS": 900, "firstTokenTimeoutS": 30})))
    assert config["model_list"] == [
        {
            "model_name": "small",
            "litellm_params": {
                "model": "hosted_vllm/small",
                "api_base": "http://vllm-small.llm-serving.svc:8000/v1",
                "api_key": "os.environ/KEY_VLLM_SMALL",
                "timeout": 900,
                "stream_timeout": 30,
            },
            "model_info": {
                "id": "vllm-small",
                "input_cost_per_token": 5.506e-09,
                "output_cost_per_token": 4.627e-08,
            },
        }
    ]
    router = config["router_settings"]
    assert (router["routing_strategy"], router["num_retries"]) == ("simple-shuffle", 5)


def test_a_changed_configuration_rolls_the_pods():
    """The configuration is an immutable ConfigMap with a drawn name, so that pods follow it and can go back."""
    deployed = stack(minimal())
    assert "name" not in deployed.raw[deployed.record("ConfigMap", "gateway-config").urn]["metadata"]
    assert deployed.object("ConfigMap", "gateway-config-auto")["immutable"] is True


def test_prices_of_a_pool_reach_the_routes():
    """With a price per node the gateway can charge for tokens."""
    config = gateway_config(stack(minimal(gpuPools={"l4": {"pricePerNodeHourUsd": 0.8}})))
    info = config["model_list"][0]["model_info"]
    assert 0 < info["input_cost_per_token"] < info["output_cost_per_token"] < 1e-4


# --- keys -------------------------------------------------------------------------------------------------------------


def test_with_an_existing_secret_the_gateway_makes_none():
    """Master key and Redis password are entries of the Secret that is named; Redis reads the same one."""
    deployed = stack(minimal())
    assert deployed.objects("Secret") == []
    redis = container_of(deployed.object("Deployment", "litellm-redis"))
    assert environment(redis) == {"REDIS_PASSWORD": "secret:llm-keys/redis-password"}


def test_a_master_key_makes_a_secret_with_all_the_gateway_needs():
    """Master key as given; Redis password and salt derived, different from it and from each other, and stable."""
    one, again = stack(own_keys()), stack(own_keys(gateway={"replicas": 3}))
    secret = one.secret("gateway-keys")
    assert set(secret) == {"master-key", "redis-password", "salt-key"}
    assert secret["master-key"] == MASTER_KEY
    assert len(set(secret.values())) == 3
    assert again.secret("gateway-keys") == secret
    assert environment(container_of(proxy(one)))["LITELLM_MASTER_KEY"] == "secret:gateway-keys-auto/master-key"


def test_derived_values_are_secret_too():
    """What is derived from the master key is marked secret in the Secret it is put into."""
    deployed = stack(own_keys(gateway=DATABASE))
    paths = {record.name: record.secret_paths for record in deployed.records if record.secret_paths}
    assert paths == {"gateway-keys": ("stringData",), "vllm-small-key": ("stringData",)}


def test_a_derived_key_is_secret_wherever_it_goes():
    """The derivation itself marks its result, so an export or an input of another kind would be encrypted as well."""

    def build() -> None:
        pulumi.export("key", MasterKey(pulumi.Output.secret(MASTER_KEY)).derived("anything"))

    assert deploy(build).secret_exports == {"key"}


@pytest.mark.parametrize(
    "key",
    [
        "sk-short",
        "no-prefix-but-long-enough",
        "sk-read-from-a-file-0123\n",
        "sk-with spaces in it",
        "sk-schlüssel-0123456",
    ],
)
def test_a_weak_master_key_is_refused(key: str):
    """A key LiteLLM would refuse or no client could send: the command that makes a good one, and not the key."""
    (refusal,) = refusals(own_keys(gatewayMasterKey=key))
    assert refusal.startswith(
        "gatewayMasterKey: must start with sk- and have at least 20 characters, all of them visible ASCII; run: "
    )
    assert key not in refusal


# --- Redis ------------------------------------------------------------------------------------------------------------


def test_the_bundled_redis_keeps_nothing_and_hides_its_password():
    """One pod, replaced by stopping first, without a volume; the password goes in through standard input."""
    body = stack(minimal()).object("Deployment", "litellm-redis")
    assert (body["spec"]["replicas"], body["spec"]["strategy"]) == (1, {"type": "Recreate"})
    container = container_of(body)
    assert container["command"][:2] == ["sh", "-c"]
    assert 'requirepass $REDIS_PASSWORD"' in container["command"][2]
    assert container["command"][2].endswith("| exec redis-server -")
    assert body["spec"]["template"]["spec"]["volumes"] == [{"name": "tmp", "emptyDir": {"sizeLimit": "64Mi"}}]


def test_only_the_gateway_reaches_the_bundled_redis():
    """Its network rule lets the gateway's pods in, on its port."""
    assert stack(minimal()).object("NetworkPolicy", "litellm-redis")["spec"] == {
        "podSelector": {"matchLabels": REDIS},
        "policyTypes": ["Ingress"],
        "ingress": [{"from": [{"podSelector": {"matchLabels": MATCH}}], "ports": [{"port": 6379, "protocol": "TCP"}]}],
    }


def test_an_existing_redis_is_used_and_none_is_run():
    """Host and port are the given ones, its port is opened, and no Redis is declared."""
    deployed = stack(minimal(gateway={"redis": {"kind": "existing", "host": "redis.example.com", "port": 6380}}))
    values = environment(container_of(proxy(deployed)))
    assert (values["REDIS_HOST"], values["REDIS_PORT"]) == ("redis.example.com", "6380")
    assert values["REDIS_PASSWORD"] == "secret:llm-keys/redis-password"
    assert [name for _, name, _ in deployed.children("gateway") if "redis" in name] == []
    assert deployed.object("NetworkPolicy", "litellm-to-6380")["spec"]["egress"] == [
        {"to": ELSEWHERE, "ports": [{"port": 6380, "protocol": "TCP"}]}
    ]


def test_a_redis_that_exists_is_reached_as_the_stack_says():
    """Over TLS with authorities of one's own, as a user; the password is the named Secret's, and none is derived."""
    redis = {
        "kind": "existing",
        "host": "redis.example.com",
        "username": "gateway",
        "passwordSecret": "redis",
        "tls": {"caBundle": {"kind": "configMap", "name": "company-ca", "key": "root.pem"}},
    }
    deployed = stack(own_keys(gateway={"redis": redis}))
    spec = proxy(deployed)["spec"]["template"]["spec"]
    values = environment(container_of(proxy(deployed)))
    assert {name: value for name, value in values.items() if name.startswith("REDIS_")} == {
        "REDIS_HOST": "redis.example.com",
        "REDIS_PORT": "6379",
        **REDIS_AWAY,
        "REDIS_PASSWORD": "secret:redis/redis-password",
        "REDIS_SSL": "true",
        "REDIS_SSL_CA_CERTS": "/etc/redis-ca/ca.crt",
        "REDIS_USERNAME": "gateway",
    }
    items = [{"key": "root.pem", "path": "ca.crt"}]
    assert {"name": "redis-ca", "configMap": {"name": "company-ca", "items": items}} in spec["volumes"]
    assert {"name": "redis-ca", "mountPath": "/etc/redis-ca", "readOnly": True} in container_of(proxy(deployed))[
        "volumeMounts"
    ]
    assert sorted(deployed.secret("gateway-keys")) == ["master-key", "salt-key"]


def test_sentinels_are_asked_for_the_master():
    """They stand in the configuration, and both ports are open; without a user, without TLS unless it is said."""
    redis = {"kind": "sentinel", "sentinels": ["s-0.data.svc", "s-1.data.svc:26380"], "masterName": "m", "port": 6380}
    deployed = stack(minimal(gateway={"redis": {**redis, "sentinelsAskPassword": True}}))
    values = environment(container_of(proxy(deployed)))
    assert {name: value for name, value in values.items() if name.startswith("REDIS_")} == {
        **REDIS_AWAY,
        "REDIS_PASSWORD": "secret:llm-keys/redis-password",
        "REDIS_SENTINEL_PASSWORD": "secret:llm-keys/redis-sentinel-password",
    }
    texts = [body["data"].get("config.yaml") for body in deployed.objects("ConfigMap")]
    config = yaml.safe_load(next(text for text in texts if text))
    assert config["general_settings"]["coordination_redis"] == {
        "sentinel_nodes": [["s-0.data.svc", 26379], ["s-1.data.svc", 26380]],
        "service_name": "m",
    }
    assert [key for key in config["router_settings"] if key.startswith("redis")] == []
    names = {item.name for item in deployed.manifests if item.kind == "NetworkPolicy"}
    assert {"litellm-to-6380", "litellm-to-26379", "litellm-to-26380"} <= names


def test_a_redis_without_a_password_gets_none():
    """Nothing is derived, and nothing is read."""
    redis = {"kind": "existing", "host": "redis.example.com", "passwordless": True}
    deployed = stack(own_keys(gateway={"redis": redis}))
    assert "REDIS_PASSWORD" not in environment(container_of(proxy(deployed)))
    assert "redis-password" not in deployed.secret("gateway-keys")


def test_without_redis_nothing_of_it_is_left():
    """No object, variable, key or network rule of a Redis; the rest of the gateway is what it is with one."""
    alone = {"replicas": 1, "redis": {"kind": "none"}}
    with_redis, without = stack(minimal(gateway={"replicas": 1})), stack(minimal(gateway=alone))
    own, bare = with_redis.children("gateway"), without.children("gateway")
    assert bare == [child for child in own if child[1] not in ("gateway-redis", "gateway-to-redis")]
    values, bare_values = (environment(container_of(proxy(deployed))) for deployed in (with_redis, without))
    assert bare_values == {key: value for key, value in values.items() if not key.startswith("REDIS_")}
    egress = without.object("NetworkPolicy", "litellm")["spec"]["egress"]
    assert [rule["ports"] for rule in egress] == [[{"port": 8000, "protocol": "TCP"}]]
    assert [item.keys for item in find_prerequisites(without.manifests) if item.kind == "Secret"] == [
        ("master-key", "vllm-small")
    ]
    assert "Deployment/gateway-redis" not in without.depends_on("Deployment", "gateway")


def test_without_redis_no_password_is_derived():
    """The Secret of the gateway has a master key and a salt only."""
    deployed = stack(own_keys(gateway={"replicas": 1, "redis": {"kind": "none"}}))
    assert set(deployed.secret("gateway-keys")) == {"master-key", "salt-key"}


# --- database ---------------------------------------------------------------------------------------------------------


def test_without_a_database_nothing_is_migrated():
    """No Job, no URL, no salt."""
    deployed = stack(minimal())
    assert [kind for kind, *_ in deployed.children("gateway") if kind == "Job"] == []
    assert {"DATABASE_URL", "LITELLM_SALT_KEY"} & set(environment(container_of(proxy(deployed)))) == set()


def test_a_database_is_migrated_before_the_proxy_starts():
    """A Job with the proxy's image updates the schema and ends; the proxy itself never does."""
    deployed = stack(minimal(gateway=DATABASE))
    job = deployed.object("Job", "litellm-migration")
    migration, serving = container_of(job), container_of(proxy(deployed))
    assert migration["image"] == serving["image"]
    assert migration["command"] == ["python", "/scripts/gateway_migrate.py"]
    assert environment(serving)["DISABLE_SCHEMA_UPDATE"] == "true"
    assert environment(serving)["DATABASE_URL"] == "secret:llm-database/database-url"
    assert environment(serving)["LITELLM_SALT_KEY"] == "secret:llm-keys/salt-key"
    assert (job["spec"]["backoffLimit"], job["spec"]["template"]["spec"]["restartPolicy"]) == (4, "Never")
    assert "Job/gateway-migrate" in deployed.depends_on("Deployment", "gateway")


def test_the_migration_holds_the_address_of_the_database_and_no_key():
    """One secret, in its environment; its files are the script."""
    spec = stack(minimal(gateway=DATABASE)).object("Job", "litellm-migration")["spec"]["template"]["spec"]
    (container,) = spec["containers"]
    assert environment(container) == {
        "DATABASE_URL": "secret:llm-database/database-url",
        "HOME": "/tmp",
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",
        "LITELLM_LOG": "ERROR",
        "LITELLM_MIGRATION_DIR": "/tmp/migrations",
        "XDG_CACHE_HOME": "/tmp/cache",
    }
    assert [sorted(volume) for volume in spec["volumes"]] == [["configMap", "name"], ["emptyDir", "name"]]


def test_the_role_that_migrates_may_be_another():
    """Serving pods then have a role without rights on the schema, and only the Job has the other one."""
    deployed = stack(minimal(gateway=merged(DATABASE, {"database": {"migrationSecret": "llm-database-owner"}})))
    job, serving = container_of(deployed.object("Job", "litellm-migration")), container_of(proxy(deployed))
    assert environment(job)["DATABASE_URL"] == "secret:llm-database-owner/database-url"
    assert environment(serving)["DATABASE_URL"] == "secret:llm-database/database-url"


@pytest.mark.parametrize(
    "change",
    [
        {"models": {"other": {"model": "Qwen/Qwen3-0.6B", "pool": "l4", "contextTokens": 4096}}},
        {"models": {"small": {"requestsPerMinute": 60}}},
        {"gateway": {"replicas": 3, "memoryGib": 8, "requestTimeoutS": 900, "retries": 0}},
        {"gateway": {"redis": {"kind": "existing", "host": "redis.example.com"}}},
        {"gateway": EXPOSED},
    ],
)
def test_only_what_concerns_the_database_runs_its_migration_again(change: Any):
    """A model more, a limit, sizes, another Redis, an exposure: the Job and its script stay to the letter."""
    config = minimal(gateway=DATABASE)
    before, after = (
        [item.body for item in stack(found).manifests if "gateway_migrate.py" in str(item.body)]
        for found in (config, merged(config, change))
    )
    assert len(before) == 2
    assert before == after


def test_migration_pods_are_not_the_gateways():
    """They carry another name, so Service, budget and monitor pass them by, and their rule opens the database only."""
    deployed = stack(minimal(gateway=merged(DATABASE, {"database": {"port": 6432}})))
    labels = deployed.object("Job", "litellm-migration")["spec"]["template"]["metadata"]["labels"]
    assert not MATCH.items() <= labels.items()
    assert deployed.object("NetworkPolicy", "litellm-migration")["spec"] == {
        "podSelector": {"matchLabels": {**MATCH, "app.kubernetes.io/name": "litellm-migration"}},
        "policyTypes": ["Egress"],
        "egress": [{"to": ELSEWHERE, "ports": [{"port": 6432, "protocol": "TCP"}]}],
    }
    assert "NetworkPolicy/gateway-migrate" in deployed.depends_on("Job", "gateway-migrate")


def test_memory_and_restarts_of_the_proxy_can_be_set():
    """The memory is request and limit; how many requests a pod serves stands beside the configuration."""
    deployed = stack(minimal(gateway={"memoryGib": 8, "restartAfterRequests": 5000}))
    assert container_of(proxy(deployed))["resources"] == {
        "requests": {"cpu": "1", "memory": "8Gi", "ephemeral-storage": "2112Mi"},
        "limits": {"memory": "8Gi"},
    }
    (surface,) = [
        found["data"]["surface.json"] for found in deployed.objects("ConfigMap") if "surface.json" in str(found)
    ]
    assert json.loads(surface)["restart_after_requests"] == 5000


# --- exposure ---------------------------------------------------------------------------------------------------------


def test_inside_the_cluster_only():
    """Without exposure there is no route, and clients use the Service."""
    deployed = stack(minimal())
    assert (deployed.objects("HTTPRoute"), deployed.objects("Ingress")) == ([], [])
    assert deployed.registered("gateway") == {
        "endpoint": "http://litellm.llm-serving.svc:4000/v1",
        "admin_url": "http://litellm.llm-serving.svc:4000",
        "metrics_selector": MATCH,
    }


@pytest.mark.parametrize(("timeout_s", "written"), [(99_968, "99999s"), (99_969, "27h2800s"), (604_769, "168h0s")])
def test_long_timeouts_are_written_in_hours(timeout_s: int, written: str):
    """The Gateway API takes five digits of a unit; the route waits half a minute longer than the gateway's only try."""
    deployed = stack(minimal(gateway={**EXPOSED, "requestTimeoutS": timeout_s, "firstTokenTimeoutS": 1, "retries": 0}))
    (rule,) = deployed.object("HTTPRoute", "litellm")["spec"]["rules"]
    assert rule["timeouts"] == {"request": written, "backendRequest": written}


def test_gateway_api():
    """An HTTPRoute for the inference paths and one of health only, with timeouts above the gateway's own."""
    deployed = stack(minimal(gateway=EXPOSED))
    (matches,) = (
        [(match["path"]["value"], match["path"]["type"]) for match in rule["matches"]]
        for rule in deployed.object("HTTPRoute", "litellm")["spec"]["rules"]
    )
    assert [(path, kind.removeprefix("Path").lower()) for path, kind in matches] == API_PATHS
    spec = deployed.object("HTTPRoute", "litellm")["spec"]
    timeout = f"{deployed.plan.gateway.route_timeout_s}s"
    assert spec["rules"][0]["timeouts"] == {"request": timeout, "backendRequest": timeout}
    assert spec["rules"][0]["backendRefs"] == [
        {"group": "", "kind": "Service", "name": "litellm", "port": 4000, "weight": 1}
    ]
    assert spec["hostnames"] == ["llm.example.com"]
    assert spec["parentRefs"] == [{"group": "gateway.networking.k8s.io", "kind": "Gateway", "name": "public"}]
    assert deployed.registered("gateway")["endpoint"] == "https://llm.example.com/v1"
    assert deployed.registered("gateway")["admin_url"] == "http://litellm.llm-serving.svc:4000"


def test_a_gateway_of_another_namespace_and_a_listener_are_named():
    """Namespace and section reach the parent reference."""
    expose = {"expose": {"gatewayNamespace": "edge", "sectionName": "https"}}
    (parent,) = stack(minimal(gateway=merged(EXPOSED, expose))).object("HTTPRoute", "litellm")["spec"]["parentRefs"]
    assert (parent["name"], parent["namespace"], parent["sectionName"]) == ("public", "edge", "https")


@pytest.mark.parametrize(
    ("tls", "spec_tls", "endpoint"),
    [
        ("llm-tls", [{"hosts": ["llm.example.com"], "secretName": "llm-tls"}], "https://llm.example.com/v1"),
        (None, None, "http://llm.example.com/v1"),
    ],
)
def test_ingress(tls: str | None, spec_tls: Any, endpoint: str):
    """The same paths, streams unbuffered, no retries behind the client's back, TLS where a Secret is named."""
    expose = {"kind": "ingress", "className": "nginx", "annotations": {"example.com/a": "b"}}
    deployed = stack(
        minimal(gateway={"host": "llm.example.com", "expose": {**expose, **({"tlsSecret": tls} if tls else {})}})
    )
    body = deployed.object("Ingress", "litellm")
    (rule,) = body["spec"]["rules"]
    assert rule["host"] == "llm.example.com"
    assert [(path["path"], path["pathType"].lower()) for path in rule["http"]["paths"]] == API_PATHS
    backend = {"service": {"name": "litellm", "port": {"name": "http"}}}
    assert [path["backend"] for path in rule["http"]["paths"]] == [backend] * len(API_PATHS)
    assert (body["spec"]["ingressClassName"], body["spec"].get("tls")) == ("nginx", spec_tls)
    timeout = str(deployed.plan.gateway.route_timeout_s)
    nginx = "nginx.ingress.kubernetes.io"
    assert body["metadata"]["annotations"] == {
        f"{nginx}/proxy-body-size": "64m",
        f"{nginx}/proxy-buffering": "off",
        f"{nginx}/proxy-next-upstream": "off",
        f"{nginx}/proxy-read-timeout": timeout,
        f"{nginx}/proxy-request-buffering": "off",
        f"{nginx}/proxy-send-timeout": timeout,
        "pulumi.com/patchFieldManager": "llm-stack-test",
        "pulumi.com/skipAwait": "true",
        "example.com/a": "b",
    }
    assert deployed.registered("gateway")["endpoint"] == endpoint


# --- network ----------------------------------------------------------------------------------------------------------


def test_the_gateway_reaches_what_it_needs():
    """Anybody may ask; out to all servers, Redis and the database, nowhere else, and one rule for each of them."""
    deployed = stack(minimal(gateway=DATABASE))
    servers = {"app.kubernetes.io/name": "vllm", "app.kubernetes.io/part-of": "llm-stack"}
    out = {
        "litellm": {"to": [{"podSelector": {"matchLabels": servers}}], "ports": [{"port": 8000, "protocol": "TCP"}]},
        "litellm-to-redis": {
            "to": [{"podSelector": {"matchLabels": REDIS}}],
            "ports": [{"port": 6379, "protocol": "TCP"}],
        },
        "litellm-to-5432": {"to": ELSEWHERE, "ports": [{"port": 5432, "protocol": "TCP"}]},
    }
    expected = {
        name: {"podSelector": {"matchLabels": MATCH}, "policyTypes": ["Egress"], "egress": [rule]}
        for name, rule in out.items()
    }
    expected["litellm"] |= {
        "policyTypes": ["Ingress", "Egress"],
        "ingress": [{"ports": [{"port": 4000, "protocol": "TCP"}]}],
    }
    found = {body["metadata"]["name"]: body["spec"] for body in deployed.objects("NetworkPolicy")}
    assert {name: spec for name, spec in found.items() if spec["podSelector"] == {"matchLabels": MATCH}} == expected


# --- canaries ---------------------------------------------------------------------------------------------------------


def canary(weight: int) -> Deployed:
    """`minimal` with limits and a twin that gets so many percent."""
    model = {"requestsPerMinute": 100, "canary": {"weight": weight, "contextTokens": 4096}}
    return stack(minimal(models={"small": model}))


def routes(deployed: Deployed) -> list[tuple[str, int | None, int | None]]:
    """(server, weight, requests per minute) of every route."""
    return [
        (entry["model_info"]["id"], entry["litellm_params"].get("weight"), entry["model_info"].get("rpm"))
        for entry in gateway_config(deployed)["model_list"]
    ]


def test_a_canary_shares_traffic_and_limits_by_weight():
    """90 and 10 of 100, under the strategy that reads weights."""
    deployed = canary(10)
    assert routes(deployed) == [("vllm-small", 90, 90), ("vllm-small-canary", 10, 10)]
    assert gateway_config(deployed)["router_settings"]["routing_strategy"] == "simple-shuffle"


def test_a_full_canary_gets_everything():
    """At 100 only the twin is routed, without a weight."""
    deployed = canary(100)
    assert routes(deployed) == [("vllm-small-canary", None, 100)]
