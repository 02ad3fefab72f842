"""Tracing of requests elsewhere: LiteLLM's own callbacks, what they read, and the ways there.

Offered are those whose packages the image has: Langfuse by its OpenTelemetry endpoint and any collector by OTLP over
HTTP, both from opentelemetry-sdk and -exporter-otlp of LiteLLM's extra `proxy-runtime`, which its Dockerfiles install
(1.109.1, wheel metadata; BerriAI/litellm@004c6b1 docker/Dockerfile.non_root).
"""

from collections.abc import Iterator

from catalog.schema import Networks
from planning.gateway.outside import Places
from planning.plan.access import SecretVariable
from planning.plan.callbacks import CallbackPlan
from planning.stack.network import endpoint_problems, is_inside
from settings.problems import Problem
from settings.schema import StackSettings

# LiteLLM's names of them, and those of their places.
LANGFUSE, OTEL = "langfuse_otel", "otel"
# Entries of the user's Secrets, with the variables that LiteLLM reads.
LANGFUSE_KEYS = {"LANGFUSE_PUBLIC_KEY": "public-key", "LANGFUSE_SECRET_KEY": "secret-key"}
OTEL_HEADERS, HEADERS_ENTRY = "OTEL_HEADERS", "headers"


def plan_callbacks(settings: StackSettings) -> CallbackPlan | None:
    """None: nobody hears of requests."""
    callbacks = settings.gateway.callbacks
    if callbacks is None:
        return None
    names: list[str] = []
    environment: dict[str, str] = {}
    secrets: list[SecretVariable] = []
    if langfuse := callbacks.langfuse:
        names.append(LANGFUSE)
        environment["LANGFUSE_OTEL_HOST"] = langfuse.endpoint.rstrip("/")
        secrets += [
            SecretVariable(name, langfuse.existing_secret, entry) for name, entry in sorted(LANGFUSE_KEYS.items())
        ]
    if otel := callbacks.otel:
        names.append(OTEL)
        environment |= {"OTEL_EXPORTER": "otlp_http", "OTEL_ENDPOINT": otel.endpoint.rstrip("/")}
        if otel.existing_secret:
            secrets.append(SecretVariable(OTEL_HEADERS, otel.existing_secret, HEADERS_ENTRY))
    return CallbackPlan(tuple(names), environment, tuple(secrets), callbacks.prompts)


def callback_places(settings: StackSettings) -> Places:
    """Name of the place → where it is."""
    callbacks = settings.gateway.callbacks
    places = {"langfuse": callbacks.langfuse, "otel": callbacks.otel} if callbacks else {}
    return {name: (at, "") for name, at in places.items() if at is not None}


def callback_problems(settings: StackSettings, networks: Networks) -> Iterator[Problem]:
    """No callback at all, places that nothing may lead to, and content that LiteLLM would keep from the audit too."""
    callbacks = settings.gateway.callbacks
    if callbacks is None:
        return
    path = "gateway.callbacks"
    if not callback_places(settings):
        yield Problem(path, "names none; write langfuse or otel, or leave callbacks out")
    for name, at in (("langfuse", callbacks.langfuse), ("otel", callbacks.otel)):
        if at is None:
            continue
        yield from endpoint_problems(at, f"{path}.{name}", networks, settings.cluster.namespace, "collector")
        if at.endpoint.startswith("http://") and not is_inside(at):
            yield Problem(f"{path}.{name}.endpoint", f'"{at.endpoint}" would send in clear; write https://')
    if settings.gateway.audit and settings.gateway.audit.prompts and not callbacks.prompts:
        yield Problem(
            "gateway.audit.prompts",
            "LiteLLM shows contents to all of its callbacks or to none; write gateway.callbacks.prompts: true as well, "
            "or leave it out",
        )
