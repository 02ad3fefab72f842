"""The stacks of `examples/platforms`, one for each kind of cluster: rendered once, and held to what every stack is.

Does not prove that any of them was tried: no cloud, no OpenShift and no card of these was there.
"""

from collections.abc import Callable

import pytest

from tests.harness import PLATFORM_EXAMPLES, ROOT, stack_file
from tests.schemas import faults
from tests.stacks import test_invariants as invariants
from tests.unit.repository.test_docs import FENCE, HEADING, declared, prose

FOLDER = ROOT / PLATFORM_EXAMPLES
NAMES = sorted(file.name.split(".")[1] for file in FOLDER.glob("Pulumi.*.yaml"))
# What its reader is warned of, by the part that each sentence begins with.
WARNED = {
    "ack-airgap": ["gateway"],
    "eks-efa": ["vllm-deepseek-r1", "vllm-deepseek-r1", "pool p5", "pool p5", "vllm-deepseek-r1"],
    "eks-spot": [],
    "gke": ["pool l4", "vllm-qwen3-8b"],
    "k3s-lab": ["vllm-qwen3-14b", "vllm-qwen3-8b", "gateway", "gateway.chatUi"],
    "openshift": ["gateway"],
    "workstation": ["vllm-qwen3-8b"],
}
# What must hold for each; the rest of the invariants is about what these stacks have in common with others.
HELD: list[Callable[[str], None]] = [
    invariants.test_only_secrets_hold_secret_values,
    invariants.test_every_pod_passes_the_restricted_level,
    invariants.test_every_image_is_an_exact_version,
    invariants.test_what_a_pod_refers_to_is_there,
    invariants.test_every_secret_a_pod_reads_is_declared_or_named_in_the_configuration,
    invariants.test_gpus_are_asked_for_where_nodes_have_them,
    invariants.test_every_pod_has_a_network_policy_of_its_own,
    invariants.test_only_the_gateway_reaches_servers_and_redis,
    invariants.test_nothing_but_the_download_leaves_for_the_internet,
    invariants.test_an_update_never_waits_for_gpus_that_are_not_there,
]


def test_every_example_is_here():
    """Those that the page lists, in both languages, and no other."""
    for page in ("README.md", "README.zh-CN.md"):
        text = (FOLDER / page).read_text(encoding="utf-8")
        assert sorted(line.split("`")[1] for line in text.splitlines() if line.startswith("| [`")) == NAMES
    assert sorted(WARNED) == NAMES
    assert declared(FOLDER / "Pulumi.yaml") == declared(ROOT / "Pulumi.yaml")


def test_both_pages_say_the_same_in_their_languages():
    """As many headings of the same levels, and the same commands."""
    english, chinese = FOLDER / "README.md", FOLDER / "README.zh-CN.md"
    levels, blocks = (
        [[level for level, _ in HEADING.findall(prose(page))] for page in (english, chinese)],
        [FENCE.findall(page.read_text(encoding="utf-8")) for page in (english, chinese)],
    )
    assert levels[0] == levels[1]
    assert blocks[0] == blocks[1]


@pytest.mark.parametrize("name", NAMES)
def test_an_example_is_what_every_stack_is(name: str):
    """Objects by Kubernetes' and the custom resources' schemas, closed pods, no secret, nothing that is not there."""
    deployed = stack_file(name)
    assert [fault for item in deployed.manifests for fault in faults(item, deployed.plan.kubernetes)] == []
    assert (deployed.secrets, deployed.objects("Secret")) == (frozenset(), [])
    for check in HELD:
        check(name)
    assert [line.partition(":")[0] for line in deployed.plan.warnings] == WARNED[name]
