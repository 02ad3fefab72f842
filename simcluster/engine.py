"""The real engine on a simulated cluster: `pulumi up` with a backend in a folder beside the cluster.

Owns what the command is told: backend, passphrase, kubeconfig, and a copy of the stack file that installs no operator,
because a simulated node cannot run one. Installs nothing.
"""

import os
import secrets
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from preview.stackfile import Project
from simcluster.cluster import Cluster
from simcluster.paths import OWNER_ONLY
from simcluster.problems import Impossible

# Top-level keys whose `install` brings a Helm chart (settings.schema).
OPERATORS = ("gpuOperator", "autoscaling", "observability", "leaderWorkerSet")


def command() -> str | None:
    """The `pulumi` command on PATH, if there is one."""
    return shutil.which("pulumi")


def without_operators(content: Mapping[str, Any], project: str) -> dict[str, Any]:
    """A stack file whose operators are there already."""
    config = dict(content.get("config", {}))
    for key in OPERATORS:
        config[f"{project}:{key}"] = {**config.get(f"{project}:{key}", {}), "install": False}
    return {**content, "config": config}


class Engine:
    """One stack of one project on one cluster, through the command line of Pulumi."""

    def __init__(self, pulumi: str, cluster: Cluster, project: Project, stack: str) -> None:
        self._pulumi, self._project, self._stack = pulumi, project, stack
        self.home = cluster.paths.root / "pulumi"
        self.home.mkdir(exist_ok=True, mode=OWNER_ONLY)
        (self.home / "state").mkdir(exist_ok=True, mode=OWNER_ONLY)
        self._passphrase = self.home / "passphrase"
        if not self._passphrase.exists():
            self._passphrase.write_text(secrets.token_hex(24), encoding="utf-8")
            self._passphrase.chmod(0o600)
        self.config = self.home / f"Pulumi.{stack}.yaml"
        self._kubeconfig = cluster.paths.kubeconfig

    def environment(self) -> dict[str, str]:
        """What Pulumi is told by its surroundings: this backend and this cluster, whatever the user's own are."""
        return {
            **os.environ,
            "PULUMI_BACKEND_URL": f"file://{self.home / 'state'}",
            "PULUMI_CONFIG_PASSPHRASE_FILE": str(self._passphrase),
            "PULUMI_SKIP_UPDATE_CHECK": "true",
            "KUBECONFIG": str(self._kubeconfig),
        }

    def prepare(self) -> None:
        """The copy of the stack file, and the stack in the backend."""
        source = self._project.directory / f"Pulumi.{self._stack}.yaml"
        content = without_operators(yaml.safe_load(source.read_text(encoding="utf-8")), self._project.name)
        self.config.write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")
        if not any(self.home.glob(f"state/.pulumi/stacks/{self._project.name}/{self._stack}.json")):
            self.run(["stack", "init", self._stack, "--no-select"], capture=True)

    def run(self, arguments: Sequence[str], *, capture: bool = False) -> str:
        """Runs `pulumi` in the project; what it prints is shown, or returned. Raises `Impossible` when it fails."""
        done = subprocess.run(
            [self._pulumi, *arguments, "--non-interactive"],
            cwd=self._project.directory,
            env=self.environment(),
            stdout=subprocess.PIPE if capture else None,
            stderr=subprocess.STDOUT if capture else None,
            text=True,
            check=False,
        )
        if done.returncode:
            said = f":\n{done.stdout}" if capture else ""
            raise Impossible(f"pulumi {arguments[0]} ended with {done.returncode}{said}")
        return done.stdout or ""

    def stack_arguments(self) -> list[str]:
        """The options every command on the stack needs."""
        return ["--stack", self._stack, "--config-file", str(Path(self.config))]

    def up(self) -> None:
        """`pulumi up`."""
        self.run(["up", "--yes", "--skip-preview", *self.stack_arguments()])
