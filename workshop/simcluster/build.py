"""Builds the control plane once, into the user's cache: one binary, and a link of each program's name to it."""

import hashlib
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from workshop.cache import made_once
from workshop.problems import Impossible
from workshop.process import last_line
from workshop.simcluster.paths import check_free, programs_folders
from workshop.simcluster.programs import NAMES
from workshop.simcluster.toolchain import find_go

SOURCES = Path(__file__).with_name("controlplane")
BINARY = "controlplane"
# what the linker needs at once, with room
FREE_GB = 6
Progress = Callable[[int, int], None]


def kubernetes_version() -> str:
    """The version that is built, as in go.mod: `v1.36.3`."""
    return module_version("k8s.io/kubernetes")


def module_version(module: str) -> str:
    """The version of a module that go.mod pins."""
    text = (SOURCES / "go.mod").read_text(encoding="utf-8")
    line = re.search(rf"^\s*{re.escape(module)} (v\S+)$", text, re.MULTILINE)
    assert line, f"go.mod requires {module}"
    return line[1]


def link_flags(version: str) -> str:
    """Linker flags: no debug tables, and the version every client asks for. Without it the server says `v0.0.0`."""
    major, minor = version.removeprefix("v").split(".")[:2]
    stamp = {"gitVersion": version, "gitMajor": major, "gitMinor": minor, "gitTreeState": "clean"}
    stamp["gitCommit"] = "release"
    packages = ("k8s.io/component-base/version", "k8s.io/client-go/pkg/version")
    stamps = [f"-X {package}.{key}={value}" for package in packages for key, value in stamp.items()]
    return " ".join(["-s", "-w", *stamps])


def cache_key() -> str:
    """The name of the folder a build belongs into: the version, and a digest of all that decides the result."""
    digest = hashlib.sha256()
    for file in sorted(SOURCES.iterdir()):
        digest.update(file.name.encode() + b"\0" + file.read_bytes() + b"\0")
    digest.update(link_flags(kubernetes_version()).encode())
    digest.update(f"{sys.platform} {os.uname().machine}".encode())
    return f"{kubernetes_version()}-{digest.hexdigest()[:12]}"


def folder() -> Path:
    """Folder of a build of these sources; there when they have been built before."""
    return programs_folders() / cache_key()


def build(progress: Progress) -> Path:
    """The folder of programs, built when missing; `progress(done, of)` counts packages. Raises `Impossible`."""
    return made_once(folder(), lambda fresh: _build_into(fresh, progress))


def _build_into(fresh: Path, progress: Progress) -> None:
    check_free(FREE_GB, "building")
    # outlives a build that fails
    _compile(find_go(), fresh / BINARY, programs_folders() / f"{cache_key()}.log", progress)
    for name in NAMES:
        (fresh / name).symlink_to(BINARY)


def _compile(go: Path, binary: Path, log: Path, progress: Progress) -> None:
    flags = ["-trimpath", "-ldflags", link_flags(kubernetes_version())]
    # no C compiler, no other toolchain, and go.mod as it is
    own = {"CGO_ENABLED": "0", "GOTOOLCHAIN": "local", "GOFLAGS": "-mod=readonly -buildvcs=false", "GOWORK": "off"}
    here: dict[str, Any] = {"cwd": SOURCES, "env": {**os.environ, **own}, "text": True}
    # how many packages there are to compile at most; downloads the modules on the way
    listed = subprocess.run([go, "list", "-deps", "."], capture_output=True, check=False, **here)
    if listed.returncode:
        why = last_line(listed.stderr, "go says nothing")
        raise Impossible(f"the sources of the control plane cannot be fetched: {why}")
    done, total = 0, len(listed.stdout.splitlines())
    with log.open("w", encoding="utf-8") as output:
        output.write(listed.stderr)
        command = [go, "build", "-v", *flags, "-o", binary, "."]
        process = subprocess.Popen(command, stderr=subprocess.PIPE, **here)
        assert process.stderr
        try:
            for line in process.stderr:
                output.write(line)
                output.flush()
                # `go build -v` names each package as it is compiled; anything else is a message
                if re.fullmatch(r"\S+\n", line):
                    done += 1
                    progress(min(done, total), total)
        finally:
            if process.poll() is None:
                process.terminate()
            status = process.wait()
    if status:
        raise Impossible(f"building the control plane failed: {_why(log)}; all of it: {log}")
    binary.chmod(0o755)


def _why(log: Path) -> str:
    """The first line of the log that is a complaint, not the name of a package."""
    for line in log.read_text(encoding="utf-8").splitlines():
        if " " in line and not line.startswith(("#", "go: downloading")):
            return line
    return "the compiler was stopped"
