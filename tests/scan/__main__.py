"""`python -m tests.scan`: checkov and kube-score over every rendered stack, and zizmor over the workflows.

Exit codes: 0 nothing beyond docs/security.md, 1 something. A scanner that is not here is said to be skipped.
What Helm charts bring along is not looked at: it is not rendered here.
"""

import contextlib
import io
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from preview.rendering.stackfile import find_project, read_project
from preview.reporting.show import show
from tests.scan.exceptions import PAGE, Finding, judge, table

ROOT = Path(__file__).parents[2]
TOOLS = ROOT / ".venv-scan" / "bin"
# `python -m preview` writes these beside plain objects; they are no manifests.
NO_OBJECTS = ("release-", "patch-")
GOOD_GRADE = 10
PROJECTS = (ROOT, *(ROOT / "examples" / name for name in ("adapters", "gateway", "minimal", "teams", "traffic")))


def main() -> int:
    """Renders, scans, says what is wrong; the exit code."""
    findings: list[Finding] = []
    ran: list[str] = []
    with TemporaryDirectory(prefix="scan-") as folder:
        stacks = render(Path(folder))
        for name, scan in SCANNERS.items():
            tool = shutil.which(name, path=f"{TOOLS}{os.pathsep}{Path(sys.executable).parent}")
            if tool is None:
                sys.stdout.write(f"{name}: skipped, it is not here (see `make scan`)\n")
                continue
            begun = time.monotonic()
            found = list(scan(tool, stacks))
            findings += found
            ran.append(name)
            sys.stdout.write(f"{name}: {len(found)} findings, {time.monotonic() - begun:.0f} s\n")
    wrong = judge(findings, table(PAGE.read_text(encoding="utf-8")), ran)
    sys.stdout.write("".join(f"{line}\n" for line in wrong))
    sys.stdout.write(f"{len(stacks)} stacks; {len(wrong) or 'nothing'} beyond the table in {PAGE.relative_to(ROOT)}\n")
    return 1 if wrong else 0


def render(folder: Path) -> Mapping[str, Path]:
    """Every stack of every project, in a folder of its own."""
    stacks = {}
    for directory in PROJECTS:
        for name in read_project(find_project(directory)).stacks():
            stacks[name] = folder / name
            with contextlib.redirect_stdout(io.StringIO()):
                code = show(directory, name, as_json=True, out=stacks[name])
            assert code == 0, f"{name} is refused"
            for file in stacks[name].iterdir():
                if file.name.startswith(NO_OBJECTS):
                    file.unlink()
    return stacks


def _checkov(tool: str, stacks: Mapping[str, Path]) -> Iterator[Finding]:
    for stack, folder in stacks.items():
        output = _output([tool, "-d", folder, "--framework", "kubernetes", "-o", "json", "--quiet", "--compact"])
        for failed in json.loads(output)["results"]["failed_checks"]:
            kind, _, name = failed["resource"].split(".", 2)
            yield Finding("checkov", failed["check_id"], kind, name, stack)


def _kube_score(tool: str, stacks: Mapping[str, Path]) -> Iterator[Finding]:
    for stack, folder in stacks.items():
        output = _output([tool, "score", "--output-format", "json", *sorted(folder.iterdir())])
        for scored in json.loads(output):
            for check in scored["checks"] or ():
                if not check.get("skipped") and check["grade"] < GOOD_GRADE:
                    kind, name = scored["type_meta"]["kind"], scored["object_meta"]["name"]
                    yield Finding("kube-score", check["check"]["id"], kind, name, stack)


def _zizmor(tool: str, _stacks: Mapping[str, Path]) -> Iterator[Finding]:
    output = _output([tool, "--offline", "--quiet", "--format", "json", ROOT / ".github" / "workflows"])
    for found in json.loads(output):
        if not found["ignored"]:
            place = Path(found["locations"][0]["symbolic"]["key"]["Local"]["given_path"])
            yield Finding("zizmor", found["ident"], "workflow", place.name, "the repository")


def _output(command: list[Any]) -> str:
    """What a scanner prints; its exit code says that it found something, which is no error here."""
    environment = os.environ | {"LOG_LEVEL": "ERROR", "CKV_IGNORE_HIDDEN_DIRECTORIES": "false"}
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment).stdout


SCANNERS: Mapping[str, Callable[[str, Mapping[str, Path]], Iterator[Finding]]] = {
    "checkov": _checkov,
    "kube-score": _kube_score,
    "zizmor": _zizmor,
}

if __name__ == "__main__":
    sys.exit(main())
