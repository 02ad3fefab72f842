"""The gateway, and how it is reached from outside."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from planning.plan.access import SecretVariable
from planning.plan.additions import Additions
from planning.plan.at_zero import AtZero
from planning.plan.callbacks import CallbackPlan
from planning.plan.edges import EdgePlan
from planning.plan.gateway_size import GatewaySize
from planning.plan.pods import ImagePlan, Probes
from planning.plan.providers import Outside, ProviderPlan
from planning.plan.stores import DatabasePlan, RedisPlan
from planning.plan.teams import TeamsPlan
from planning.tasks import Task

# Names of the objects of the gateway and of the page to chat with, which rules and policies name too.
GATEWAY, CHAT_UI = "litellm", "open-webui"


@dataclass(frozen=True)
class Route:
    """One LiteLLM deployment: a public model name served by one server; limits are its part of the model's."""

    model_name: str
    model: str
    """How LiteLLM calls what it asks the server for."""
    id: str
    """What LiteLLM's metrics call it: the server, and the name where that is not its model's."""
    server: str
    weight: int | None
    requests_per_minute: int | None
    tokens_per_minute: int | None
    input_cost_per_token: float
    output_cost_per_token: float
    input_cost_per_second: float | None
    """None: it is charged by the token."""
    task: Task
    priced_as: str
    """The model whose price and limits it has."""


@dataclass(frozen=True)
class HttpRoute:
    """A route of the Gateway API."""

    host: str
    gateway_name: str
    gateway_namespace: str | None
    section_name: str | None
    edge: EdgePlan = field(default_factory=EdgePlan)

    @property
    def url(self) -> str:
        """The URL for clients; the listener of the gateway ends TLS."""
        return f"https://{self.host}"


@dataclass(frozen=True)
class Ingress:
    """An Ingress; `class_name` None: an annotation says it. `tls_secret`: of a certificate that is in a Secret."""

    host: str
    class_name: str | None
    tls_secret: str | None
    edge: EdgePlan = field(default_factory=EdgePlan)

    @property
    def url(self) -> str:
        """The URL for clients."""
        return f"{'https' if self.edge.secure else 'http'}://{self.host}"


@dataclass(frozen=True)
class HostRoute:
    """Routes of one host, one for each path, of a platform that has them; its router ends TLS."""

    host: str
    edge: EdgePlan = field(default_factory=EdgePlan)

    @property
    def url(self) -> str:
        """The URL for clients."""
        return f"https://{self.host}"


Exposure = HttpRoute | Ingress | HostRoute


@dataclass(frozen=True)
class AuditPlan:
    """Lines about requests; `prompts`: with what was asked and answered."""

    prompts: bool


@dataclass(frozen=True)
class ChatUiPlan:
    """The page to chat with: one pod behind the gateway's edge, and a claim that outlives it.

    `asks_as`: what LiteLLM calls the key it asks with; `key`: that key. `derived_for`: what its value is derived for,
    where nobody gives one. `way`: to the OpenID provider.
    `storage_class` None: the cluster's default.
    """

    image: ImagePlan
    exposure: Exposure
    team: str
    asks_as: str
    models: tuple[str, ...]
    issuer: str
    domains: tuple[str, ...]
    """Those of the e-mail addresses that may sign in."""
    admin: str | None
    key: SecretVariable
    derived_for: str | None
    secrets: tuple[SecretVariable, ...]
    environment: Mapping[str, str]
    way: Outside
    storage_class: str | None
    gib: int
    probes: Probes
    grace_s: int
    await_timeout_s: int


@dataclass(frozen=True)
class GatewayPlan:
    """The OpenAI-compatible endpoint. `route_timeout_s` > all tries together: the gateway, not the route, gives up.

    `request_timeout_s`: one try of a whole answer; `first_token_timeout_s`: silence of a stream. `larger_fallbacks`:
    those of `fallbacks` that are asked when a prompt is too long, since they have more context.

    `redis` is None where the one replica counts in its own memory.
    """

    name: str
    image: ImagePlan
    size: GatewaySize
    server_ports: tuple[int, ...]
    routes: tuple[Route, ...]
    fallbacks: tuple[tuple[str, tuple[str, ...]], ...]
    larger_fallbacks: tuple[tuple[str, tuple[str, ...]], ...]
    request_timeout_s: int
    first_token_timeout_s: int
    route_timeout_s: int
    retries: int
    redis: RedisPlan | None
    database: DatabasePlan | None
    existing_secret: str | None
    exposure: Exposure | None
    """None: reachable inside the cluster only."""
    cpus: int
    memory_gib: int
    restart_after_requests: int | None
    pre_stop_s: int
    close_s: int
    """How long it answers on after SIGTERM, asking clients to close their connections."""
    drain_s: int
    termination_grace_s: int
    probe_grace_s: int
    probes: Probes
    await_timeout_s: int
    providers: tuple[ProviderPlan, ...] = ()
    outside: Outside = field(default_factory=Outside)
    """Places that it asks beyond the stack: providers, collectors."""
    audit: AuditPlan | None = None
    callbacks: CallbackPlan | None = None
    reasons: Mapping[str, str] = field(default_factory=dict)
    at_zero: tuple[AtZero, ...] = ()
    """Names whose requests, while no server is there, are told so at once or wait."""
    teams: TeamsPlan | None = None
    """None: nothing is said of teams, and keys are made by hand if at all."""
    chat_ui: ChatUiPlan | None = None
    additions: Additions = field(default_factory=Additions)

    @property
    def replicas(self) -> int:
        """The fewest."""
        return self.size.fewest
