"""Ways of pods to hubs and stores: by themselves or through the proxy of the company, and which authorities they trust.

A pod has the proxy's variables only when the one place that it asks is behind the proxy. NO_PROXY alone would not do:
the S3 client of the streamer goes to the proxy whatever it says (tried with runai-model-streamer 0.17.1).
"""

from collections.abc import Iterable, Iterator, Sequence
from urllib.parse import urlsplit

from catalog.schema import Networks
from planning.plan.access import CaBundle, Outward, SecretVariable
from planning.plan.weights import CheckpointPlan, Hub, ObjectStore, Source
from planning.stack.network import HasEndpoint, endpoint_egress, endpoint_problems, host_of, is_inside
from settings.problems import Problem
from settings.schema import ClusterSettings

# A folder of its own, so that the file can be mounted over nothing.
CA_FOLDER, CA_NAME = "/ca", "ca.crt"
CA_FILE = f"{CA_FOLDER}/{CA_NAME}"
# Clients read one spelling or the other: curl only the small one of http_proxy, Go and Python both.
PROXY_VARIABLES = ("HTTPS_PROXY", "HTTP_PROXY", "https_proxy", "http_proxy")
DIRECT_VARIABLES = ("NO_PROXY", "no_proxy")
ITSELF = ("localhost", "127.0.0.1", "::1")
# Variables of the file with authorities: OpenSSL's, which httpx reads and with it the hub's client, requests', curl's.
TRUST_VARIABLES = ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
# Entry of the Secret of a proxy: its URL with user name and password.
URL_ENTRY = "url"


def outward(
    at: HasEndpoint,
    host: str,
    cluster: ClusterSettings,
    networks: Networks,
    *,
    trust: Sequence[str] = (),
    beside: tuple[HasEndpoint, str] | None = None,
    forwards: bool = True,
) -> Outward:
    """The way to a hub or store without faults.

    `host`: where it is if nothing is said of that; `trust`: variables by which its own client finds authorities;
    `beside`: another that the same pod asks, with its host, which keeps its own way; `forwards`: see `endpoint_egress`.
    """
    trusted = cluster.ca_bundle
    bundle = CaBundle(trusted.kind, trusted.name, trusted.key) if trusted else None
    environment: dict[str, str] = dict.fromkeys((*TRUST_VARIABLES, *trust), CA_FILE) if bundle else {}
    proxy = cluster.proxy
    if proxy is None or not through_proxy(at, host, cluster):
        return Outward(endpoint_egress(at, networks, forwards=forwards), environment, (), bundle)
    # a pod that may connect to the proxy alone has nothing to reach directly, whatever else is
    direct = [*proxy.no_proxy, _name(*beside)] if beside and not through_proxy(*beside, cluster) else []
    environment |= dict.fromkeys(DIRECT_VARIABLES, ",".join(dict.fromkeys((*ITSELF, *direct))))
    secrets: tuple[SecretVariable, ...] = ()
    if proxy.existing_secret:
        secrets = tuple(SecretVariable(name, proxy.existing_secret, URL_ENTRY) for name in PROXY_VARIABLES)
    else:
        environment |= dict.fromkeys(PROXY_VARIABLES, proxy.endpoint)
    return Outward(endpoint_egress(proxy, networks, forwards=False), environment, secrets, bundle)


def through_proxy(at: HasEndpoint, host: str, cluster: ClusterSettings) -> bool:
    """Whether a hub or store is behind the proxy: nothing is that is in the cluster or a private network."""
    if cluster.proxy is None or is_inside(at):
        return False
    name = _name(at, host)
    domains = [entry.removeprefix(".") for entry in cluster.proxy.no_proxy]
    return not any(name == domain or name.endswith(f".{domain}") for domain in domains)


def _name(at: HasEndpoint, host: str) -> str:
    return host_of(at.endpoint) if at.endpoint else host


def proxy_reasons(cluster: ClusterSettings, checkpoints: Iterable[CheckpointPlan]) -> dict[str, str]:
    """Setting → which hubs and buckets are behind the proxy, and which are not; empty without a proxy."""
    if cluster.proxy is None:
        return {}
    ways: dict[bool, dict[str, None]] = {True: {}, False: {}}
    for checkpoint in checkpoints:
        if checkpoint.fetch:
            hub = checkpoint.fetch.hub
            ways[_by_proxy(hub)][hub.endpoint or hub.kind] = None
        if isinstance(checkpoint.place, ObjectStore):
            ways[_by_proxy(checkpoint.source)][checkpoint.place.bucket] = None
    texts = [
        f"{word} to {', '.join(ways[way])}" for way, word in ((True, "through it"), (False, "directly")) if ways[way]
    ]
    return {"cluster.proxy": "; ".join(texts) or "nothing of the stack goes out"}


def _by_proxy(client: Hub | Source) -> bool:
    return PROXY_VARIABLES[0] in {*client.environment, *(secret.name for secret in client.secrets)}


def direct_problems(cluster: ClusterSettings, reached: Iterable[tuple[HasEndpoint, str]]) -> Iterator[Problem]:
    """Exceptions from the proxy that except nothing.

    `reached`: hubs and stores with their hosts; those of each are reached in one way.
    """
    if cluster.proxy is not None:
        behind = dict.fromkeys(_name(*place) for place in reached if through_proxy(*place, cluster))
        for position, entry in enumerate(cluster.proxy.no_proxy):
            for name in behind:
                if entry.endswith(f".{name}"):
                    why = f'"{entry}" is one host of {name}, and all are reached in one way; write {name}'
                    yield Problem(f"cluster.proxy.noProxy[{position}]", why)


def proxy_problems(cluster: ClusterSettings, networks: Networks) -> Iterator[Problem]:
    """Reasons why no pod can reach the proxy, or none may."""
    if cluster.proxy is not None:
        yield from endpoint_problems(cluster.proxy, "cluster.proxy", networks, cluster.namespace, "proxy")
        if urlsplit(cluster.proxy.endpoint).port is None:
            yield Problem("cluster.proxy.endpoint", f'"{cluster.proxy.endpoint}" has no port; write one, such as :3128')
