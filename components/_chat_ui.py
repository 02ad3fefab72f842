"""A page to chat with (Open WebUI): one pod, a claim that outlives it, and a host of its own at the gateway's edge."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pulumi
import pulumi_kubernetes as k8s

from components import _authorities, _exposure, _k8s
from components._account import service_account
from components._kept_claim import kept_claim
from components._litellm_pod import TMP
from components._policies import policies
from components.keys import Keys, MasterKey, own_secret
from planning.gateway.chat_ui import ALIVE_PATH, DATA, PORT, READY_PATH
from planning.gateway.routing import PORT as GATEWAY_PORT
from planning.plan.gateway import CHAT_UI, ChatUiPlan
from planning.server import scratch, small_pods
from planning.server.scratch import quantity

EVERYTHING = (("/", True),)


@dataclass(frozen=True)
class AskedGateway:
    """The gateway that it asks: the API's base URL, its pods, where keys come from, and what has to be there before."""

    url: pulumi.Input[str]
    match: Mapping[str, str]
    keys: Keys
    timeout_s: int
    resources: Sequence[pulumi.Resource]


def chat_ui(
    name: str, namespace: pulumi.Input[str], plan: ChatUiPlan, gateway: AskedGateway, parent: pulumi.Resource
) -> None:
    """Declare it. Its key is there, and known to the gateway, before its pod starts."""
    opts = pulumi.ResourceOptions(parent=parent)
    match = _k8s.selector(CHAT_UI, CHAT_UI)
    labels = _k8s.labels(CHAT_UI, "chat-ui", CHAT_UI)
    metadata: Any = {"namespace": namespace, "name": CHAT_UI, "labels": labels}
    account = service_account(name, metadata, plan.image, opts)
    claim = kept_claim(name, metadata, plan.gib, plan.storage_class, parent)
    rules = policies(name, metadata, CHAT_UI, _network(plan, gateway, match), opts)
    service = k8s.core.v1.Service(
        name,
        metadata=_k8s.annotated(metadata, _exposure.service_annotations(plan.exposure)),
        spec=_k8s.service_spec(match, "http", PORT),
        opts=opts,
    )
    key = _key(name, {"namespace": namespace, "labels": labels}, plan, gateway.keys, opts)
    timeout = f"{plan.await_timeout_s}s"
    spec: Any = {
        "replicas": 1,
        "serviceName": CHAT_UI,
        # otherwise a pod that never gets ready is waited for, and not replaced by what mends it
        "podManagementPolicy": "Parallel",
        "selector": {"matchLabels": match},
        "revisionHistoryLimit": 3,
        "template": {
            "metadata": {"labels": labels},
            "spec": _pod(plan, gateway.url, key, account.metadata.name, claim.metadata.name),
        },
    }
    k8s.apps.v1.StatefulSet(
        name,
        metadata=metadata,
        spec=spec,
        opts=pulumi.ResourceOptions(
            parent=parent,
            depends_on=[claim, *rules, *gateway.resources],
            custom_timeouts=pulumi.CustomTimeouts(create=timeout, update=timeout),
        ),
    )
    backend = _exposure.Backend(service.metadata.name, PORT, EVERYTHING, gateway.timeout_s)
    _exposure.route(name, metadata, plan.exposure, backend, opts)


def _network(plan: ChatUiPlan, gateway: AskedGateway, match: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    """Whoever the edge sends may ask; it reaches the gateway, and where people sign in."""
    to_gateway = {"to": [_k8s.pods(gateway.match)], "ports": _k8s.tcp(GATEWAY_PORT)}
    return {
        "": _k8s.network_policy(match, ingress=[{"ports": _k8s.tcp(PORT)}], egress=[to_gateway]),
        **{
            f"-to-{place}": _k8s.network_policy(match, egress=_k8s.egress(rules))
            for place, rules in plan.way.egress.items()
        },
    }


def _key(name: str, metadata: Any, plan: ChatUiPlan, keys: Keys, opts: pulumi.ResourceOptions) -> pulumi.Input[str]:
    """Name of the Secret with its team's key.

    The team's own Secret is called the same whatever its values are. A derived one is put into another as well, which
    the engine names anew with each master key, so that the pod starts anew with it.
    """
    if plan.derived_for is None or not isinstance(keys, MasterKey):
        return plan.key.secret
    return own_secret(f"{name}-key", metadata, {plan.key.entry: keys.derived(plan.derived_for)}, opts)


def _pod(
    plan: ChatUiPlan,
    url: pulumi.Input[str],
    key: pulumi.Input[str],
    account: pulumi.Input[str],
    claim: pulumi.Input[str],
) -> dict[str, Any]:
    bundle = plan.way.ca_bundle
    volumes = [
        {"name": "data", "persistentVolumeClaim": {"claimName": claim}},
        *_k8s.scratch_volumes(scratch.CHAT_UI),
        *([_authorities.volume(bundle)] if bundle else []),
    ]
    mounts = [
        {"name": "data", "mountPath": DATA},
        {"name": "tmp", "mountPath": TMP},
        *([_authorities.MOUNT] if bundle else []),
    ]
    # an address inside the cluster, a home that is writable, and a copy of the page's own files beside the image's
    values = {
        **plan.environment,
        **plan.way.environment,
        "HOME": TMP,
        "OPENAI_API_BASE_URL": url,
        "STATIC_DIR": f"{TMP}/static",
    }
    container = {
        "name": CHAT_UI,
        "image": plan.image.reference,
        "env": [
            *_k8s.env(values),
            _k8s.secret_env(plan.key.name, key, plan.key.entry),
            *(
                _k8s.secret_env(variable.name, variable.secret, variable.entry)
                for variable in (*plan.secrets, *plan.way.secrets)
            ),
        ],
        "ports": [{"name": "http", "containerPort": PORT, "protocol": "TCP"}],
        "resources": {
            "requests": _k8s.requests(small_pods.CHAT_UI),
            "limits": {"memory": quantity(small_pods.CHAT_UI_LIMIT_MIB)},
        },
        "securityContext": _k8s.DROP_ALL,
        **_k8s.probes(
            plan.probes,
            {"httpGet": {"path": ALIVE_PATH, "port": "http"}},
            startup={"httpGet": {"path": READY_PATH, "port": "http"}},
        ),
        "volumeMounts": mounts,
    }
    return {
        **_k8s.restricted_pod(account, plan.image, [container], volumes),
        "affinity": _k8s.off_gpu_nodes(),
        "terminationGracePeriodSeconds": plan.grace_s,
    }
