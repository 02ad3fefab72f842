"""The real engine on a simulated cluster: `pulumi` with a backend in a folder beside the cluster.

It has a project of its own that runs the same program with a copy of the stack file, which installs no operator: a
simulated node cannot run one. `python -m workshop.simcluster.engine` prints what is missing.
"""

import contextlib
import json
import os
import re
import secrets
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import psutil
import yaml

from preview.rendering.stackfile import PROJECT_FILE, Project
from settings.commandline import Signalled
from workshop.cache import OWNER_ONLY, write_secret
from workshop.ports import LOOPBACK
from workshop.problems import Impossible
from workshop.process import last_line, processes, run, stop
from workshop.simcluster.api import wait_until
from workshop.simcluster.cluster import Cluster

# Top-level keys whose `install` brings a Helm chart (settings.schema).
OPERATORS = ("gpuOperator", "autoscaling", "observability", "leaderWorkerSet", "cloudNativePg")
PLUGIN = "pulumi-resource-kubernetes"
FETCH_TIMEOUT_S = 300
# Keys of a stack file that say how its secrets are encrypted: the user's own, whose key is not here.
ENCRYPTION = ("encryptionsalt", "encryptedkey", "secretsprovider")
# The parts of an engine talk to each other, and to the cluster, at these; see `without_proxy`.
THIS_MACHINE = (LOOPBACK, "localhost")
# Variables of the user's that stay: where Pulumi keeps its plugins, and how it finds and fetches them. Any other may
# choose another backend, stack, passphrase or option (PULUMI_OPTION_*), or how objects are made (PULUMI_K8S_*).
KEPT_VARIABLES = re.compile(r"PULUMI_HOME|PULUMI_\w*PLUGIN\w*")
# No signal to an engine reaches its helpers (pulumi/pulumi sdk/go/common/util/cmdutil/child_unix.go): a language host
# looks for a killed engine every five minutes, a provider never.
HELPERS = ("pulumi-language-", "pulumi-resource-")


class TooLate(Impossible):
    """The engine was not done in time, and has cancelled what it had begun."""


def command() -> str | None:
    """The `pulumi` command on PATH, if there is one."""
    return shutil.which("pulumi")


def missing() -> str:
    """Reason why the engine cannot be run here without fetching anything; empty when it can."""
    if command() is None:
        return "pulumi is not on PATH"
    home = Path(os.environ.get("PULUMI_HOME") or Path.home() / ".pulumi")
    # the engine takes the version of the Python package, and no other
    version = metadata.version("pulumi-kubernetes")
    if shutil.which(PLUGIN) is None and not (home / "plugins" / f"resource-kubernetes-v{version}" / PLUGIN).exists():
        return f"{PLUGIN} {version} is neither on PATH nor among the plugins in {home}"
    return ""


def unavailable() -> str:
    """Reason why the engine cannot deploy a stack; empty when it can. A provider that is not there is fetched first."""
    pulumi, why = command(), missing()
    if not why or pulumi is None:
        return why
    version = metadata.version("pulumi-kubernetes")
    late = f"{why}, and was not fetched within {FETCH_TIMEOUT_S} s"
    try:
        done = run([pulumi, "plugin", "install", "resource", "kubernetes", version], FETCH_TIMEOUT_S, late)
    except Impossible:
        return late
    if not done.returncode:
        return ""
    return f"{why}, and cannot be fetched ({last_line(done.stderr, 'pulumi says nothing')})"


def for_this_cluster(content: Mapping[str, Any], project: str) -> dict[str, Any]:
    """A stack file whose operators are there already, and whose secrets will be encrypted by a key of the cluster's."""
    config = dict(content.get("config", {}))
    for key in OPERATORS:
        config[f"{project}:{key}"] = {**config.get(f"{project}:{key}", {}), "install": False}
    return {**{key: value for key, value in content.items() if key not in ENCRYPTION}, "config": config}


def without_proxy(environment: Mapping[str, str]) -> dict[str, str]:
    """The no-proxy variables with this machine added: without them gRPC would reach it through HTTPS_PROXY."""
    variables = {}
    for name, spelling in (("no_proxy", "NO_PROXY"), ("NO_PROXY", "no_proxy")):
        present = environment.get(name) or environment.get(spelling)
        variables[name] = ",".join([*([present] if present else []), *THIS_MACHINE])
    return variables


def ended(child: subprocess.Popen[str], timeout_s: float | None = None) -> tuple[str, str]:
    """Output of a child (stdout, stderr) that has ended by itself. Raises `TooLate` when it was told to.

    It is never killed, which would leave a locked stack and helpers. Ctrl-C reaches it as it reaches this process.
    """
    early: BaseException | None = None
    while True:
        try:
            output, complaint = child.communicate(timeout=timeout_s if early is None else None)
        except (subprocess.TimeoutExpired, Signalled, KeyboardInterrupt) as error:
            late = isinstance(error, subprocess.TimeoutExpired)
            early = TooLate(f"not done within {timeout_s:.0f} s") if late else error
            # a signal to this process alone, unlike what a terminal sends
            if late or isinstance(error, Signalled):
                child.send_signal(signal.SIGINT)
        else:
            if early is not None:
                raise early
            return output or "", complaint or ""


def holder(lock: Path) -> int:
    """The engine that holds a lock of a backend; 0 when it has ended, though another may have its number."""
    with contextlib.suppress(OSError, ValueError, KeyError, psutil.Error):
        process = psutil.Process(int(json.loads(lock.read_text(encoding="utf-8"))["pid"]))
        if process.name() == "pulumi" and process.status() != psutil.STATUS_ZOMBIE:
            return process.pid
    return 0


def mend(state: Path) -> Iterator[Path]:
    """Removes sidecars that are cut off, and yields each: the backend reads no file that has such a one."""
    # it writes FILE.attrs beside every file, not atomically, and does without (gocloud.dev blob/fileblob/attrs.go)
    for sidecar in sorted(state.rglob("*.attrs")):
        try:
            json.loads(sidecar.read_bytes())
        except ValueError:
            sidecar.unlink()
            yield sidecar


def helpers(backend: str) -> list[psutil.Process]:
    """The helpers of all engines of a backend, dead or alive."""
    return [process for process in processes() if _helps(process, backend)]


def _helps(process: psutil.Process, backend: str) -> bool:
    with contextlib.suppress(psutil.Error, OSError):
        named = any(Path(word).name.startswith(HELPERS) for word in process.cmdline()[:3])
        return named and process.environ().get("PULUMI_BACKEND_URL") == backend
    return False


class Engine:
    """One stack of one project on one cluster, through the command line of Pulumi."""

    def __init__(self, pulumi: str, cluster: Cluster, project: Project, stack: str) -> None:
        self._pulumi, self._project, self._stack = pulumi, project, stack
        self._kubeconfig = cluster.paths.kubeconfig
        self.home = cluster.paths.root / "pulumi"
        for folder in (self.home, self.home / "state", self.home / "project"):
            folder.mkdir(exist_ok=True, mode=OWNER_ONLY)
        self._passphrase = self.home / "passphrase"
        if not self._passphrase.exists():
            write_secret(self._passphrase, secrets.token_hex(24))
        self.stack_file = self.home / "project" / f"Pulumi.{stack}.yaml"

    def environment(self) -> dict[str, str]:
        """Variables for Pulumi: this backend and this cluster, whatever the user's own are."""
        names = [name for name in os.environ if not name.startswith("PULUMI_") or KEPT_VARIABLES.fullmatch(name)]
        return {
            **{name: os.environ[name] for name in names},
            **without_proxy(os.environ),
            "PULUMI_BACKEND_URL": f"file://{self.home / 'state'}",
            "PULUMI_CONFIG_PASSPHRASE_FILE": str(self._passphrase),
            "PULUMI_SKIP_UPDATE_CHECK": "true",
            "KUBECONFIG": str(self._kubeconfig),
        }

    def prepare(self) -> None:
        """The project, the copy of its stack file, and the stack in the backend."""
        directory = self._project.directory
        project = yaml.safe_load((directory / PROJECT_FILE).read_text(encoding="utf-8"))
        project["main"] = str(self._project.program.parent)
        options = project["runtime"]["options"]
        options["virtualenv"] = str((directory / options["virtualenv"]).resolve())
        (self.home / "project" / PROJECT_FILE).write_text(yaml.safe_dump(project), encoding="utf-8")
        source = directory / f"Pulumi.{self._stack}.yaml"
        self.write(for_this_cluster(yaml.safe_load(source.read_text(encoding="utf-8")), self._project.name))
        if not self.state_file().exists():
            self.run(["stack", "init", self._stack, "--no-select"], capture=True)

    def state_file(self) -> Path:
        """File in which the backend keeps the state of the stack."""
        return self.home / "state" / ".pulumi" / "stacks" / self._project.name / f"{self._stack}.json"

    def write(self, content: Mapping[str, Any]) -> None:
        """Another stack file; what the engine has written into the present one to encrypt with stays."""
        present = yaml.safe_load(self.stack_file.read_text(encoding="utf-8")) if self.stack_file.exists() else {}
        # before there is a stack, nothing is encrypted
        salt = {key: value for key, value in present.items() if key == "encryptionsalt" and self.state_file().exists()}
        write_secret(self.stack_file, yaml.safe_dump({**salt, **content}, sort_keys=False))

    def run(self, arguments: Sequence[str], *, capture: bool = False, timeout_s: float | None = None) -> str:
        """Runs `pulumi` in the project; what it prints is shown, or returned. Raises `Impossible` when it fails."""
        child = subprocess.Popen(
            [self._pulumi, *arguments, "--non-interactive"],
            cwd=self.home / "project",
            env=self.environment(),
            stdout=subprocess.PIPE if capture else None,
            stderr=subprocess.PIPE if capture else None,
            text=True,
        )
        output, complaint = ended(child, timeout_s)
        if child.returncode:
            output_shown = f":\n{output}{complaint}" if capture else ""
            raise Impossible(f"pulumi {arguments[0]} ended with {child.returncode}{output_shown}")
        return output

    def on_stack(self, verb: str, *options: str, capture: bool = False, timeout_s: float | None = None) -> str:
        """`pulumi VERB` on the stack."""
        return self.run([verb, "--stack", self._stack, *options], capture=capture, timeout_s=timeout_s)

    def release(self, say: Callable[[str], None], timeout_s: float) -> None:
        """Does what docs/operations.md says of an engine that was killed; one that is still running is waited for."""
        locks = self.home / "state" / ".pulumi" / "locks" / "organization" / self._project.name / self._stack
        for lock in locks.glob("*.json"):
            if pid := holder(lock):
                engine = f"pulumi, process {pid}"
                say(f"{engine}, is still running after its parent ended; waiting for it (`kill {pid}` stops it)")
                wait_until(lambda lock=lock: not holder(lock), timeout_s, f"{engine}, does not end")
        stop(*helpers(f"file://{self.home / 'state'}"))
        for sidecar in mend(self.home / "state"):
            say(f"an engine was killed while it wrote {sidecar.name}, which is removed")
        if any(locks.glob("*.json")):
            say("an engine was killed here: its lock is taken off the stack")
            self.run(["cancel", "--yes", self._stack], capture=True)

    def up(self, say: Callable[[str], None], timeout_s: float) -> None:
        """`pulumi up`, `timeout_s` at most, also after one that was killed; one left alone is waited for as long."""
        self.release(say, timeout_s)
        # an engine that was killed may have left a state that is not what the cluster has
        self.on_stack("up", "--refresh", "--yes", "--skip-preview", "--suppress-progress", timeout_s=timeout_s)


if __name__ == "__main__":
    sys.stdout.write(missing())
