"""The download Job behind the proxy of a company: real clients, the rendered variables, a proxy that reads along."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from planning.plan.weights import Hub
from planning.stack.outward import CA_FILE
from tests.unit.components.pod_scripts.hostile_hub import HostileHub, serving
from tests.unit.components.pod_scripts.reading_proxy import ReadingProxy, reading_proxy
from tests.unit.components.pod_scripts.test_fetch_from_hub import FILES, NAME, Volume
from tests.unit.components.pod_scripts.test_pod_scripts import lines
from tests.unit.small_stack import planned, stack

HUB, CDN = "hub.example.com", "cdn.example.com"
PROXY, SECRET = "http://proxy.example.com:3128", "proxy"
BUNDLE = {"kind": "configMap", "name": "company-ca"}
NO_XET = {"HF_HUB_DISABLE_XET": "1"}


def planned_hub(kind: str, **cluster: Any) -> Hub:
    """The hub of the small stack, a mirror there, in such a cluster."""
    raw = stack(weights={"storageClass": "nfs", "hub": {"kind": kind, "endpoint": f"https://{HUB}"}})
    raw["cluster"] |= cluster
    (checkpoint,) = planned(raw).weights.checkpoints
    assert checkpoint.fetch is not None
    return checkpoint.fetch.hub


def here(hub: Hub, proxy: ReadingProxy) -> dict[str, str]:
    """Its variables, with the proxy and the file that stand for those of the cluster."""
    values: Mapping[str, str] = dict(hub.environment) | {one.name: PROXY for one in hub.secrets}
    return {name: {PROXY: proxy.url, CA_FILE: str(proxy.authority)}.get(value, value) for name, value in values.items()}


@pytest.fixture
def hub() -> Any:
    """An honest hub that sends clients on to a host of its own for large files."""
    with serving(HostileHub(dict(FILES))) as running:
        running.cdn = f"https://{CDN}"
        yield running


def port(hub: HostileHub) -> int:
    """Where it listens."""
    return int(hub.url.rpartition(":")[2])


@pytest.mark.parametrize("secret", [False, True])
@pytest.mark.parametrize("kind", ["huggingface", "modelscope"])
def test_a_download_goes_through_the_proxy_and_trusts_the_bundle(
    tmp_path: Path, hub: HostileHub, kind: str, secret: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    """Every connection, also to the hub's storage, is made by the proxy, whose password no output shows."""
    told = {"endpoint": PROXY} | ({"existingSecret": SECRET} if secret else {})
    password = "p4ss-of-the-proxy" if secret else None
    with reading_proxy(tmp_path, port(hub), HUB, CDN, password=password) as proxy:
        status = Volume(tmp_path, hub).run(kind, **here(planned_hub(kind, proxy=told, caBundle=BUNDLE), proxy))
    said = capsys.readouterr()
    assert status == 0, said
    assert f"published {NAME}" in said.out
    assert "p4ss" not in said.out + said.err
    assert {host for host in proxy.asked if not host.startswith((f"{HUB}:", f"{CDN}:"))} == set()
    assert f"{HUB}:443" in proxy.asked


def test_without_the_bundle_the_job_says_whose_certificate_it_does_not_trust(
    tmp_path: Path, hub: HostileHub, capsys: pytest.CaptureFixture[str]
) -> None:
    """An unknown authority is not a reason to try again."""
    with reading_proxy(tmp_path, port(hub), HUB, CDN) as proxy:
        planned_ = planned_hub("huggingface", proxy={"endpoint": PROXY})
        status = Volume(tmp_path, hub).run(**here(planned_, proxy))
    assert status == 2
    assert "certificate verify failed" in "\n".join(lines(capsys))


def test_a_proxy_that_refuses_the_password_fails_without_showing_it(
    tmp_path: Path, hub: HostileHub, capsys: pytest.CaptureFixture[str]
) -> None:
    """The Job fails, and what it says has no password in it."""
    told = {"endpoint": PROXY, "existingSecret": SECRET}
    with reading_proxy(tmp_path, port(hub), HUB, CDN, password="r1ght") as proxy:
        variables = here(planned_hub("huggingface", proxy=told, caBundle=BUNDLE), proxy)
        wrong = {name: value.replace("r1ght", "wr0ng") for name, value in variables.items()}
        status = Volume(tmp_path, hub).run(**wrong)
    said = capsys.readouterr()
    assert status == 1
    assert "wr0ng" not in said.out + said.err
