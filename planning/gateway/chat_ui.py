"""A page to chat with (Open WebUI) behind the gateway's edge: what it is told, whom it lets in, where it may go.

Variables: open-webui 0.12.4, open_webui/env.py and config.py. Everything follows from the stack file at every start
(ENABLE_PERSISTENT_CONFIG); what somebody changes on its pages of settings lasts until then.
"""

from collections.abc import Iterator, Mapping

from catalog.load import Catalog
from catalog.schema import Networks
from planning.gateway.edges import EdgeTarget, plan_exposure
from planning.gateway.outside import plan_outside
from planning.plan.access import SecretVariable
from planning.plan.gateway import CHAT_UI as CHAT_UI_NAME
from planning.plan.gateway import ChatUiPlan
from planning.plan.pods import ImagePlan
from planning.plan.teams import TeamPlan, TeamsPlan
from planning.stack.network import endpoint_problems, host_of, is_inside
from planning.stack.timing import CHAT_UI
from settings.doubt import judge
from settings.problems import Problem, nearest
from settings.schema import (
    ChatUiSettings,
    ClusterOnly,
    GatewayApiExposure,
    IngressExposure,
    RouteExposure,
    StackSettings,
)

PORT = 8080
ALIVE_PATH, READY_PATH = "/health", "/ready"
# Where its claim is mounted. Beside what the image has below /app/backend/data, which are the models it needs offline.
DATA = "/data"
DISCOVERY = "/.well-known/openid-configuration"
CLIENT_ENTRY, SESSION_ENTRY, ADMIN_ENTRY = "client-secret", "session-key", "admin-password"
# The first account is the administrator's, whoever signs in first (utils/oauth.py, routers/auths.py). One that nobody
# can sign in to has that place where nobody is to be it: RFC 2606 gives the domain to no one.
NOBODY = "nobody@chat-ui.invalid"
# What does not follow from the stack file.
FIXED = {
    # its own count of who uses it
    "ANONYMIZED_TELEMETRY": "false",
    "DO_NOT_TRACK": "true",
    "SCARF_NO_ANALYTICS": "true",
    # nothing is fetched: no model of a hub, no package, no news of versions
    "ENABLE_PIP_INSTALL_FRONTMATTER_REQUIREMENTS": "false",
    "OFFLINE_MODE": "true",
    # the models of the team are for everybody who may sign in; the key says which they are
    "BYPASS_MODEL_ACCESS_CONTROL": "true",
    "DEFAULT_USER_ROLE": "user",
    "ENABLE_OLLAMA_API": "false",
    # Python that an administrator writes would run in the pod
    "ENABLE_PLUGINS": "false",
    "ENABLE_COMMUNITY_SHARING": "false",
    # nobody reads chats of others
    "ENABLE_ADMIN_CHAT_ACCESS": "false",
    "ENABLE_ADMIN_EXPORT": "false",
    # one way in
    "ENABLE_API_KEYS": "false",
    "ENABLE_LOGIN_FORM": "false",
    "ENABLE_OAUTH_SIGNUP": "true",
    "ENABLE_PASSWORD_AUTH": "false",
    "ENABLE_SIGNUP": "false",
    "WEBUI_SESSION_COOKIE_SECURE": "true",
    "ENABLE_PERSISTENT_CONFIG": "false",
}


def plan_chat_ui(
    settings: StackSettings,
    teams: TeamsPlan | None,
    images: Mapping[str, ImagePlan],
    catalog: Catalog,
    timeout_s: int,
) -> ChatUiPlan | None:
    """None: there is none, or not what it needs, which `chat_ui_problems` says. `timeout_s`: of the gateway's route."""
    page = settings.gateway.chat_ui
    team = next((each for each in (teams.teams if teams else ()) if page and each.name == page.team), None)
    if page is None or team is None:
        return None
    place = EdgeTarget(
        CHAT_UI_NAME, page.host, PORT, ALIVE_PATH, timeout_s, CHAT_UI.grace_s, page.tls_secret, page.section_name
    )
    if (exposure := plan_exposure(settings, catalog, place)) is None:
        return None
    keys = [key for key in team.keys if key.name == page.key]
    if not keys:
        return None
    newest = max(keys, key=lambda key: key.generation)
    url = f"https://{page.host}"
    return ChatUiPlan(
        image=images["open-webui"],
        exposure=exposure,
        team=team.name,
        asks_as=newest.alias,
        models=_listed(team),
        issuer=page.oidc.endpoint,
        domains=tuple(page.oidc.allowed_domains),
        admin=page.admin,
        key=SecretVariable("OPENAI_API_KEY", team.secret, newest.entry),
        derived_for=newest.purpose if team.derived else None,
        secrets=(
            SecretVariable("OAUTH_CLIENT_SECRET", page.existing_secret, CLIENT_ENTRY),
            SecretVariable("WEBUI_ADMIN_PASSWORD", page.existing_secret, ADMIN_ENTRY),
            SecretVariable("WEBUI_SECRET_KEY", page.existing_secret, SESSION_ENTRY),
        ),
        environment={**FIXED, **_told(page, url)},
        way=plan_outside({"provider": (page.oidc, host_of(page.oidc.endpoint))}, settings.cluster, catalog.networks),
        storage_class=page.storage_class,
        gib=page.gib,
        probes=CHAT_UI.probes,
        grace_s=CHAT_UI.grace_s,
        await_timeout_s=CHAT_UI.await_timeout_s,
    )


def _told(page: ChatUiSettings, url: str) -> dict[str, str]:
    """Variables that follow from the stack file."""
    return {
        "CORS_ALLOW_ORIGIN": url,
        "DATA_DIR": DATA,
        "OAUTH_ALLOWED_DOMAINS": ",".join(page.oidc.allowed_domains),
        "OAUTH_CLIENT_ID": page.oidc.client_id,
        # whoever comes with the administrator's address is the administrator
        "OAUTH_MERGE_ACCOUNTS_BY_EMAIL": "true" if page.admin else "false",
        "OPENID_PROVIDER_URL": f"{page.oidc.endpoint.rstrip('/')}{DISCOVERY}",
        "OPENID_REDIRECT_URI": f"{url}/oauth/oidc/callback",
        "WEBUI_ADMIN_EMAIL": page.admin or NOBODY,
        "WEBUI_URL": url,
    }


def _listed(team: TeamPlan) -> tuple[str, ...]:
    return tuple(model for model in team.models if model not in team.added)


def chat_ui_problems(settings: StackSettings, networks: Networks) -> list[Problem]:
    """A page that nobody reaches, that has no key, or that would let in whom it should not."""
    page = settings.gateway.chat_ui
    if page is None:
        return []
    path = "gateway.chatUi"
    return [
        *judge(_edge_problems, settings, page, path),
        *judge(_team_problems, settings, page, path),
        *judge(_provider_problems, settings, page, path, networks),
        *judge(_admin_problems, page, path),
    ]


def _admin_problems(page: ChatUiSettings, path: str) -> Iterator[Problem]:
    if page.admin and page.admin.partition("@")[2] not in page.oidc.allowed_domains:
        allowed = ", ".join(page.oidc.allowed_domains)
        yield Problem(f"{path}.admin", f"'{page.admin}' could not sign in: oidc.allowedDomains are {allowed}")


def _provider_problems(
    settings: StackSettings, page: ChatUiSettings, path: str, networks: Networks
) -> Iterator[Problem]:
    """A provider that nobody reaches, or that is none."""
    yield from endpoint_problems(
        page.oidc, f"{path}.oidc", networks, settings.cluster.namespace, "provider where people sign in"
    )
    endpoint = page.oidc.endpoint
    if endpoint.rstrip("/").endswith(DISCOVERY):
        issuer = endpoint.rstrip("/").removesuffix(DISCOVERY)
        yield Problem(f"{path}.oidc.endpoint", f"is its document of discovery; write the issuer, {issuer}")
    if "?" in endpoint or "#" in endpoint:
        yield Problem(
            f"{path}.oidc.endpoint", f'"{endpoint}" is no issuer, which has neither ? nor #; write it without'
        )
    if endpoint.startswith("http://") and not is_inside(page.oidc):
        yield Problem(f"{path}.oidc.endpoint", f'"{endpoint}" would send in clear; write https://')
    hosts = {page.host: "the page itself", settings.gateway.host: "the gateway"}
    if (host := host_of(endpoint)) in hosts:
        yield Problem(f"{path}.oidc.endpoint", f"'{host}' is {hosts[host]}; write where people sign in")


def _edge_problems(settings: StackSettings, page: ChatUiSettings, path: str) -> Iterator[Problem]:
    gateway = settings.gateway
    match gateway.expose:
        case ClusterOnly():
            needs = "add gateway.expose and gateway.host"
            yield Problem(path, f"is reached as the gateway is, which is inside the cluster only; {needs}")
        case IngressExposure(tls=None) if page.tls_secret is None:
            yield Problem(
                f"{path}.tlsSecret",
                f"is missing: who signs in may not be overheard; name a TLS Secret with a certificate for {page.host}",
            )
        case GatewayApiExposure() if page.tls_secret is not None:
            yield Problem(f"{path}.tlsSecret", "the listener of the Gateway ends TLS; leave it out")
        case RouteExposure() if page.tls_secret is not None:
            yield Problem(f"{path}.tlsSecret", "the router ends TLS; leave it out")
        case _:
            pass
    if not isinstance(gateway.expose, GatewayApiExposure | ClusterOnly) and page.section_name is not None:
        yield Problem(f"{path}.sectionName", "only a Gateway has listeners; leave it out")
    if page.host == gateway.host:
        yield Problem(
            f"{path}.host", f"'{page.host}' is the host of the gateway; give the page one of its own, e.g. chat.…"
        )


def _team_problems(settings: StackSettings, page: ChatUiSettings, path: str) -> Iterator[Problem]:
    teams = settings.gateway.teams or {}
    if not teams:
        yield Problem(f"{path}.team", f"'{page.team}' is no team, there are none; add gateway.teams.{page.team}")
    elif page.team not in teams:
        yield Problem(f"{path}.team", f"'{page.team}' is no team of gateway.teams{nearest(page.team, teams)}")
    elif page.key not in teams[page.team].keys:
        keys = teams[page.team].keys
        yield Problem(f"{path}.key", f"'{page.key}' is no key of the team {page.team}{nearest(page.key, keys)}")


def chat_ui_warnings(page: ChatUiPlan | None) -> list[str]:
    """Sentences about what nothing here can know or mend."""
    if page is None:
        return []
    alone = "gateway.chatUi: its chats are on one claim, without a standby and without backups, and are lost with it"
    trusted = (
        f"gateway.chatUi: whoever {host_of(page.issuer)} says is {page.admin} administers it; Open WebUI does not ask "
        "whether an address was proved"
    )
    return [alone, trusted] if page.admin else [alone]
