"""Stacks under the real engine, each on a simulated cluster of its own, with a backend of its own.

The tests of a file tell one story in the order of the file: up, look, change, rename, kill, destroy, up again.
They do not prove that a container starts or that a chart can be installed.
"""

import copy
import json
import shutil
import signal
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from preview.rendering.stackfile import Project, read_project
from tests.cluster.world import World, stack
from tests.harness import ROOT
from workshop.kubernetes import Object
from workshop.problems import Impossible
from workshop.process import stop
from workshop.simcluster.deploy import prepare
from workshop.simcluster.engine import Engine, command, helpers, missing
from workshop.simcluster.rendered import Stack

Change = Callable[[dict[str, Any]], None]
BACKEND = "PULUMI_BACKEND_URL"
# An `up` that waits for what is not there any more would wait for as long as its timeouts say.
STANDS_STILL_S = 90
MASTER_KEY = "sk-engine-3f1c7a52e9d04b68"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Everything here needs the engine."""
    for item in items:
        if "tests/engine/" in item.path.as_posix():
            item.add_marker(pytest.mark.engine)


@dataclass
class Story:
    """The engine, the cluster, and the stack file as it stands."""

    engine: Engine
    world: World
    content: dict[str, Any]

    @classmethod
    def begin(cls, name: str) -> "Story":
        """A fresh cluster and a fresh backend for a stack of this project; nothing is deployed yet."""
        return cls.on(World.begin(f"engine-{name}", stack(name)))

    @classmethod
    def on(cls, world: World, backend: Any = None, project: Project | None = None) -> "Story":
        """The stack of a world, with a backend beside its cluster, or in `backend`, the root of another."""
        assert missing() == ""
        prepare(world.api, world.stack)
        engine = Engine(command() or "", backend or world.cluster, project or read_project(ROOT), world.stack.name)
        engine.prepare()
        return cls(engine, world, yaml.safe_load(engine.stack_file.read_text(encoding="utf-8")))

    def beside(self, folder: Path, project: Project | None = None, whole: Stack | None = None) -> "Story":
        """A stack on the same cluster with a backend of its own in this folder; default: the same stack once more."""
        backend = SimpleNamespace(paths=SimpleNamespace(root=folder, kubeconfig=self.world.cluster.paths.kubeconfig))
        return Story.on(replace(self.world, stack=whole or self.world.stack), backend, project)

    def managed(self) -> dict[str, Object]:
        """Kind and name → object as the cluster has it, of everything in the state; without what the cluster counts."""
        resources = json.loads(self.state())["checkpoint"]["latest"]["resources"]
        bodies = [one["outputs"] for one in resources if one["type"].startswith("kubernetes:") and one["custom"]]
        present = {f"{body['kind']}/{body['metadata']['name']}": self.world.api.current(body) for body in bodies}
        return {title: what_is_managed(body) for title, body in present.items() if body}

    def destroy(self, *options: str) -> None:
        """Everything of it."""
        self.engine.on_stack("destroy", "--yes", "--skip-preview", *options, capture=True)

    def end(self) -> None:
        """Leaves nothing behind."""
        self.world.cluster.down()
        shutil.rmtree(self.world.cluster.paths.root)

    def own_keys(self) -> None:
        """An encrypted master key in place of a Secret that exists."""
        self.secret("gatewayMasterKey", MASTER_KEY)
        del self.content["config"]["llm-stack:gateway"]["existingSecret"]
        self.engine.write(self.content)

    def secret(self, key: str, value: str) -> None:
        """Encrypts a value into the stack file."""
        name = self.world.stack.name
        self.engine.run(["config", "set", "--stack", name, "--secret", f"llm-stack:{key}", value], capture=True)
        self.content = yaml.safe_load(self.engine.stack_file.read_text(encoding="utf-8"))

    def change(self, change: Change) -> None:
        """Changes the stack file for good."""
        change(self.content["config"])
        self.engine.write(self.content)

    def preview(self, change: Change | None = None) -> dict[str, str]:
        """`Kind/logical name` → operation of everything a preview would do, optionally with a change of its own."""
        content = copy.deepcopy(self.content)
        if change is not None:
            change(content["config"])
        self.engine.write(content)
        try:
            found = json.loads(self.engine.on_stack("preview", "--json", capture=True))
        finally:
            self.engine.write(self.content)
        return operations(found)

    def up(self) -> dict[str, int]:
        """Deploys and returns how many resources had which operation."""
        lines = self.engine.on_stack("up", "--yes", "--skip-preview", "--json", capture=True)
        found: Counter[str] = Counter()
        for line in lines.splitlines():
            event = json.loads(line)
            if "summaryEvent" in event:
                found.update(event["summaryEvent"].get("resourceChanges", {}))
        for unchanged in ("same", "read"):
            found.pop(unchanged, None)
        return dict(found)

    def killed_up(self, after: int = 1) -> str:
        """Starts `up`, kills the engine and all it started when it begins its `after`-th change, and says which."""
        done = self.killed("up", after)
        assert done, "there were fewer changes"
        self.engine.release(lambda _: None, 0)
        return done

    def killed(self, verb: str, after: int, how: signal.Signals = signal.SIGKILL, *, alone: bool = False) -> str:
        """Starts `up` or `destroy`, ends it when it begins its `after`-th step, and says which; empty: it was done.

        `how`: SIGKILL, or SIGINT for Ctrl-C, upon which it ends by itself. `alone`: its helpers live on, and Ctrl-C is
        pressed twice, so that it does not wait for them. One that comes no further is killed where it stands.
        """
        options = ["--yes", "--skip-preview", "--json", "--non-interactive", "--stack"]
        begun = subprocess.Popen(
            [command() or "", verb, *options, self.world.stack.name],
            cwd=self.engine.home / "project",
            env=self.engine.environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            start_new_session=True,
        )
        assert begun.stdout
        steps, found = 0, ""
        watchdog = threading.Timer(STANDS_STILL_S, begun.kill)
        watchdog.start()
        for line in begun.stdout:
            step = json.loads(line).get("resourcePreEvent", {}).get("metadata", {})
            steps += step.get("op", "same") not in ("same", "read", "refresh")
            if steps == after and not found:
                found = str(step["op"])
                begun.send_signal(how)
                if how == signal.SIGINT and alone:
                    # the engine takes two that come at once for one
                    time.sleep(0.3)
                    begun.send_signal(how)
                if how == signal.SIGKILL:
                    break
        watchdog.cancel()
        if begun.wait() == -signal.SIGKILL and not found:
            found = "waiting"
        for process in [] if alone or how != signal.SIGKILL else helpers(self.engine.environment()[BACKEND]):
            stop(process)
        return found

    def failed_up(self) -> str:
        """What the engine says of an `up` that must not succeed."""
        try:
            self.up()
        except Impossible as error:
            return str(error)
        raise AssertionError("it succeeded")

    def state(self) -> str:
        """The state file as it lies on the disk."""
        return self.engine.state_file().read_text(encoding="utf-8")

    def known(self) -> int:
        """How many resources are in the state, beside the stack itself."""
        resources = json.loads(self.state())["checkpoint"]["latest"].get("resources", [])
        return max(0, len(resources) - 1)


def what_is_managed(body: Object) -> Object:
    """An object without its status and what heartbeats change; a node has labels and taints alone."""
    counted = {"resourceVersion", "managedFields"} | ({"annotations"} if body["kind"] == "Node" else set())
    metadata = {key: value for key, value in body["metadata"].items() if key not in counted}
    return {key: value for key, value in body.items() if key not in ("metadata", "status")} | {"metadata": metadata}


def operations(found: Mapping[str, Any]) -> dict[str, str]:
    """What a preview would do, without what stays the same."""
    return {
        f"{step['urn'].split('::')[2].rpartition(':')[2]}/{step['urn'].rpartition('::')[2]}": step["op"]
        for step in found["steps"]
        if step["op"] not in ("same", "read")
    }


@pytest.fixture(scope="module")
def story() -> Iterator[Story]:
    """The stack `dev`; the keys of the gateway are derived from an encrypted master key."""
    found = Story.begin("dev")
    found.own_keys()
    yield found
    found.end()
