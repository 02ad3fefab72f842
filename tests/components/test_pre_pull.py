"""The DaemonSets that pull images: what a node of the pool runs, and what nobody waits for.

That python3 is in the images is what every server's own pod counts on; that a kubelet pulls, no test proves.
"""

import signal
import subprocess
from typing import Any

from components.pre_pull import SLEEP
from tests.harness import VARIANTS, Deployed, minimal, stack

NAME = "pre-pull-l4"


def pulled_before() -> Deployed:
    """A pool of named nodes with a server and its canary, and one whose nodes are bought."""
    return stack(VARIANTS["pulled-before"])


def template(deployed: Deployed, kind: str = "DaemonSet", name: str = NAME) -> Any:
    """The pods of one object."""
    return deployed.object(kind, name)["spec"]["template"]


def test_nodes_of_a_pool_run_each_image_once():
    """Where its servers run, and nowhere else; each image ends at once but the first, which stays."""
    deployed = pulled_before()
    pod, server = template(deployed)["spec"], template(deployed, "Deployment", "vllm-small")["spec"]
    assert [body["metadata"]["name"] for body in deployed.objects("DaemonSet")] == [NAME]
    placed = ("nodeSelector", "affinity", "tolerations")
    assert {key: pod.get(key) for key in placed} == {key: server.get(key) for key in placed}
    images = [container["image"] for container in [*pod["containers"], *pod["initContainers"]]]
    canary = template(deployed, "Deployment", "vllm-small-canary")["spec"]
    wanted = {
        container["image"] for one in (server, canary) for container in [*one["containers"], *one["initContainers"]]
    }
    assert (set(images), len(images)) == (wanted, len(wanted))
    assert [container["command"][:2] for container in pod["initContainers"]] == [["python3", "-IS"]] * 2
    assert [volume["image"]["reference"][:41] for volume in pod["volumes"]] == [
        "registry.example.com/models/small@sha256:"
    ]


def test_they_ask_for_next_to_nothing():
    """No GPU, a hundredth of a core; the variable by which images of CUDA ask for all GPUs is empty of them."""
    pod = template(pulled_before())["spec"]
    for container in [*pod["containers"], *pod["initContainers"]]:
        assert container["resources"] == {
            "requests": {"cpu": "10m", "memory": "32Mi", "ephemeral-storage": "64Mi"},
            "limits": {"memory": "128Mi"},
        }
        assert container["env"] == [{"name": "NVIDIA_VISIBLE_DEVICES", "value": "void"}]


def test_nobody_waits_for_a_pull():
    """Neither the engine nor a server: one node that is away would hold all. All nodes pull at once."""
    deployed = pulled_before()
    manifest = deployed.manifest("DaemonSet", NAME)
    assert manifest.body["metadata"]["annotations"]["pulumi.com/skipAwait"] == "true"
    assert manifest.body["spec"]["updateStrategy"]["rollingUpdate"] == {"maxUnavailable": "100%"}
    waited = {other for record in deployed.records for other in record.options.depends_on}
    assert deployed.record("DaemonSet", NAME).urn not in waited


def test_they_are_pulled_as_all_images_are():
    """From the mirror, with the Secrets of the stack, and with nothing that a bundle does not list."""
    deployed = pulled_before()
    account = deployed.object("ServiceAccount", "pre-pull")
    assert (account["imagePullSecrets"], account["automountServiceAccountToken"]) == ([{"name": "regcred"}], False)
    images = [container["image"] for container in template(deployed)["spec"]["containers"]]
    assert [image.partition("/vllm")[0] for image in images] == ["registry.example.com/mirror"]


def test_by_default_nothing_is_pulled_beforehand():
    """No object, and no phase of a start."""
    deployed = stack(minimal())
    assert deployed.objects("DaemonSet") == []
    assert deployed.plan.servers[0].timing.phases[0].name == "weights"


def test_who_stays_goes_when_it_is_told():
    """The first process of a container ends by SIGTERM only if it waits for it; it may come at any moment."""
    blocked = SLEEP.replace("s.sigwait", "print(flush=True); s.sigwait")
    process = subprocess.Popen(["python3", "-IS", "-c", blocked], stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.readline()
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=20) == 0
