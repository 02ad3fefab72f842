"""Which exact image runs: overrides, mirror, and the refusal of floating tags and known-bad versions."""

import re
from collections.abc import Iterable

from catalog.load import Catalog
from planning.plan import BY_DIGEST, ImagePlan
from planning.stack import known_bad
from settings.problems import Problem
from settings.scalars import REPOSITORY, TAG
from settings.schema import ImagesSettings

# A tag that names a line of development, not a version: it means something else tomorrow.
FLOATING = re.compile(
    r"^(latest|stable|main|master|nightly|edge|dev|lts|release)\b|[-.](latest|stable|nightly)$|^v?\d+$"
)
REFERENCE = re.compile(rf"(?P<repository>{REPOSITORY})(:(?P<version>{TAG}))?(@(?P<digest>sha256:[0-9a-f]{{64}}))?")


def floating(version: str) -> bool:
    """Whether a tag may point to another image tomorrow: a word such as latest, or a bare major version."""
    return bool(FLOATING.search(version)) or not re.search(r"\d", version)


def mirrored(repository: str, mirror: str | None) -> str:
    """`repository` below the mirror's prefix, unless it is there: its registry host (docker.io …) is replaced."""
    if mirror is None or repository.startswith(f"{mirror.rstrip('/')}/"):
        return repository
    host, _, path = repository.partition("/")
    is_host = "." in host or ":" in host or host == "localhost"
    return f"{mirror.rstrip('/')}/{path if is_host else repository}"


def resolve_images(settings: ImagesSettings, catalog: Catalog, problems: list[Problem]) -> dict[str, ImagePlan]:
    """Every catalogue image as it will be pulled; refusals go to `problems`."""
    plans = {}
    for name, image in catalog.images.items():
        override = settings.overrides.get(name)  # pyright: ignore[reportArgumentType] - catalogue names are str
        version, digest, repository = image.version, image.digest, image.repository
        if override is not None:
            if override.version is not None:
                version, digest = override.version, None
            digest = override.digest or digest
            repository = override.repository or repository
        _check(f"images.overrides.{name}", name, version, catalog, problems)
        plans[name] = _plan(name, mirrored(repository, settings.mirror), version, digest, (image.uid, image.gid))
    return plans


def custom_image(
    reference: str, like: ImagePlan, path: str, settings: ImagesSettings, catalog: Catalog, problems: list[Problem]
) -> ImagePlan:
    """The image a user names for one model, as `repository:version` or `repository[:version]@sha256:…`."""
    match = REFERENCE.fullmatch(reference)
    if match is None or not (match["version"] or match["digest"]):
        problems.append(
            Problem(path, f'"{reference}" must be repository:version or repository@sha256:…{_near(reference)}')
        )
        return like
    version = match["version"] or ""
    if version:
        _check(path, like.name, version, catalog, problems)
    return _plan(
        like.name, mirrored(match["repository"], settings.mirror), version, match["digest"], (like.uid, like.gid)
    )


def _near(reference: str) -> str:
    """The reference that was probably meant: without a scheme, the repository in lower case."""
    repository, colon, version = re.sub(r"^https?://", "", reference).rpartition(":")
    near = f"{repository.lower()}{colon}{version}"
    return f"; did you mean '{near}'?" if near != reference and REFERENCE.fullmatch(near) else ""


def _plan(name: str, repository: str, version: str, digest: str | None, owner: tuple[int, int]) -> ImagePlan:
    reference = repository + (f":{version}" if version else "") + (f"@{digest}" if digest else "")
    return ImagePlan(name, reference, version or BY_DIGEST, owner[0], owner[1], digest is not None)


def _check(path: str, name: str, version: str, catalog: Catalog, problems: list[Problem]) -> None:
    if floating(version):
        problems.append(Problem(path, f'"{version}" is a floating tag; name an exact version'))
    problems += known_bad.refusals(path, name, version, catalog)


def undigested(images: Iterable[ImagePlan]) -> list[Problem]:
    """What is wrong with these images when a stack demands digests."""
    return [
        Problem(
            "images.requireDigests",
            f"the digest of {image.reference} is not known; give images.overrides.{image.name}.digest, or "
            "write the image of a model as repository@sha256:…",
        )
        for image in images
        if not image.pinned
    ]
