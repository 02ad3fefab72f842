"""The version of the engine in an image, and the facts of it: a tag says it, or whoever made the image does."""

from collections.abc import Collection, Iterable, Iterator, Sequence

from catalog.load import Catalog
from planning.plan.pods import BY_DIGEST
from planning.plan.servers import Server, ServerPlan
from planning.stack.versions import NUMBERS, line, parse_version
from settings.problems import Problem

# Images that an engine of the catalogue is in, and its name there.
ENGINE_IMAGES = {"vllm": "vllm", "vllm-cpu": "vllm", "vllm-rocm": "vllm"}
HOW_TO_ADD = "docs/adding-an-engine-version.md says how to add another"


def engine_problems(image: str, tag: str, stated: str | None, path: str, owner: str, catalog: Catalog) -> list[Problem]:
    """Reasons why nothing can be checked for a server of this image.

    `tag` is its version, `stated` the engine's version that the settings at `owner` give it, `path` that of the image.
    """
    key = f"{owner}.engineVersion"
    if image not in ENGINE_IMAGES:
        return [Problem(key, f"is of images with vLLM, and {image} has none; leave it out")] if stated else []
    versions = catalog.versions[ENGINE_IMAGES[image]]
    by_tag, known = _named(tag, versions), " and ".join(versions)
    if stated is not None:
        return _stated_problems(stated, tag, by_tag, key, versions)
    if by_tag is not None:
        return []
    if tag == BY_DIGEST:
        text = "a digest does not say which vLLM is in the image"
        return [Problem(path, f"{text}; write repository:version@sha256:…, or give {key}")]
    text = f'"{tag}" is of no version of vLLM that is known, {known}; use one of those'
    return [Problem(path, f"{text}, or give {key} where the image is a build of one; {HOW_TO_ADD}")]


def _stated_problems(stated: str, tag: str, by_tag: str | None, key: str, versions: Collection[str]) -> list[Problem]:
    """Reasons against the version that somebody gives an image; `by_tag`: the known one that its tag is of."""
    named = _named(stated, versions)
    if named is None:
        text = f'"{stated}" is no version of vLLM that is known, {" and ".join(versions)}'
        return [Problem(key, f"{text}; {HOW_TO_ADD}")]
    if by_tag in (None, named):
        return []
    return [Problem(key, f"is {stated}, and the image says {tag}; leave it out, or write another tag")]


def engine_version(image: str, tag: str, stated: str | None, catalog: Catalog) -> str:
    """The version whose facts an image is checked by; the catalogue's own where nothing is known of it; empty: none."""
    program = ENGINE_IMAGES.get(image)
    if program is None:
        return ""
    return _named(stated or tag, catalog.versions[program]) or catalog.engines[program].version


def running(server: Server, catalog: Catalog) -> Catalog:
    """The catalogue with the facts of the engine that this server runs."""
    return catalog.running(ENGINE_IMAGES[server.image.name], server.image.engine)


def engine_warnings(servers: Sequence[ServerPlan], catalog: Catalog) -> Iterator[str]:
    """Sentences about servers of another version: a build nobody looked at, and what dashboards would not see of it."""
    usual = catalog.vllm
    for server in servers:
        engine, tag = running(server, catalog).vllm, server.image.version.removeprefix("v").partition("-")[0]
        if NUMBERS.match(tag) and parse_version(tag) != parse_version(engine.version):
            yield f"{server.name}: its arguments were checked against vLLM {engine.version}, the image is {tag}"
        asked = sorted({usual.roles[role] for role in usual.roles if role not in server.task.silent_roles})
        missing = [
            name
            for name in asked
            if name not in engine.metrics or set(usual.metrics[name].labels) - set(engine.metrics[name].labels)
        ]
        if missing:
            text = f"{server.name}: vLLM {engine.version} does not export {', '.join(missing)} as {usual.version} does"
            yield f"{text}; alerts and dashboards do not see that of it"


def _named(tag: str, versions: Iterable[str]) -> str | None:
    """The known version that a tag is of: itself, or one of the same line, within which only faults are mended."""
    if not NUMBERS.match(tag):
        return None
    here = parse_version(tag)
    kin = [version for version in versions if line(parse_version(version)) == line(here)]
    return next((version for version in kin if parse_version(version) == here), kin[-1] if kin else None)
