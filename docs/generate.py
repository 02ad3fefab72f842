"""Writes what documentation would otherwise repeat by hand: the configuration reference, and what commands print.

`make docs` (or `python -m docs.generate`) writes `docs/configuration.md` (`docs/reference.py`), and renews every block
of a page that follows a line `<!-- printed: NAME -->`. Tests compare the files with what this module returns.
"""

import os
import re
import subprocess
import sys
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path

import yaml

from catalog import load_catalog
from docs import pictures, platform_pages, reference, supported
from planning import resolve_stack
from settings import Refused, validate

ROOT = Path(__file__).parent.parent
READMES = (ROOT / "README.md", ROOT / "README.zh-CN.md")
PLATFORM_PAGES = tuple(platform_pages.FOLDER / f"{name}.md" for name in platform_pages.PAGES)


@cache
def _run(*arguments: str) -> str:
    """What a module of ours prints, on either stream, as it would into a file."""
    command = [sys.executable, "-m", *arguments]
    environment = {**os.environ, "FORCE_COLOR": "", "NO_COLOR": "1", "PYTHONIOENCODING": "utf-8"}
    done = subprocess.run(  # noqa: S603 - our own command
        command, cwd=ROOT, env=environment, check=False, capture_output=True, encoding="utf-8"
    )
    return done.stdout + done.stderr


def _production() -> str:
    """The preview of the production stack without most of its length, which `…` stands for."""
    shown: list[str] = []
    for block in _run("preview", "--stack", pictures.STACK).rstrip().split("\n\n"):
        chosen = block.startswith(pictures.CHOSEN)
        if chosen or shown[-1] != "…":
            shown.append(block if chosen else "…")
    return "\n\n".join(shown)


def _expected() -> str:
    """What the development stack expects of its cluster, with the commands."""
    blocks = _run("preview", "--stack", "dev").rstrip().split("\n\n")
    return next(block for block in blocks if block.startswith("Expected on the cluster "))


def _calculator() -> str:
    return _run("planning", "--model", "Qwen/Qwen3-14B", "--gpu", "nvidia-a10", "--gpus", "2").rstrip()


def _refusals() -> str:
    """For each line of YAML that cannot be deployed, the reason."""
    return "\n\n".join(
        f"# gpuPools: {{{pool}}}\n# models: {{{model}}}\n{_refusal(pool, model)}" for pool, model in REFUSED
    )


# Pool and model of stacks that are otherwise complete.
REFUSED = (
    (
        "a10: {gpu: nvidia-a10, nodes: 1, gpusPerNode: 1}",
        "qwen3-14b: {model: Qwen/Qwen3-14B, pool: a10, tensorParallel: 1}",
    ),
    (
        "h100: {gpu: nvidia-h100, nodes: 1, gpusPerNode: 8}",
        "deepseek-r1: {model: deepseek-ai/DeepSeek-R1, pool: h100}",
    ),
    (
        "a10: {gpu: nvidia-a10, nodes: 1, gpusPerNode: 1}",
        "qwen3-8b: {model: Qwen/Qwen3-8B, pool: a10, contextTokns: 8192}",
    ),
    ("a10: {gpu: nvidia-a11, nodes: 1, gpusPerNode: 1}", "qwen3-8b: {model: Qwen/Qwen3-8B, pool: a10}"),
    (
        "a10: {gpu: nvidia-a10, nodes: 4, gpusPerNode: 1}",
        "qwen3-8b: {model: Qwen/Qwen3-8B, pool: a10, replicas: {min: 3, max: 1}}",
    ),
)


def _refusal(pool: str, model: str) -> str:
    raw = {
        "cluster": {"context": "any", "identifier": "any"},
        "gpuPools": yaml.safe_load(f"{{{pool}}}"),
        "models": yaml.safe_load(f"{{{model}}}"),
        "weights": {"storageClass": "any"},
        "gateway": {"existingSecret": "any"},
    }
    settings, problems = validate(raw)
    try:
        resolve_stack(settings, load_catalog(), problems)
    except Refused as refused:
        return str(refused)
    raise AssertionError(f"{pool} with {model} is not refused any more")


PRINTED: Mapping[str, Callable[[], str]] = {
    "preview": _production,
    "expected": _expected,
    "calculator": _calculator,
    "refusals": _refusals,
    "supported": supported.summary,
}
# Blocks of the pages of platforms.
FACTS: Mapping[str, Callable[[], str]] = platform_pages.PRINTED
# Pages that are written whole.
PAGES: Mapping[Path, Callable[[], str]] = {
    reference.PAGE: reference.configuration,
    reference.CHINESE_PAGE: reference.chinese_configuration,
    supported.PAGE: supported.page,
}
# A block of code, or else a table or a list, which ends at the next blank line or with the page.
BLOCK = re.compile(r"(<!-- printed: (\w+) -->\n\n(```\w*\n)?).*?((?(3)^```$|(?=^$)))", re.DOTALL | re.MULTILINE)


def renewed(page: str) -> str:
    """The text of a page with what commands print now in its marked blocks."""
    return BLOCK.sub(lambda found: f"{found[1]}{_printed(found[2])}\n{found[4]}", page)


def _printed(name: str) -> str:
    return {**PRINTED, **FACTS}[name]()


def main() -> None:
    """Write what is generated whole, and renew the pages."""
    pictures.FOLDER.mkdir(exist_ok=True)
    for path, text in {**PAGES, **pictures.PICTURES}.items():
        path.write_text(text(), encoding="utf-8")
    for page in (*READMES, *PLATFORM_PAGES):
        page.write_text(renewed(page.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
