"""Way of the gateway's pods to Redis: where it is, whose word they take for it, and the Secrets of its passwords."""

from typing import Any

import pulumi

from components import _authorities, _k8s
from planning.plan.stores import BundledRedis, ExistingRedis, RedisPlan, RedisTls, SentinelRedis
from planning.stack.outward import CA_NAME

# Of the Secret with the keys, or of the one that is named.
PASSWORD_ENTRY, SENTINEL_ENTRY = "redis-password", "redis-sentinel-password"
VOLUME, FOLDER = "redis-ca", "/etc/redis-ca"


def variables(redis: RedisPlan | None, keys: pulumi.Input[str]) -> tuple[dict[str, str], list[dict[str, Any]]]:
    """(values, variables from Secrets) that LiteLLM reads; `keys`: the Secret with the gateway's own."""
    match redis:
        case None:
            return {}, []
        case BundledRedis(host=host, port=port):
            address = {"REDIS_HOST": host, "REDIS_PORT": str(port)}
            return address, [_k8s.secret_env("REDIS_PASSWORD", keys, PASSWORD_ENTRY)]
        case ExistingRedis(host=host, port=port, username=username):
            values = {"REDIS_HOST": host, "REDIS_PORT": str(port), **_tls(redis.tls)}
            user = {"REDIS_USERNAME": username} if username else {}
            return {**values, **user}, _password("REDIS_PASSWORD", redis.secret, PASSWORD_ENTRY)
        case SentinelRedis():
            own = _password("REDIS_SENTINEL_PASSWORD", redis.sentinel_secret, SENTINEL_ENTRY)
            return _tls(redis.tls), [*_password("REDIS_PASSWORD", redis.secret, PASSWORD_ENTRY), *own]


def files(redis: RedisPlan | None) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """(volumes, mounts) of the authorities that its certificate is from."""
    tls = redis.tls if isinstance(redis, ExistingRedis | SentinelRedis) else None
    if tls is None or tls.authorities is None:
        return [], []
    volume = {**_authorities.volume(tls.authorities), "name": VOLUME}
    return [volume], [{"name": VOLUME, "mountPath": FOLDER, "readOnly": True}]


def _tls(tls: RedisTls | None) -> dict[str, str]:
    if tls is None:
        return {}
    trusted = {"REDIS_SSL_CA_CERTS": f"{FOLDER}/{CA_NAME}"} if tls.authorities else {}
    return {"REDIS_SSL": "true", **trusted}


def _password(variable: str, secret: str | None, entry: str) -> list[dict[str, Any]]:
    return [_k8s.secret_env(variable, secret, entry)] if secret else []
