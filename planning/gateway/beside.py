"""Modules of ours beside LiteLLM's configuration, the data they read, and what LiteLLM is told of them."""

from collections.abc import Mapping

from planning.gateway.at_zero import AT_ZERO_CALLBACK, AT_ZERO_MODULE
from planning.gateway.providers import PROVIDERS_FILE, PROVIDERS_HOOK, PROVIDERS_MODULE, providers_file
from planning.gateway.surface import surface_file
from planning.plan.gateway import GatewayPlan

# Each is a file of components/pod_scripts: what its object is and does, it says itself.
AUTH_MODULE = "gateway_auth"
AUTH_HOOK = f"{AUTH_MODULE}.check"
SURFACE_MODULE = "gateway_surface"
SURFACE_GUARD = f"{SURFACE_MODULE}.guard"
SURFACE_FILE = "surface.json"
HOOKS_MODULE = "gateway_hooks"
HOOKS = f"{HOOKS_MODULE}.hooks"
AUDIT_MODULE = "gateway_audit"
AUDIT_HOOK = f"{AUDIT_MODULE}.audit"
AUDIT_FILE = "audit.json"


def modules(gateway: GatewayPlan) -> list[str]:
    """The modules, by their names."""
    return [
        *([AUDIT_MODULE] if gateway.audit else []),
        SURFACE_MODULE,
        HOOKS_MODULE,
        *([PROVIDERS_MODULE] if gateway.providers else []),
        *([AT_ZERO_MODULE] if gateway.at_zero else []),
        *([] if gateway.database else [AUTH_MODULE]),
    ]


def data_files(gateway: GatewayPlan) -> Mapping[str, Mapping[str, object]]:
    """File → data that the modules read in it."""
    files = {SURFACE_FILE: surface_file(gateway)}
    if gateway.audit:
        files[AUDIT_FILE] = {"prompts": gateway.audit.prompts}
    if gateway.providers:
        files[PROVIDERS_FILE] = providers_file(gateway)
    return files


def callbacks(gateway: GatewayPlan) -> list[str]:
    """Callbacks that LiteLLM loads and calls, in this order: each puts itself around what is there before it.

    The guard is the outermost; models that a request may reach are looked at after what it holds has been put in place.
    """
    return [
        "prometheus",
        *([AUDIT_HOOK] if gateway.audit else []),
        SURFACE_GUARD,
        HOOKS,
        *([PROVIDERS_HOOK] if gateway.providers else []),
        *([AT_ZERO_CALLBACK] if gateway.at_zero else []),
        *(gateway.callbacks.names if gateway.callbacks else ()),
    ]
