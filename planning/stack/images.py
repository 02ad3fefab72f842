"""The exact image that runs: overrides, mirror, and the refusal of floating tags and known-bad versions."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from catalog.load import Catalog
from planning.plan.gateway import GatewayPlan
from planning.plan.pods import BY_DIGEST, ImagePlan
from planning.plan.pools import PoolPlan
from planning.plan.servers import ServerPlan
from planning.plan.stores import BundledDatabase, BundledRedis, CloudNativePgDatabase
from planning.plan.weights import WeightsPlan
from planning.stack import known_bad
from planning.stack.engines import engine_problems, engine_version
from settings.doubt import judge, judged
from settings.problems import Problem
from settings.scalars import REPOSITORY, TAG
from settings.schema import ImageOverride, ImagesSettings

# A tag that names a line of development, not a version: it means something else tomorrow.
FLOATING = re.compile(
    r"^(latest|stable|main|master|nightly|edge|dev|lts|release)\b|[-.](latest|stable|nightly)$|^v?\d+$"
)
REFERENCE = re.compile(rf"(?P<repository>{REPOSITORY})(:(?P<version>{TAG}))?(@(?P<digest>sha256:[0-9a-f]{{64}}))?")

NOTHING = ImageOverride()


def is_floating(version: str) -> bool:
    """Whether a tag may point to another image tomorrow: a word such as latest, or a bare major version."""
    return bool(FLOATING.search(version)) or not re.search(r"\d", version)


def mirror_repository(repository: str, mirror: str | None) -> str:
    """`repository` below the mirror's prefix, unless it is there: its registry host (docker.io …) is replaced."""
    if mirror is None or repository.startswith(f"{mirror.rstrip('/')}/"):
        return repository
    return f"{mirror.rstrip('/')}/{path_below(repository)}"


def path_below(repository: str) -> str:
    """Path of a repository in a mirror: its own without the registry's host."""
    host, _, path = repository.partition("/")
    is_host = "." in host or ":" in host or host == "localhost"
    return path if is_host else repository


def resolve_images(
    settings: ImagesSettings, platform: str, catalog: Catalog
) -> tuple[dict[str, ImagePlan], list[Problem]]:
    """Every catalogue image as it will be pulled and run; an override with a version that must not run is a problem."""
    plans: dict[str, ImagePlan] = {}
    problems: list[Problem] = []
    own_user = not catalog.platform(platform).users_of_namespace
    for name in catalog.images:
        plan, of_image = judged(_resolve_image, name, settings, catalog)
        plans[name] = replace(plan, own_user=own_user)
        problems += of_image
    return plans, problems


def _resolve_image(name: str, settings: ImagesSettings, catalog: Catalog) -> tuple[ImagePlan, list[Problem]]:
    image, override = catalog.images[name], _override(name, settings)
    version, stated = override.version or image.version, override.engine_version
    digest = override.digest or (None if override.version else image.digest)
    plan = _plan(name, override.repository or image.repository, version, digest, (image.uid, image.gid), settings)
    engine = engine_version(name, version, stated, catalog)
    return replace(plan, engine=engine), judge(_override_problems, name, settings, catalog)


def _override(name: str, settings: ImagesSettings) -> ImageOverride:
    """Everything that the user says of an image, and of most nothing."""
    return settings.overrides.get(name) or NOTHING  # pyright: ignore[reportArgumentType] - catalogue names are str


def _override_problems(name: str, settings: ImagesSettings, catalog: Catalog) -> list[Problem]:
    override, where = _override(name, settings), f"images.overrides.{name}"
    version = override.version or catalog.images[name].version
    return _version_problems(where, name, version, catalog) or engine_problems(
        name, version, override.engine_version, f"{where}.version", where, catalog
    )


def custom_image(
    reference: str, like: ImagePlan, path: str, settings: ImagesSettings, catalog: Catalog, stated: str | None = None
) -> tuple[ImagePlan, list[Problem]]:
    """The image a user names for one model, as `repository:version` or `repository[:version]@sha256:…`.

    `stated`: the version of the engine in it, where its tag does not say it.
    """
    match = REFERENCE.fullmatch(reference)
    if match is None or not (match["version"] or match["digest"]):
        message = f'"{reference}" must be repository:version or repository@sha256:…{_near(reference)}'
        return like, [Problem(path, message)]
    version = match["version"] or ""
    owner = like.uid, like.gid
    problems = _version_problems(path, like.name, version, catalog) if version else []
    tag, parent = version or BY_DIGEST, path.rpartition(".")[0]
    problems = problems or engine_problems(like.name, tag, stated, path, parent, catalog)
    plan = _plan(like.name, match["repository"], version, match["digest"], owner, settings)
    engine = engine_version(like.name, tag, stated, catalog)
    return replace(plan, engine=engine, own_user=like.own_user), problems


def _near(reference: str) -> str:
    """The reference that was probably meant: without a scheme, the repository in lower case."""
    repository, colon, version = re.sub(r"^https?://", "", reference).rpartition(":")
    near = f"{repository.lower()}{colon}{version}"
    return f"; did you mean '{near}'?" if near != reference and REFERENCE.fullmatch(near) else ""


def _plan(
    name: str, repository: str, version: str, digest: str | None, owner: tuple[int, int], settings: ImagesSettings
) -> ImagePlan:
    ending = (f":{version}" if version else "") + (f"@{digest}" if digest else "")
    return ImagePlan(
        name=name,
        reference=mirror_repository(repository, settings.mirror) + ending,
        version=version or BY_DIGEST,
        uid=owner[0],
        gid=owner[1],
        pinned=digest is not None,
        upstream=repository + ending,
        pull_secrets=tuple(settings.pull_secrets),
    )


def _version_problems(path: str, name: str, version: str, catalog: Catalog) -> list[Problem]:
    afloat = [Problem(path, f'"{version}" is a floating tag; name an exact version')] if is_floating(version) else []
    return afloat + known_bad.refusals(path, name, version, catalog)


def used_images(
    servers: Sequence[ServerPlan], gateway: GatewayPlan, weights: WeightsPlan, pools: Mapping[str, PoolPlan]
) -> tuple[ImagePlan, ...]:
    """The images that are really pulled, once each."""

    def pulled() -> Iterator[ImagePlan]:
        yield from (server.image for server in servers)
        yield from (server.router.image for server in servers if server.router)
        yield from (server.kept_cache.image for server in servers if server.kept_cache)
        yield gateway.image
        yield from (checkpoint.fetch.hub.image for checkpoint in weights.checkpoints if checkpoint.fetch)
        yield from (checkpoint.signature.image for checkpoint in weights.checkpoints if checkpoint.signature)
        if isinstance(gateway.redis, BundledRedis):
            yield gateway.redis.image
        if gateway.database and isinstance(gateway.database.source, BundledDatabase | CloudNativePgDatabase):
            yield gateway.database.source.image
        if gateway.chat_ui:
            yield gateway.chat_ui.image
        yield from (pool.verification.image for pool in pools.values() if pool.verification)

    return tuple({image.reference: image for image in pulled()}.values())


def digest_problems(images: Iterable[ImagePlan], settings: ImagesSettings) -> list[Problem]:
    """Images without a digest, where a stack demands one of each."""
    return [
        Problem(
            "images.requireDigests",
            f"the digest of {image.reference} is not known; give images.overrides.{image.name}.digest, or "
            "write the image of a model as repository@sha256:…",
        )
        for image in images
        if settings.require_digests and not image.pinned
    ]
