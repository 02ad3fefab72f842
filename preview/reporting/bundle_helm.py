"""Images that a chart brings, asked of helm itself: `helm template` with the values of the release.

More than the tables of the catalogue say may come of it: what a chart names and nobody pulls, such as parts that the
GPU Operator starts for virtual machines only. Every image that it names in a known way is found, in containers, in
resources of an operator (`image`, or `repository`, `image` and `version` side by side) and in arguments.
"""

import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from typing import Any

import yaml

from planning.stack.images import REFERENCE
from preview.rendering.manifests import FastLoader, Manifest
from preview.reporting.bundle import Rendered
from settings.commandline import UsageError

TIMEOUT_S = 120
IN_ARGUMENT = re.compile(r"--[a-z-]*image[a-z-]*=(\S+)|--[a-z-]*reloader=(\S+)")
LONGEST_REASON = 200


def program() -> str:
    """Path of helm. Raises `UsageError` where it is not."""
    if helm := shutil.which("helm"):
        return helm
    raise UsageError("--helm: helm is not on PATH")


def ask(helm: str, release: Manifest, kubernetes: str) -> Rendered:
    """Helm's rendering of a release; `kubernetes`: the version, such as 1.36, that its chart is rendered for."""
    body = release.body
    repository = body.get("repositoryOpts", {}).get("repo")
    command = [helm, "template", release.name, str(body["chart"]), "--namespace", release.namespace, "--skip-tests"]
    command += ["--version", str(body["version"]), "--kube-version", f"{kubernetes}.0", "--values", "-"]
    command += ["--repo", repository] if repository else []
    values = yaml.safe_dump(body.get("values", {}))
    try:
        done = subprocess.run(  # noqa: S603 - a list, no shell
            command, input=values, capture_output=True, text=True, timeout=TIMEOUT_S, check=True
        )
        objects = list(yaml.load_all(done.stdout, FastLoader))
    except subprocess.TimeoutExpired:
        return Rendered(failure=f"no answer within {TIMEOUT_S} s")
    except subprocess.CalledProcessError as error:
        reason = next((line for line in error.stderr.splitlines() if line.startswith("Error: ")), "Error: no reason")
        shown = "".join(sign if sign.isprintable() else " " for sign in reason)
        return Rendered(failure=shown.removeprefix("Error: ")[:LONGEST_REASON])
    except yaml.YAMLError:
        return Rendered(failure="what it rendered is no YAML")
    return Rendered(frozenset(name for name in named(objects) if REFERENCE.fullmatch(name) and ":" in name))


def named(value: Any) -> Iterator[str]:
    """Everything in rendered objects that is written where an image is named."""
    if isinstance(value, str):
        yield from (match[1] or match[2] for match in IN_ARGUMENT.finditer(value))
    elif isinstance(value, list):
        for element in value:
            yield from named(element)
    elif isinstance(value, Mapping) and value.get("enabled") is not False:
        match value:
            case {"image": str(image), "repository": str(place), "version": str(version)}:
                yield f"{place}/{image}:{version}" if place and version else ""
            case {"image": str(image)}:
                yield image
        for child in value.values():
            yield from named(child)
