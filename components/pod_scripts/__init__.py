"""Scripts that run inside pods, kept as plain files so that they can be read, linted and tested.

Owns their text only. Components put `source(name)` into a ConfigMap and run `python /scripts/<name>.py` in a pinned
image; every script is configured by its environment alone and uses only the standard library, and those of `SHELL`
nothing but a POSIX shell and Postgres' own programs. Those that begin with
`gateway_` use what LiteLLM's image has besides; most of them LiteLLM loads itself, from beside its configuration.
`check_store` uses the streamer of vLLM's, and `buckets` what that streamer uses. What `copy_store`, `fill_store`,
`fetch_adapter`, `fetch_proven`, `gateway_teams` and `prove_weights` import stands beside them in their pods.
"""

from collections.abc import Mapping
from importlib.resources import files

NAMES = (
    *("buckets", "check_shards", "check_store", "compile_cache", "copy_store", "copy_weights"),
    *("fetch_adapter", "fetch_proven", "fetch_weights", "fill_store"),
    *("gateway_admin", "gateway_at_zero", "gateway_audit", "gateway_auth", "gateway_hooks", "gateway_migrate"),
    *("gateway_providers", "gateway_surface", "gateway_teams"),
    "hub_files",
    *("prewarm_weights", "prove_weights", "verify_nodes"),
)
# Script → the others that it imports as it begins, and that these import.
BESIDE: Mapping[str, tuple[str, ...]] = {
    "buckets": ("fetch_weights",),
    "check_shards": ("check_store",),
    "copy_store": ("buckets", "copy_weights", "fetch_weights"),
    "fetch_adapter": ("fetch_proven", "fetch_weights", "prove_weights"),
    "fetch_proven": ("fetch_weights", "prove_weights"),
    "fill_store": ("buckets", "fetch_weights", "hub_files", "prove_weights"),
    "gateway_teams": ("gateway_admin",),
    "hub_files": ("fetch_weights",),
}


# Scripts of a shell, for images without Python.
SHELL = ("start_postgres",)


def source(name: str) -> str:
    """Return the text of one script, by its name without `.py` or `.sh`."""
    if name not in (*NAMES, *SHELL):
        raise ValueError(f"no pod script {name!r}; there are {', '.join((*NAMES, *SHELL))}")
    return files(__name__).joinpath(file_of(name)).read_text(encoding="utf-8")


def file_of(name: str) -> str:
    """Its file, in the package and in pods."""
    return f"{name}.sh" if name in SHELL else f"{name}.py"
