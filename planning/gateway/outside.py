"""Ways of the gateway out of the cluster, for whatever it asks there: one set of variables for all of them.

LiteLLM reads the proxy from the environment for every connection it makes, those to our own servers included, so that
NO_PROXY has to name the cluster's (1.109.1, llms/custom_httpx/aiohttp_transport.py, tried).
"""

from collections.abc import Mapping

from catalog.schema import Networks
from planning.plan.providers import Outside
from planning.stack.network import HasEndpoint, host_of
from planning.stack.outward import DIRECT_VARIABLES, ITSELF, outward, through_proxy
from settings.schema import ClusterSettings

# What names of Services end in.
SERVICES = (".svc", ".cluster.local")


# Name → (place, host where it is if nothing is said of that).
Places = Mapping[str, tuple[HasEndpoint, str]]


def plan_outside(places: Places, cluster: ClusterSettings, networks: Networks) -> Outside:
    """The ways to all of them; nothing where there are none."""
    ways = {name: outward(at, host, cluster, networks, forwards=False) for name, (at, host) in places.items()}
    environment = {key: value for way in ways.values() for key, value in way.environment.items()}
    if any(through_proxy(at, host, cluster) for at, host in places.values()):
        direct = [
            host_of(at.endpoint) if at.endpoint else host
            for at, host in places.values()
            if not through_proxy(at, host, cluster)
        ]
        environment |= dict.fromkeys(DIRECT_VARIABLES, ",".join(dict.fromkeys((*ITSELF, *SERVICES, *direct))))
    return Outside(
        egress={name: way.egress for name, way in ways.items()},
        environment=environment,
        secrets=tuple(dict.fromkeys(secret for way in ways.values() for secret in way.secrets)),
        ca_bundle=next((way.ca_bundle for way in ways.values() if way.ca_bundle), None),
    )
