"""Keys of LiteLLM's file that are the user's: known to its version, not the stack's own, and no door in it.

LiteLLM keeps a key that it does not know without a word, so each is looked up. Which keys are decided here, and by
which field, and which are refused whatever their value, are tables.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from catalog.engine import Engine
from planning.stack.chart_values import secrets_by_value
from settings.problems import Problem, nearest
from settings.schema import StackSettings

Table = Mapping[str, str]

REFERENCE = "os.environ/"
_STACK = "is decided by the stack"
_CALLBACKS = "is decided by gateway.callbacks and gateway.audit; set those"
_FALLBACKS = "is decided by models.NAME.fallbacks, which knows what may leave; set that"
_REDIS = "is decided by gateway.redis; set that"
_DATABASE = "is decided by gateway.database; set that"
_TIMEOUTS = "is decided by gateway.requestTimeoutS and gateway.firstTokenTimeoutS; set those"
_CODE = "is code that the image does not have"
_NAMES = "names of models are those of models, adapters and gateway.providers"
_HEADERS = "headers of a client would reach a server, or say who the client is"
_KEYS = "keys are in Secrets, and who has none is refused"
_PROMPTS = "what people ask would be kept or logged; gateway.audit.prompts says so where it is meant to"
_COUNTS = "limits and budgets would not count"
_CHECKED = "addresses that clients name would no longer be looked at"
# proxy/auth/auth_checks.py, auth_utils.py and proxy_server.py, 1.109.1, premium_user
_ENTERPRISE = "is of LiteLLM's Enterprise licence, without which it does nothing, or stops the proxy"
# Section → key → who decides it, or why nobody sets it.
DECIDED: Mapping[str, Table] = {
    "general_settings": {
        "master_key": "is decided by gateway.existingSecret, or gatewayMasterKey; set one of them",
        "coordination_redis": _REDIS,
        "use_redis_transaction_buffer": _REDIS,
        **dict.fromkeys(("custom_auth", "custom_auth_run_common_checks", "cancel_on_disconnect"), _STACK),
        **dict.fromkeys(("database_connection_pool_limit", "user_api_key_cache_ttl"), _STACK),
        **dict.fromkeys(("database_url", "database_type", "database_args"), _DATABASE),
        "allow_requests_on_db_unavailable": "is decided by gateway.database.whenAway; set that",
        "disable_prisma_schema_update": "is decided by the migration Job",
        "dangerously_permit_weak_or_unset_master_key": _KEYS,
        "allow_user_auth": _KEYS,
        "public_routes": _KEYS,
        "infer_model_from_keys": _KEYS,
        "litellm_key_header_name": "clients, pages and probes send keys as Authorization",
        "allow_client_side_credentials": "a client would say where its request goes, and with whose key",
        "forward_client_headers_to_llm_api": _HEADERS,
        "forward_llm_provider_auth_headers": _HEADERS,
        "forward_openai_org_id": _HEADERS,
        "user_header_name": _HEADERS,
        "user_header_mappings": _HEADERS,
        "store_prompts_in_spend_logs": _PROMPTS,
        "store_model_in_db": _NAMES,
        "supported_db_objects": _NAMES,
        "completion_model": _NAMES,
        "pass_through_endpoints": "a path beside the API would be asked without limits, and outside is closed",
        "disable_spend_logs": _COUNTS,
        "disable_spend_updates": _COUNTS,
        "disable_reset_budget": _COUNTS,
        "user_url_validation": _CHECKED,
        "background_health_checks": "it would ask servers for answers, and wake those that are at zero",
        "enable_health_check_routing": "the kubelet says which server answers",
        "proxy_config_reload_interval_seconds": "another configuration starts other pods",
        **dict.fromkeys(
            (
                "enable_jwt_auth", "litellm_jwtauth", "litellm_license", "enforce_rbac", "enforced_params",
                "allowed_ips", "allowed_routes", "admin_only_routes", "max_request_size_mb", "max_response_size_mb",
            ),
            _ENTERPRISE,
        ),
        **dict.fromkeys(
            (
                "custom_key_generate", "custom_key_policy", "custom_key_update", "custom_sso", "plugins",
                "custom_team_metadata_validate", "custom_ui_sso_sign_in_handler",
            ),
            _CODE,
        ),
        **dict.fromkeys(
            ("key_management_settings", "key_management_system", "use_azure_key_vault", "use_google_kms"),
            "keys are in Secrets of the cluster; an operator of external secrets brings others there",
        ),
        "drain_endpoint_token": "pods end by their grace period, and have no such endpoint",
        "enable_drain_endpoint": "pods end by their grace period, and have no such endpoint",
    },
    "router_settings": {
        **dict.fromkeys(
            (
                "routing_strategy", "routing_strategy_args", "retry_policy", "allowed_fails", "allowed_fails_policy",
                "cooldown_time", "optional_pre_call_checks", "enable_weighted_failover", "cache_kwargs",
                "fallback_on_unsupported_params",
            ),
            _STACK,
        ),
        "num_retries": "is decided by gateway.retries; set that",
        **dict.fromkeys(
            ("fallbacks", "context_window_fallbacks", "content_policy_fallbacks", "default_fallbacks"), _FALLBACKS
        ),
        **dict.fromkeys(("redis_url", "redis_host", "redis_port", "redis_password", "redis_db"), _REDIS),
        **dict.fromkeys(("timeout", "stream_timeout"), _TIMEOUTS),
        **dict.fromkeys(("model_group_alias", "default_litellm_params", "routing_groups"), _NAMES),
        **dict.fromkeys(("plugins", "guardrail_list"), _CODE),
        "set_verbose": _PROMPTS,
        "debug_level": _PROMPTS,
        "cache_responses": "an answer to one key would be given to another",
        "enable_health_check_routing": "the kubelet says which server answers",
    },
    "litellm_settings": {
        **dict.fromkeys(
            (
                "callbacks", "success_callback", "failure_callback", "service_callback", "audit_log_callbacks",
                "turn_off_message_logging",
            ),
            _CALLBACKS,
        ),
        "prometheus_metrics_config": "is decided by the alerts, which read these metrics",
        "prometheus_exclude_metrics": "is decided by the alerts, which read these metrics",
        "prometheus_exclude_labels": "is decided by the alerts, which read these metrics",
        "prometheus_metrics_max_series_per_metric": "is decided by the alerts, which read these metrics",
        "prometheus_latency_buckets": "is decided by the alerts, which read these metrics",
        **dict.fromkeys(
            (
                "expose_router_debug_in_errors", "json_logs", "sse_keepalive_ping_interval_seconds",
                "budget_exceeded_status_code", "enable_redis_auth_cache", "allowed_fails",
            ),
            _STACK,
        ),
        **dict.fromkeys(("num_retries", "num_retries_per_request"), "is decided by gateway.retries; set that"),
        "request_timeout": _TIMEOUTS,
        **dict.fromkeys(
            ("fallbacks", "context_window_fallbacks", "content_policy_fallbacks", "default_fallbacks"), _FALLBACKS
        ),
        "model_alias_map": _NAMES,
        "cache": "an answer to one key would be given to another",
        "cache_params": "an answer to one key would be given to another",
        **dict.fromkeys(("set_verbose", "log_raw_request_response", "log_level"), _PROMPTS),
        **dict.fromkeys(("post_call_rules", "guardrails"), _CODE),
        **dict.fromkeys(("ssl_verify", "ssl_certificate", "ssl_security_level"), "is decided by cluster.caBundle"),
        "user_url_validation": _CHECKED,
        "add_user_information_to_llm_headers": "names of people would be sent to whoever answers",
    },
}  # fmt: skip
# Sections of its file that are the stack's → by which field.
SECTIONS: Table = {
    "model_list": "is decided by models and gateway.providers; set those",
    "environment_variables": "is decided by gateway.env and gateway.secretEnv; set those",
    "include": "another file would take the place of the stack's",
    "guardrails": _CODE,
    "callback_settings": _CALLBACKS,
}
# Keys that work, and what they cost → the rest of a sentence.
SAID: Table = {
    "alerting": "needs a way out of the gateway, in network.extraEgress",
    "alert_to_webhook_url": "needs a way out of the gateway, in network.extraEgress",
    "use_x_forwarded_for": "believes what a client says its address is, unless the edge writes it anew",
    "return_response_headers": "shows clients what servers answered with",
    "expose_fallback_errors_to_caller": "shows clients names of other models",
    "disable_budget_reservation": "lets requests that run at once exceed a budget together",
    "max_parallel_requests": "is counted by each pod for itself",
    "global_max_parallel_requests": "is counted by each pod for itself",
}
WORDS: Mapping[str, tuple[tuple[type, ...], str]] = {
    "bool": ((bool,), "true or false"),
    "int": ((int,), "a whole number"),
    "float": ((int, float), "a number"),
    "str": ((str,), "text"),
    "list": ((list,), "a list"),
    "dict": ((dict,), "a mapping"),
}


def known_keys(engine: Engine) -> dict[str, list[str]]:
    """Section → its keys in this version."""
    return {
        "general_settings": engine.general_settings,
        "router_settings": engine.router_settings,
        "litellm_settings": engine.litellm_settings,
    }


def setting_problems(settings: StackSettings, engine: Engine) -> Iterator[Problem]:
    """Keys that are the stack's, unknown to LiteLLM, of another type, or a door; and secrets by value."""
    known, gateway = known_keys(engine), settings.gateway
    for section, values in gateway.settings.items():
        path = f"gateway.settings.{section}"
        if section not in known:
            yield Problem(path, SECTIONS.get(section) or f"is no section of LiteLLM's file{nearest(section, known)}")
            continue
        for key, value in values.items():
            where = f"{path}.{key}"
            if why := DECIDED[section].get(key):
                yield Problem(where, why)
            elif key not in known[section]:
                elsewhere = [other for other, keys in known.items() if key in keys]
                hint = f"; it is a key of {elsewhere[0]}" if elsewhere else nearest(key, known[section])
                yield Problem(where, f"LiteLLM {engine.version} has no such key in {section}{hint}")
            elif value is None:
                yield Problem(where, "is empty; give a value, or leave the key out")
            else:
                yield from _type_problems(engine.setting_types.get(section, {}), key, value, where)
                yield from _secret_problems(key, value, where, {*gateway.env, *gateway.secret_env})


def _type_problems(types: Mapping[str, Any], key: str, value: object, path: str) -> Iterator[Problem]:
    """A value of another type than LiteLLM's own; of keys that it has no type for, nothing is known."""
    if _is_reference(value):
        return
    words = types.get("words", {}).get(key)
    if words and value not in words:
        hint = nearest(str(value), words) if isinstance(value, str) else ""
        yield Problem(path, f"must be one of {', '.join(map(str, words))}{hint if hint.startswith('; did') else ''}")
    for word, (python, said_as) in WORDS.items():
        if key in types.get(word, ()) and (
            not isinstance(value, python) or (isinstance(value, bool) and word != "bool")
        ):
            yield Problem(path, f"must be {said_as}")


def _is_reference(value: object) -> bool:
    return isinstance(value, str) and value.startswith(REFERENCE)


def _secret_problems(key: str, value: object, path: str, names: set[str]) -> Iterator[Problem]:
    holder = path.removesuffix(f".{key}")
    for where in secrets_by_value({key: _without_references(value)}, holder):
        yield Problem(where, f"looks like a secret; write {REFERENCE}NAME, and give gateway.secretEnv.NAME")
    for name in _references(value):
        if name not in names:
            yield Problem(path, f"no variable {name} is there; give gateway.secretEnv.{name}")


def _without_references(value: Any) -> Any:
    match value:
        case dict():
            return {key: _without_references(inner) for key, inner in value.items()}
        case list():
            return [_without_references(inner) for inner in value]
        case _:
            return "" if _is_reference(value) else value


def _references(value: Any) -> Iterator[str]:
    match value:
        case dict():
            for inner in value.values():
                yield from _references(inner)
        case list():
            for inner in value:
                yield from _references(inner)
        case str() if _is_reference(value):
            yield value.removeprefix(REFERENCE)
        case _:
            pass


def setting_warnings(settings: StackSettings) -> Iterator[str]:
    """Sentences about keys that work and cost something."""
    for section, values in settings.gateway.settings.items():
        for key in values:
            if why := SAID.get(key):
                yield f"gateway.settings.{section}.{key} {why}"
