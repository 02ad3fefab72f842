"""How pods reach hubs and stores: by themselves or through a proxy, and which authorities they trust."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from planning.plan.access import CaBundle, SecretVariable
from planning.plan.pods import EgressRule, EveryNamespace
from planning.plan.weights import Hub, Source
from planning.stack.network import blocks
from planning.stack.outward import CA_FILE, PROXY_VARIABLES
from tests.unit.small_stack import CATALOG, MODEL, planned, properties, refusals, stack

PROXY = "http://proxy.example.com:3128"
TO_PROXY = (EgressRule(blocks(CATALOG.networks, private=True), EveryNamespace(), (3128,)),)
TO_HUB = (EgressRule(blocks(CATALOG.networks, private=False), (), (443,)),)
DIRECT = {"NO_PROXY": "localhost,127.0.0.1,::1", "no_proxy": "localhost,127.0.0.1,::1"}
TOLD = DIRECT | dict.fromkeys(PROXY_VARIABLES, PROXY)
TRUST = dict.fromkeys(("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"), CA_FILE)
NO_XET = {"HF_HUB_DISABLE_XET": "1"}
KEYS = {"kind": "existingSecret", "name": "store"}


def raw(weights: dict[str, Any], platform: str = "generic", **cluster: Any) -> dict[str, Any]:
    """The small stack with such weights, in such a cluster."""
    return stack(weights=weights, cluster={"context": "test", "identifier": "test-1", "platform": platform, **cluster})


def hub(hub: dict[str, Any], **cluster: Any) -> Hub:
    """What downloads from it."""
    (checkpoint,) = planned(raw({"storageClass": "nfs", "hub": hub}, **cluster)).weights.checkpoints
    assert checkpoint.fetch is not None
    return checkpoint.fetch.hub


def store(url: str = "s3://models/published", **changes: Any) -> dict[str, Any]:
    """A bucket with keys in a Secret."""
    return {"kind": "objectStore", "url": url, "credentials": KEYS, **changes}


def source(weights: dict[str, Any], **cluster: Any) -> Source:
    """How the server reads it."""
    (server,) = planned(raw(weights, **cluster)).servers
    return server.checkpoint.source


def test_without_a_proxy_pods_connect_themselves():
    """Nothing is told, and the hub is what they may connect to."""
    direct = hub({})
    assert (direct.environment, direct.secrets, direct.ca_bundle, direct.egress) == ({}, (), None, TO_HUB)


def test_a_hub_behind_the_proxy_is_asked_through_it_alone():
    """Every spelling of the variables, and a way to the proxy's port only."""
    proxied = hub({}, proxy={"endpoint": PROXY})
    assert (proxied.environment, proxied.secrets, proxied.egress) == (TOLD, (), TO_PROXY)


def test_a_proxy_with_a_password_is_in_a_secret_and_nowhere_else():
    """The variables come from its entry."""
    proxied = hub({}, proxy={"endpoint": PROXY, "existingSecret": "proxy"})
    assert proxied.environment == DIRECT
    assert proxied.secrets == tuple(SecretVariable(name, "proxy", "url") for name in PROXY_VARIABLES)


@pytest.mark.parametrize(
    ("mirror", "no_proxy", "proxied"),
    [
        ({"endpoint": "https://hub.example.com"}, [], True),
        ({"endpoint": "https://hub.example.com"}, ["example.com"], False),
        ({"endpoint": "https://hub.example.com"}, [".example.com"], False),
        ({"endpoint": "https://hub.example.com"}, ["hub.example.com"], False),
        ({"endpoint": "https://hub.example.com"}, ["b.example.com", "ub.example.com", "example"], True),
        ({"endpoint": "https://8.8.8.8"}, [], True),
        ({"endpoint": "https://8.8.8.8"}, ["8.8.8.8"], False),
        ({"endpoint": "https://10.0.0.8"}, [], False),
        ({"endpoint": "https://hub.corp"}, [], False),
        ({"endpoint": "https://hub.example.com", "private": True}, [], False),
        ({"endpoint": "http://hub.mirrors.svc:8080"}, [], False),
        ({"endpoint": "http://hub.mirrors.svc.cluster.local"}, [], False),
        ({}, ["huggingface.co"], False),
        ({"kind": "modelscope"}, ["huggingface.co"], True),
        ({"kind": "modelscope"}, ["modelscope.cn"], False),
    ],
)
def test_what_is_in_a_private_network_or_excepted_is_reached_directly(
    mirror: dict[str, Any], no_proxy: list[str], proxied: bool
):
    """A host is excepted by its name, or by a domain it is in."""
    told = hub(mirror, proxy={"endpoint": PROXY, "noProxy": no_proxy}).environment
    assert [name in told for name in PROXY_VARIABLES] == [proxied] * 4


def test_a_bundle_takes_the_place_of_the_images_authorities():
    """Hubs' clients find it by three names; Xet, whose client may not read it, is off unless it is asked for."""
    bundle = {"kind": "secret", "name": "company-ca", "key": "tls-ca.crt"}
    trusting = hub({}, caBundle=bundle)
    assert (trusting.environment, trusting.ca_bundle) == (
        NO_XET | TRUST,
        CaBundle("secret", "company-ca", "tls-ca.crt"),
    )
    assert hub({"xet": True}, caBundle=bundle).environment == TRUST


def test_a_bucket_behind_the_proxy_is_read_through_it():
    """By every server, with its keys and the file by which the store's own client finds authorities."""
    told = source(
        store(region="eu-central-1"),
        proxy={"endpoint": PROXY, "existingSecret": "proxy"},
        caBundle={"kind": "configMap", "name": "company-ca"},
    )
    own = {name: value for name, value in told.environment.items() if name not in {**DIRECT, **TRUST}}
    assert own["AWS_CA_BUNDLE"] == CA_FILE
    assert (told.ca_bundle, told.egress) == (CaBundle("configMap", "company-ca", "ca.crt"), TO_PROXY)
    assert [(key.name, key.secret) for key in told.secrets] == [
        ("AWS_ACCESS_KEY_ID", "store"),
        ("AWS_SECRET_ACCESS_KEY", "store"),
        *((name, "proxy") for name in PROXY_VARIABLES),
    ]


@pytest.mark.parametrize("url", ["s3://models/x", "gs://models/x", "az://models/x"])
def test_a_store_is_excepted_by_its_own_hosts(url: str):
    """A bucket that an endpoint of the network leads to has no proxy in its pods at all: some clients obey no list."""
    host = CATALOG.stores[url[:2]].host
    account = {"account": "models"} if url.startswith("az") else {}
    told = source(store(url, **account), proxy={"endpoint": PROXY, "noProxy": [host]})
    assert {*PROXY_VARIABLES} & {*told.environment} == set()


@pytest.mark.parametrize(
    ("platform", "identity", "url"),
    [("gke", "llm-weights@my-project.iam.gserviceaccount.com", "gs://models/x"), ("eks", None, "s3://m-m/x")],
)
def test_an_identity_that_an_agent_gives_is_refused_behind_a_proxy(platform: str, identity: str | None, url: str):
    """The client of the store would look for the agent behind the proxy; it says what to do instead."""
    who = {"kind": "workloadIdentity"} | ({"identity": identity} if identity else {})
    proxy = {"endpoint": PROXY}
    host = CATALOG.stores[url[:2]].host
    (refusal,) = refusals(raw(store(url, credentials=who), platform, proxy=proxy))
    assert refusal == (
        f"weights.credentials: pods of platform {platform} ask an agent on their node who they are, which the store's "
        f"client would look for behind cluster.proxy; where the bucket can be reached directly, add {host} to "
        "cluster.proxy.noProxy, otherwise use {kind: existingSecret, name: …}"
    )
    assert refusals(raw(store(url, credentials=who), platform, proxy=proxy | {"noProxy": [host]})) == []


@pytest.mark.parametrize(
    ("proxy", "said"),
    [
        ({"endpoint": "http://me:hush@proxy.corp:3128"}, "holds a password in a URL"),
        ({"endpoint": "http://me@proxy.corp:3128"}, "holds a password in a URL"),
        ({"endpoint": "http://proxy.corp"}, '"http://proxy.corp" has no port; write one, such as :3128'),
        ({"endpoint": "socks5://proxy.corp:1080"}, "must match"),
        ({"endpoint": "http://localhost:3128"}, "leads to the pod itself"),
        ({"endpoint": "http://169.254.169.254:80"}, "nothing in the stack may reach it"),
        ({"endpoint": PROXY, "noProxy": ["10.0.0.0/8"]}, '"10.0.0.0/8" is a block of addresses'),
        ({"endpoint": PROXY, "noProxy": ["*.corp"]}, '"*.corp" is neither a host nor a domain'),
    ],
)
def test_a_proxy_that_no_pod_could_use_is_refused(proxy: dict[str, Any], said: str):
    """With what is wrong, and never with the password."""
    (refusal,) = refusals(raw({"storageClass": "nfs"}, proxy=proxy))
    assert said in refusal
    assert "hush" not in refusal


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("HTTPS_PROXY", PROXY, "is decided by cluster.proxy; set that"),
        ("no_proxy", "*", "is decided by cluster.proxy; set that"),
        ("SSL_CERT_FILE", "/x", "is decided by cluster.caBundle; set that"),
        ("HF_ENDPOINT", "https://x", "is decided by weights.hub.endpoint; set that"),
        ("HF_HUB_DISABLE_XET", "1", "is decided by weights.hub.xet; set that"),
        ("TARGET_DIR", "/x", "is decided by the plan"),
        ("MANIFEST_SHA256", "0" * 64, "is decided by the plan"),
        ("HF_TOKEN", "x", "looks like a secret; secrets never go into the environment here"),
        ("1X", "x", '"1X" is not the name of an environment variable'),
    ],
)
def test_variables_of_a_download_that_are_decided_elsewhere_are_refused(name: str, value: str, said: str):
    """They name the setting, where there is one."""
    assert refusals(raw({"storageClass": "nfs", "env": {name: value}})) == [f"weights.env.{name}: {said}"]


def test_further_variables_reach_the_download():
    """As they are written."""
    (checkpoint,) = planned(raw({"storageClass": "nfs", "env": {"HF_HUB_DOWNLOAD_TIMEOUT": "60"}})).weights.checkpoints
    assert checkpoint.fetch is not None
    assert checkpoint.fetch.hub.environment == {"HF_HUB_DOWNLOAD_TIMEOUT": "60"}


def test_the_plan_says_what_goes_through_the_proxy():
    """Each hub and bucket once, by the way that leads to it."""
    plan = planned(
        stack(
            cluster={"context": "test", "identifier": "test-1", "proxy": {"endpoint": PROXY}},
            models={
                "m": MODEL,
                "n": MODEL | {"weights": store(endpoint="http://minio.storage.svc:9000")},
                "o": MODEL | {"weights": store("s3://other/x")},
            },
        )
    )
    assert plan.weights.reasons["cluster.proxy"] == (
        "through it to huggingface, s3://other/x; directly to s3://models/published"
    )


def test_a_pod_that_may_connect_to_the_proxy_alone_is_told_of_no_exceptions():
    """What else is reached directly is nothing to it: another exception runs no Job and no server again."""
    proxy = {"endpoint": PROXY, "noProxy": [".corp", "hf.co"]}
    assert hub({}, proxy=proxy).environment == TOLD
    streamed = source(store(), proxy=proxy).environment
    assert {name: streamed[name] for name in TOLD} == TOLD


def test_a_job_that_reaches_its_store_directly_is_told_of_every_exception():
    """It may connect to more than the proxy."""
    proxy = {"endpoint": PROXY, "noProxy": [".amazonaws.com", "login.example.com"]}
    (checkpoint,) = planned(raw(store(fill=True), proxy=proxy)).weights.checkpoints
    assert checkpoint.fetch is not None
    assert checkpoint.fetch.hub.environment["NO_PROXY"] == (
        "localhost,127.0.0.1,::1,.amazonaws.com,login.example.com,amazonaws.com"
    )


@pytest.mark.parametrize(
    ("weights", "entry", "host"),
    [
        (store(), "s3.eu-central-1.amazonaws.com", "amazonaws.com"),
        (store(fill=True), ".cdn.huggingface.co", "huggingface.co"),
        (
            {"kind": "nodeCache", "storageClass": "nvme", "from": store()},
            "s3.eu-central-1.amazonaws.com",
            "amazonaws.com",
        ),
        (
            {"storageClass": "nfs", "hub": {"endpoint": "https://hub.example.com"}},
            "a.hub.example.com",
            "hub.example.com",
        ),
        (store("az://models/x", account="acme"), "acme.blob.core.windows.net", "blob.core.windows.net"),
    ],
)
def test_an_exception_for_one_host_of_a_store_or_hub_is_refused(weights: dict[str, Any], entry: str, host: str):
    """It would change nothing; what to write instead is said, and taken."""
    proxy = {"endpoint": PROXY, "noProxy": [entry]}
    assert refusals(raw(weights, proxy=proxy)) == [
        f'cluster.proxy.noProxy[0]: "{entry}" is one host of {host}, and all are reached in one way; write {host}'
    ]
    assert refusals(raw(weights, proxy=proxy | {"noProxy": [host]})) == []


@properties(100)
@given(st.from_regex(r"[a-z]{1,5}(\.[a-z]{1,5}){1,3}", fullmatch=True), st.integers(0, 3))
def test_a_host_is_excepted_by_every_domain_it_is_in_and_by_no_other(host: str, cut: int):
    """Whole labels are compared, with or without the dot before them."""
    labels = host.split(".")
    domain = ".".join(labels[min(cut, len(labels) - 1) :])
    mirror = {"endpoint": f"https://{host}", "private": False}
    for entry, proxied in ((domain, False), (f".{domain}", False), (f"x{domain}", True)):
        raw_ = raw({"storageClass": "nfs", "hub": mirror}, proxy={"endpoint": PROXY, "noProxy": [entry]})
        if not refusals(raw_):
            assert (PROXY_VARIABLES[0] in hub(mirror, proxy=raw_["cluster"]["proxy"]).environment) == proxied
