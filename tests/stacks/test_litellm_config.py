"""LiteLLM's configuration of every stack against the keys the pinned version knows, and against the pods it is for.

LiteLLM ignores unknown keys without a word, so each is looked up in the catalogue. What the proxy does with the values
is proved where it really runs, not here.
"""

import re
from typing import Any

import pytest

from catalog import load_catalog
from planning.gateway.additions import PREFIXES, VARIABLES
from planning.plan.servers import ServerPlan
from planning.plan.stores import BundledRedis, ExistingDatabase, ExistingRedis, SentinelRedis
from planning.stack.outward import DIRECT_VARIABLES, PROXY_VARIABLES
from tests.harness import Deployed, container_of, environment, every_stack, gateway_config, rendered, walk

ENGINE = load_catalog().litellm
EVERY = pytest.mark.parametrize("name", every_stack())
SECTIONS = {
    "router_settings": ENGINE.router_settings,
    "general_settings": ENGINE.general_settings,
    "litellm_settings": ENGINE.litellm_settings,
}
FROM_ENVIRONMENT = "os.environ/"
REDIS = ("REDIS_HOST", "REDIS_PORT")


def unknown_keys(config: dict[str, Any]) -> list[str]:
    """Keys of a configuration that the pinned version does not read."""
    found = [section for section in config if section not in (*SECTIONS, "model_list")]
    found += [
        f"{section}.{key}" for section, known in SECTIONS.items() for key in config.get(section, {}) if key not in known
    ]
    for entry in config["model_list"]:
        found += [f"model_list.{key}" for key in entry if key not in ("model_name", "litellm_params", "model_info")]
        found += [f"litellm_params.{key}" for key in entry["litellm_params"] if key not in ENGINE.litellm_params]
    return found


def gateway_environment(deployed: Deployed) -> dict[str, str]:
    """Environment of the gateway's container."""
    return environment(container_of(deployed.object("Deployment", "litellm")))


@EVERY
def test_the_proxy_knows_every_key(name: str):
    """All keys of all sections are read by the pinned version, and its routing strategy exists."""
    config = gateway_config(rendered(name))
    assert unknown_keys(config) == []


@pytest.mark.parametrize(
    ("change", "unknown"),
    [
        ({"litellm_settings": {"num_retriez": 2}}, ["litellm_settings.num_retriez"]),
        ({"general_settings": {"num_retries": 2}}, ["general_settings.num_retries"]),
        ({"routing": {}}, ["routing"]),
        ({"model_list": [{"model_name": "a", "litellm_params": {"modle": "a"}}]}, ["litellm_params.modle"]),
    ],
)
def test_an_unknown_key_is_really_noticed(change: dict[str, Any], unknown: list[str]):
    """A misspelt key, one in the wrong section, a section of no meaning: each is found."""
    assert unknown_keys({"model_list": [], **change}) == unknown


def asked(server: ServerPlan, namespace: str) -> str:
    """The address of a server, or of the router before it."""
    at = f"{server.router.name}.{namespace}.svc:8080" if server.router else f"{server.name}.{namespace}.svc:8000"
    return f"http://{at}/v1"


def own_models(deployed: Deployed) -> list[Any]:
    """The entries of the stack's own servers, without those of providers."""
    entries = gateway_config(deployed)["model_list"]
    return [entry for entry in entries if entry["litellm_params"]["model"].startswith("hosted_vllm/")]


@EVERY
def test_every_served_model_has_its_routes(name: str):
    """One route per server that gets traffic and name that it answers to: the name, its Service, its own key."""
    deployed = rendered(name)
    namespace = deployed.plan.namespace
    found = [
        (entry["model_name"], entry["litellm_params"]["api_base"], entry["litellm_params"]["model"])
        for entry in own_models(deployed)
    ]
    expected = [
        (public, asked(server, namespace), f"hosted_vllm/{public}")
        for server in deployed.plan.servers
        if server.weight
        for public in server.serves
    ]
    assert found == expected
    assert {public for server in deployed.plan.servers for public in server.serves} == {model for model, _, _ in found}


@EVERY
def test_a_route_asks_a_server_by_the_name_it_answers_to(name: str):
    """The model of every route is the --served-model-name of the server behind it, or one of its --lora-modules."""
    deployed = rendered(name)
    served = {}
    for server in deployed.plan.servers:
        words = list(server.args)
        modules = words[words.index("--lora-modules") + 1 :] if "--lora-modules" in words else []
        names = [word.partition("=")[2] for word in words if word.startswith("--served-model-name=")]
        served[asked(server, deployed.plan.namespace)] = [*names, *(word.partition("=")[0] for word in modules)]
    for entry in own_models(deployed):
        parameters = entry["litellm_params"]
        assert parameters["model"].removeprefix("hosted_vllm/") in served[parameters["api_base"]]


@EVERY
def test_every_variable_the_configuration_reads_is_set(name: str):
    """Each os.environ/NAME is in the container's environment: keys from Secrets, host names and ports in clear.

    The address of a Postgres of the stack's own is in clear but for its password, which the kubelet fills in.
    """
    deployed = rendered(name)
    config, values = gateway_config(deployed), gateway_environment(deployed)
    read = {
        leaf.removeprefix(FROM_ENVIRONMENT)
        for _, leaf in walk(config)
        if isinstance(leaf, str) and leaf.startswith(FROM_ENVIRONMENT)
    }
    assert read - set(values) == set()
    in_clear = {variable for variable in read if not values[variable].startswith("secret:")}
    gateway = deployed.plan.gateway
    own_redis = isinstance(gateway.redis, BundledRedis)
    own_postgres = gateway.database is not None and not isinstance(gateway.database.source, ExistingDatabase)
    assert in_clear == {*(REDIS if own_redis else ()), *(["DATABASE_URL"] if own_postgres else [])}
    if own_postgres:
        assert values["DATABASE_URL"].startswith("postgresql://litellm:$(POSTGRES_PASSWORD)@")
        assert values["POSTGRES_PASSWORD"].startswith("secret:")
    models = own_models(deployed)
    servers = {entry["litellm_params"]["api_base"] for entry in models}
    assert len({entry["litellm_params"]["api_key"] for entry in models}) == len(servers)
    assert {"LITELLM_MASTER_KEY", *(["REDIS_PASSWORD"] if own_redis else [])} < read
    assert ("REDIS_PASSWORD" in values) == (gateway.redis is not None)


@EVERY
def test_gateway_and_server_have_the_same_key(name: str):
    """The key a route sends and the key its server demands come from the same entry of the same Secret."""
    deployed = rendered(name)
    sent = gateway_environment(deployed)
    demanded = {}
    for server in deployed.plan.servers:
        kind = "LeaderWorkerSet" if server.nodes_per_replica > 1 else "Deployment"
        spec = deployed.object(kind, server.name)["spec"]
        template = spec["leaderWorkerTemplate"]["leaderTemplate"] if kind == "LeaderWorkerSet" else spec["template"]
        demanded[server.name] = environment(template["spec"]["containers"][0])["VLLM_API_KEY"]
    for entry in own_models(deployed):
        variable = entry["litellm_params"]["api_key"].removeprefix(FROM_ENVIRONMENT)
        assert sent[variable] == demanded[entry["model_info"]["id"].partition("/")[0]]


@EVERY
def test_limits_are_shared_over_replicas(name: str):
    """A strategy or limit that counts needs Redis, and the router is given one; one replica may count alone."""
    deployed = rendered(name)
    router = gateway_config(deployed)["router_settings"]
    general = gateway_config(deployed)["general_settings"]
    given = {key: value for key, value in router.items() if "redis" in key}
    shared = {f"redis_{part}": f"{FROM_ENVIRONMENT}REDIS_{part.upper()}" for part in ("host", "port", "password")}
    redis = deployed.plan.gateway.redis
    assert given == (shared if isinstance(redis, BundledRedis) else {})
    assert ("coordination_redis" in general) == isinstance(redis, (ExistingRedis, SentinelRedis))
    assert redis or deployed.object("Deployment", "litellm")["spec"]["replicas"] == 1


@EVERY
def test_variables_have_names_a_shell_accepts(name: str):
    """Upper case letters, digits and underscores, but for the second spelling of a proxy's variables."""
    names = set(gateway_environment(rendered(name))) - {*PROXY_VARIABLES, *DIRECT_VARIABLES}
    assert [variable for variable in names if not re.fullmatch(r"[A-Z_][A-Z0-9_]*", variable)] == []


def test_fallbacks_and_limits_reach_the_router():
    """Fallbacks of the stack file are the router's, limits are those of the route, in the order they were given."""
    config = gateway_config(rendered("variant:own-keys"))
    assert config["router_settings"]["fallbacks"] == [{"small": ["spare"]}]
    limits = [(entry["model_info"].get("rpm"), entry["model_info"].get("tpm")) for entry in config["model_list"]]
    assert limits == [(60, 90000), (None, None)]


def test_two_servers_of_one_name_share_its_traffic_by_weight():
    """With a canary of 10 % the routes weigh 90 and 10, under the only strategy that reads weights."""
    config = gateway_config(rendered("variant:hpa-canary"))
    weights = [(entry["model_info"]["id"], entry["litellm_params"]["weight"]) for entry in config["model_list"]]
    assert weights == [("vllm-small", 90), ("vllm-small-canary", 10)]
    assert config["router_settings"]["routing_strategy"] == "simple-shuffle"


def test_the_database_is_used_where_there_is_one():
    """A database brings its URL from the Secret that is named, and only then."""
    with_database, without = gateway_config(rendered("variant:own-keys")), gateway_config(rendered("variant:minimal"))
    assert with_database["general_settings"]["database_url"] == "os.environ/DATABASE_URL"
    assert gateway_environment(rendered("variant:own-keys"))["DATABASE_URL"] == "secret:llm-database/database-url"
    assert without["general_settings"] == {
        "master_key": "os.environ/LITELLM_MASTER_KEY",
        "cancel_on_disconnect": True,
        "custom_auth": "gateway_auth.check",
        "custom_auth_run_common_checks": True,
    }


def test_the_hook_that_decides_about_keys_lies_beside_the_configuration():
    """A gateway without a database has the files its configuration names; with one, LiteLLM decides about keys."""
    files = {
        name: sorted(
            next(found["data"] for found in rendered(name).objects("ConfigMap") if "config.yaml" in found["data"])
        )
        for name in ("variant:minimal", "variant:own-keys")
    }
    assert files == {
        "variant:minimal": ["config.yaml", "gateway_auth.py", "gateway_hooks.py", "gateway_surface.py", "surface.json"],
        "variant:own-keys": ["config.yaml", "gateway_hooks.py", "gateway_surface.py", "surface.json"],
    }
    assert "custom_auth" not in gateway_config(rendered("variant:own-keys"))["general_settings"]


@EVERY
def test_every_variable_of_the_gateway_says_who_decides_it(name: str):
    """Whatever its pods have in their environment, `gateway.env` may not set, and says what to set instead."""
    plan = rendered(name).plan.gateway.additions
    names = gateway_environment(rendered(name)).keys() - {*plan.environment, *(entry.name for entry in plan.secrets)}
    assert [known for known in names if known not in VARIABLES and not known.startswith(tuple(PREFIXES))] == []
