"""Every key of LiteLLM's configuration and every variable of its pod is claimed by a test that shows what it does.

A key that no test claims is one whose effect nobody has seen: that is how limits that limited nothing went unnoticed.
"""

import re
from importlib import import_module
from typing import Any

import pytest
import yaml

from tests.gateway import stacks
from tests.gateway.client import chat, request
from tests.gateway.conftest import Databased
from tests.gateway.fake_vllm import Behaviour, Fakes, wait_for
from tests.gateway.proxies import Proxy, rendered
from tests.harness import stack

pytestmark = pytest.mark.gateway
Pair = tuple[Proxy, Proxy]

# Path of a key, or name of a variable → `file: test` that shows what it does.
CLAIMS = {
    "model_list.model_name": "limits: an_answer_comes_from_the_server",
    "model_list.litellm_params.model": "limits: an_answer_comes_from_the_server",
    "model_list.litellm_params.api_base": "limits: an_answer_comes_from_the_server",
    "model_list.litellm_params.api_key": "limits: an_answer_comes_from_the_server",
    "model_list.litellm_params.timeout": "time: a_hung_answer_reaches_the_fallback_in_time",
    "model_list.litellm_params.stream_timeout": "time: a_hung_stream_reaches_the_fallback_in_time",
    "model_list.litellm_params.weight": "time: a_canary_gets_its_share",
    "model_list.model_info.id": "limits: an_answer_comes_from_the_server",
    "model_list.model_info.input_cost_per_token": "every_key: an_answer_costs_what_its_tokens_cost",
    "model_list.model_info.output_cost_per_token": "every_key: an_answer_costs_what_its_tokens_cost",
    "model_list.model_info.rpm": "limits: requests_per_minute_are_exact_over_both_replicas",
    "model_list.model_info.tpm": "limits: tokens_per_minute_bind_within_a_requests_worth",
    "model_list.litellm_params.drop_params": "providers: a_provider_is_asked_as_it_can_be",
    "router_settings.retry_policy.TimeoutErrorRetries": "time: a_timeout_is_not_tried_again",
    "router_settings.allowed_fails_policy.NotFoundErrorAllowedFails":
        "time: endpoints_a_server_does_not_have_do_not_take_it_away_from_others",
    "router_settings.optional_pre_call_checks": "limits: requests_per_minute_are_exact_over_both_replicas",
    "router_settings.enable_weighted_failover": "limits: a_canary_and_its_model_share_one_limit",
    "router_settings.fallbacks": "time: a_hung_answer_reaches_the_fallback_in_time",
    "router_settings.context_window_fallbacks": "context: a_fallback_with_less_context_is_not_asked",
    "router_settings.cache_kwargs.socket_timeout":
        "redis: without_redis_answers_go_on_and_each_replica_counts_for_itself",
    "router_settings.fallback_on_unsupported_params": "context: a_wrong_request_is_not_tried_elsewhere",
    "litellm_settings.callbacks": "every_key: requests_are_counted",
    "litellm_settings.turn_off_message_logging": "callbacks: collectors_hear_of_a_request_and_not_what_was_said",
    "litellm_settings.expose_router_debug_in_errors": "context: an_error_names_no_other_model_and_no_address",
    "litellm_settings.prometheus_metrics_config": "surface: only_kept_metrics_and_labels_are_exported",
    "litellm_settings.json_logs": "every_key: what_is_logged_is_json",
    "litellm_settings.sse_keepalive_ping_interval_seconds":
        "streams: a_slow_first_token_does_not_look_like_a_dead_connection",
    "litellm_settings.budget_exceeded_status_code": "database: an_exceeded_budget_is_429",
    "litellm_settings.enable_redis_auth_cache": "database: known_keys_ride_out_a_failover",
    "general_settings.master_key": "limits: an_answer_comes_from_the_server",
    "general_settings.cancel_on_disconnect": "time: who_leaves_frees_the_server",
    "general_settings.custom_auth": "every_key: a_wrong_key_is_401_without_a_database",
    "general_settings.database_url": "database: spend_reaches_the_database",
    "general_settings.database_connection_pool_limit": "database: a_replica_takes_few_connections",
    "general_settings.allow_requests_on_db_unavailable": "database: a_made_up_key_is_never_let_in",
    "general_settings.user_api_key_cache_ttl": "database: known_keys_ride_out_a_failover",
    "AIOHTTP_KEEPALIVE_TIMEOUT": "streams: a_second_pod_gets_its_share_under_constant_load",
    "DATABASE_URL": "database: spend_reaches_the_database",
    "DISABLE_ADMIN_UI": "every_key: nothing_but_the_api_is_served",
    "GATEWAY_METRICS_HOST": "every_key: requests_are_counted",
    "GATEWAY_METRICS_PORT": "every_key: requests_are_counted",
    "LITELLM_MASTER_KEY": "limits: an_answer_comes_from_the_server",
    "NO_DOCS": "every_key: nothing_but_the_api_is_served",
    "NO_OPENAPI": "every_key: nothing_but_the_api_is_served",
    "NO_REDOC": "every_key: nothing_but_the_api_is_served",
    "LANGFUSE_OTEL_HOST": "callbacks: collectors_hear_of_a_request_and_not_what_was_said",
    "LANGFUSE_PUBLIC_KEY": "callbacks: each_collector_gets_its_own_key",
    "LANGFUSE_SECRET_KEY": "callbacks: each_collector_gets_its_own_key",
    "OTEL_ENDPOINT": "callbacks: collectors_hear_of_a_request_and_not_what_was_said",
    "OTEL_EXPORTER": "callbacks: collectors_hear_of_a_request_and_not_what_was_said",
    "OTEL_HEADERS": "callbacks: each_collector_gets_its_own_key",
    "PROVIDER_KEY_ANTHROPIC": "providers: the_next_provider_answers_when_the_first_is_down_too",
    "PROVIDER_KEY_OPENAI": "providers: the_first_provider_answers_when_the_server_is_down",
    "REDIS_CIRCUIT_BREAKER_RECOVERY_TIMEOUT": "redis: limits_are_shared_again_soon_after_redis_is_back",
    "REDIS_HOST": "limits: requests_per_minute_are_exact_over_both_replicas",
    "REDIS_PASSWORD": "limits: requests_per_minute_are_exact_over_both_replicas",
    "REDIS_PORT": "limits: requests_per_minute_are_exact_over_both_replicas",
    "REPEATED_STREAMING_CHUNK_LIMIT": "streams: equal_chunks_are_not_taken_for_a_loop",
}  # fmt: skip
# Keys without which the tests of their matter pass as well (they were taken away one by one), and why they stay.
WRITTEN_OUT = {
    "router_settings.routing_strategy": "LiteLLM's default: another version may have another",
    "router_settings.num_retries": "LiteLLM's default where the stack says nothing else",
    "router_settings.allowed_fails": "LiteLLM's default",
    "router_settings.cooldown_time": "for how long a failing server is not asked, which no test waits for",
    "router_settings.allowed_fails_policy.RateLimitErrorAllowedFails": "1.109.1 does not count its own 429 either",
    "router_settings.cache_kwargs.socket_connect_timeout": "a host that is gone, which loopback cannot play",
    "router_settings.redis_host": "replicas tell each other of failing servers; limits need only REDIS_HOST",
    "router_settings.redis_port": "the same",
    "router_settings.redis_password": "the same",
    "general_settings.custom_auth_run_common_checks": "the role's routes: a second wall behind the guard",
}
# Keys and variables for the place where the pod runs, or for what cannot be played here: what they are for.
OF_THE_PLACE = {
    "DISABLE_SCHEMA_UPDATE": "the migration Job alone changes tables; serving pods have no engine for it",
    "GRACEFUL_SHUTDOWN_TIMEOUT": "tests/local: a request in flight survives an orderly stop",
    "HOME": "the root file system is read-only",
    "LITELLM_LOCAL_MODEL_COST_MAP": "there is no internet: without it a start waits for three tries to fetch prices",
    "LITELLM_LOG": "how much is logged",
    "LITELLM_MIGRATION_DIR": "the root file system is read-only",
    "LITELLM_MODE": "no .env file is read",
    "LITELLM_PRISMA_COMMAND_TIMEOUT": "how long a start looks at the schema, with an engine that is a stub here",
    "LITELLM_SALT_KEY": "encrypts credentials in the database, of which this program stores none",
    "litellm_settings.prometheus_metrics_max_series_per_metric": "a second wall, 2,000 series behind the first",
    "XDG_CACHE_HOME": "the root file system is read-only",
}


def keys(value: Any, path: str = "") -> set[str]:
    """The paths of all keys that hold a value or a list of values; a list of models is looked into."""
    if isinstance(value, list) and value and isinstance(value[0], dict) and path == "model_list":
        return set().union(*(keys(item, path) for item in value))
    if isinstance(value, dict) and value:
        return set().union(*(keys(item, f"{path}.{key}".lstrip(".")) for key, item in value.items()))
    return {path}


def test_every_rendered_key_is_claimed():
    """In both stacks of this tier, which have everything that can be said of a gateway."""
    found: set[str] = set()
    for config in (stacks.everything(), stacks.with_database()):
        done = rendered(config)
        found |= keys(yaml.safe_load(done.files["config.yaml"]))
        names = {item["name"] for container in done.pod["containers"] for item in container.get("env", [])}
        found |= {name for name in names if not name.startswith("KEY_VLLM_")}
    assert sorted(found - {*CLAIMS, *WRITTEN_OUT, *OF_THE_PLACE}) == []
    assert sorted({*CLAIMS, *WRITTEN_OUT, *OF_THE_PLACE} - found) == []


def test_every_claim_names_a_test():
    """A renamed test takes its claims along."""
    missing = []
    for claim in set(CLAIMS.values()):
        file, _, name = claim.partition(": ")
        if not hasattr(import_module(f"tests.gateway.test_{file}"), f"test_{name}"):
            missing.append(claim)
    assert missing == []


def test_requests_are_counted(pair: Pair, fakes: Fakes):
    """On the port of the metrics, with the names that alerts use."""
    fakes.server("vllm-plain").behaviour = Behaviour()
    assert chat(pair[0].url, "plain", stacks.MASTER).status == 200
    url, _, path = pair[0].metrics_url.rpartition("/")
    counted = re.compile(
        r'^litellm_deployment_success_responses_total\{.*model_id="vllm-plain".*\} [1-9]', re.MULTILINE
    )
    # counted just after the answer
    wait_for(lambda: counted.search(request(url, f"/{path}").text), 15, "the request is counted")


@pytest.mark.parametrize("key", [None, "", "sk-wrong-0123456789abcdef", stacks.MASTER[:-1]])
def test_a_wrong_key_is_401_without_a_database(pair: Pair, fakes: Fakes, key: str | None):
    """None, an empty one, another, a shorter one."""
    body = {"model": "plain", "messages": [{"role": "user", "content": "x"}]}
    assert request(pair[0].url, "/v1/chat/completions", body, key).status == 401
    assert fakes.server("vllm-plain").asked == []


def test_nothing_but_the_api_is_served(databased: Databased):
    """No documentation, and nobody signs in to the administration; not even the master key, which passes the guard."""
    url = databased.proxies[0].url
    paths = ("/docs", "/redoc", "/openapi.json")
    found = {path: request(url, path, key=stacks.MASTER).status for path in paths}
    assert found == dict.fromkeys(paths, 404)
    # LiteLLM serves the empty page of its administration all the same; what leads into it says that it is disabled
    assert "DISABLE_ADMIN_UI" in request(url, "/sso/key/generate", key=stacks.MASTER).text


def test_an_answer_costs_what_its_tokens_cost(pair: Pair, fakes: Fakes):
    """Read and written tokens at their own prices, as planned."""
    fakes.server("vllm-plain").behaviour = Behaviour(prompt_tokens=2000, completion_tokens=100)
    route = next(route for route in stack(stacks.everything()).plan.gateway.routes if route.server == "vllm-plain")
    wanted = 2000 * route.input_cost_per_token + 100 * route.output_cost_per_token
    cost = float(chat(pair[0].url, "plain", stacks.MASTER).headers["x-litellm-response-cost"])
    assert (wanted > 0, cost) == (True, pytest.approx(wanted))


def test_what_is_logged_is_json(pair: Pair, fakes: Fakes):
    """Every line of an error that the proxy itself writes."""
    fakes.server("vllm-plain").behaviour = Behaviour(status=500)
    assert chat(pair[0].url, "plain", stacks.MASTER).status == 500
    lines = [line for line in pair[0].log.splitlines() if '"level"' in line or "Traceback" in line]
    assert [line for line in lines if not line.startswith("{")] == []
