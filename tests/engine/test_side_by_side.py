"""Two stacks of one cluster under the real engine, each with a backend of its own: up, change, destroy in either order.

One has the nodes, the other shares them. What is not proved here: operators, which a simulated cluster cannot run, so
that both say `install: false`; that a container starts.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from preview.rendering.render import render
from preview.rendering.stackfile import Project, read_project
from tests.cluster.world import World
from tests.engine.conftest import Change, Story
from tests.engine.test_engine import context, image
from tests.harness import ROOT
from workshop.simcluster.engine import for_this_cluster
from workshop.simcluster.rendered import Stack, stack_of

A10 = {"gpu": "nvidia-a10", "gpusPerNode": 1}
# a change of a server of the first starts a pod first, on a card that neither uses
NODES = ["gpu-1", "gpu-2", "gpu-3"]
NAMED = {**A10, "nodes": len(NODES), "provisioning": {"kind": "existing", "nodeNames": NODES}}
SHARED = {**A10, "nodes": 1, "provisioning": {"kind": "shared", "labels": {"llm-stack.io/pool": "a10"}}}
NAMESPACES = {"platform": "llm-serving", "search": "search"}
KINDS = (("v1", "Pod"), ("v1", "Secret"), ("v1", "ConfigMap"), ("v1", "Service"), ("apps/v1", "ReplicaSet"))


def project(folder: Path) -> Project:
    """A project with both stack files, beside this one's program."""
    content = yaml.safe_load((ROOT / "Pulumi.yaml").read_text(encoding="utf-8"))
    content["main"] = os.path.relpath(ROOT, folder)
    content["runtime"]["options"]["virtualenv"] = str(ROOT / content["runtime"]["options"]["virtualenv"])
    (folder / "Pulumi.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")
    for name, pool in (("platform", NAMED), ("search", SHARED)):
        stack_file = yaml.safe_load((ROOT / "Pulumi.dev.yaml").read_text(encoding="utf-8"))
        stack_file["config"]["llm-stack:gpuPools"] = {"a10": pool}
        stack_file["config"]["llm-stack:cluster"]["namespace"] = NAMESPACES[name]
        alone = for_this_cluster(stack_file, "llm-stack")
        (folder / f"Pulumi.{name}.yaml").write_text(yaml.safe_dump(alone), encoding="utf-8")
    return read_project(folder)


def rendered(both: Project, name: str) -> Stack:
    """A stack of the project, which nothing refuses."""
    rendering = render(both, name)
    assert rendering.refused == ()
    return stack_of(rendering)


@pytest.fixture(scope="module")
def stacks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Story]]:
    """Both, deployed one after the other."""
    both = project(tmp_path_factory.mktemp("both"))
    world = World.begin("engine-sides", rendered(both, "platform"))
    platform = Story.on(world, project=both)
    search = platform.beside(tmp_path_factory.mktemp("search"), both, rendered(both, "search"))
    platform.up()
    search.up()
    yield {"platform": platform, "search": search}
    platform.end()


def everything(story: Story) -> dict[str, Any]:
    """All that the stack has declared, as it is, and who else is in its namespace."""
    space = NAMESPACES[story.world.stack.name]
    there = {
        kind: [one["metadata"]["uid"] for one in story.world.api.items(version, kind, space)] for version, kind in KINDS
    }
    return {**story.managed(), **{kind: sorted(uids) for kind, uids in there.items()}}


def ready(story: Story) -> dict[str, int]:
    """Deployment → replicas that are ready, of one stack."""
    served = story.world.api.items("apps/v1", "Deployment", NAMESPACES[story.world.stack.name])
    return {one["metadata"]["name"]: one["status"].get("readyReplicas", 0) for one in served}


def test_both_are_ready(stacks: dict[str, Story]):
    """On nodes of one pool, with all the same names but in no namespace two."""
    serving = {"litellm": 1, "litellm-redis": 1, "vllm-qwen3-8b": 1}
    assert {name: ready(story) for name, story in stacks.items()} == dict.fromkeys(stacks, serving)
    platform, search = (set(story.managed()) for story in stacks.values())
    outside = ("ClusterRole/", "ClusterRoleBinding/", "Namespace/", "NodePatch/", "Node/")
    assert [name for name in sorted(platform & search) if name.startswith(outside)] == []
    assert [name for name in sorted(platform) if name.startswith("Node/")] == [f"Node/{node}" for node in NODES]


@pytest.mark.parametrize(
    ("changed", "other", "change"), [("platform", "search", image), ("search", "platform", context)]
)
def test_a_change_of_either_is_its_own(stacks: dict[str, Story], changed: str, other: str, change: Change):
    """The other's objects, of every kind, keep identity and content."""
    before = everything(stacks[other])
    stacks[changed].change(change)
    assert stacks[changed].up() == {"update": 1}
    assert everything(stacks[other]) == before


def test_the_one_that_shares_goes_and_comes(stacks: dict[str, Story]):
    """Its `destroy` and its next `up` leave the nodes and all else of the other alone."""
    before = everything(stacks["platform"])
    stacks["search"].destroy()
    assert everything(stacks["platform"]) == before
    stacks["search"].up()
    assert everything(stacks["platform"]) == before


def test_the_one_that_has_the_nodes_goes_first(stacks: dict[str, Story]):
    """What the other declared stays, its pods too, and it can be changed and destroyed after that."""
    before = everything(stacks["search"])
    stacks["platform"].destroy()
    assert everything(stacks["search"]) == before
    assert stacks["search"].preview() == {}
    stacks["search"].destroy()
    assert ready(stacks["search"]) == {}
