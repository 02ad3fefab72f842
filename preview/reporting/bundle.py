"""What a network without internet needs for one stack: images, charts and weights, and what of that is not known.

Owns the decision. Images are read from the rendered objects, so that none can be forgotten when a component changes;
those inside charts, and the weights, are the plan's. How a bundle is written down is `bundle_formats`.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from planning.plan import CheckpointPlan, ExistingClaim, OwnClaim, Plan, ReleasePlan
from preview.rendering.manifests import Category, Manifest
from preview.rendering.render import Rendering
from preview.reporting.bundle_listing import File, Listing

CONTAINERS = ("containers", "initContainers", "ephemeralContainers")
# What the weights Job fetches of a checkpoint, and what it leaves: pickles, code, other formats and layouts.
FETCHED = ("*.safetensors", "*.json", "*.txt", "*.jinja", "*.model", "*.tiktoken", "tokenizer*", "LICEN?E*", "NOTICE*")
LEFT = (
    *(f"*.{kind}" for kind in ("bin", "ckpt", "gguf", "pickle", "pkl", "pt", "pth", "py", "so")),
    *("original/*", "metal/*", "manifest.json"),
)


@dataclass(frozen=True)
class Image:
    """One container image: where it is copied from, what the pods ask for, and whose they are."""

    source: str
    reference: str
    used_by: tuple[str, ...]

    @property
    def pinned(self) -> bool:
        """Whether its bytes are named, not only its tag."""
        return "@sha256:" in self.source


@dataclass(frozen=True)
class Chart:
    """One Helm chart; `reference`: its name in `repository`, an oci:// reference or a path."""

    name: str
    reference: str
    repository: str | None
    version: str


@dataclass(frozen=True)
class Weights:
    """One checkpoint. `hub`: the kind of hub that has it; `size_bytes`: of `files` where they are known."""

    repository: str
    revision: str
    pinned: bool
    hub: str
    endpoint: str | None
    directory: str
    place: str
    size_bytes: int
    counted: bool
    files: tuple[File, ...] = ()


@dataclass(frozen=True)
class Bundle:
    """Everything one stack needs from outside; `not_known`: what cannot be said from here, each with what says it.

    Nothing of it is installed while pods run: no image fetches packages (a test looks at every rendered command).
    """

    project: str
    stack: str
    images: tuple[Image, ...]
    charts: tuple[Chart, ...]
    weights: tuple[Weights, ...]
    not_known: tuple[str, ...]


def decide(rendering: Rendering, found: Sequence[Manifest], listings: Sequence[Listing] = ()) -> Bundle:
    """The bundle of a stack that is not refused. `listings`: what is known of the files of checkpoints."""
    plan = rendering.plan
    releases = {m.name: m for m in found if m.category is Category.RELEASE}
    planned = {release.name: release for release in plan.releases.values()} if plan else {}
    images = _images(found, plan, [planned[name] for name in releases if name in planned])
    weights = [_weights(one, plan, listings) for one in plan.weights.checkpoints] if plan else []
    unread = [name for name in releases if name not in planned]
    not_known = [
        *_of_charts([planned[name] for name in releases if name in planned], unread),
        *_of_images(images),
        *_of_weights(weights),
    ]
    charts = tuple(_chart(release.body) for release in releases.values())
    return Bundle(rendering.project, rendering.stack, images, charts, tuple(weights), tuple(not_known))


def references(value: Any) -> Iterator[str]:
    """Every image that pods of an object run or mount."""
    if isinstance(value, list):
        for item in value:
            yield from references(item)
    if not isinstance(value, Mapping):
        return
    for field, here in value.items():
        if field in CONTAINERS and isinstance(here, list):
            yield from (item["image"] for item in here if isinstance(item, Mapping) and "image" in item)
        elif field == "volumes" and isinstance(here, list):
            mounted = [item.get("image") for item in here if isinstance(item, Mapping)]
            yield from (image["reference"] for image in mounted if isinstance(image, Mapping))
        yield from references(here)


def _images(found: Sequence[Manifest], plan: Plan | None, releases: Sequence[ReleasePlan]) -> tuple[Image, ...]:
    upstream = {image.reference: image.upstream for image in plan.images} if plan else {}
    users: dict[tuple[str, str], dict[str, None]] = {}
    for manifest in found:
        if manifest.category is not Category.RELEASE:
            for reference in references(manifest.body):
                key = (upstream.get(reference, reference), reference)
                users.setdefault(key, {})[f"{manifest.kind} {manifest.name}"] = None
    for release in releases:
        for image in release.images:
            users.setdefault((image, image), {})[f"chart {_name(release.chart)} {release.version}"] = None
    return tuple(Image(source, reference, tuple(names)) for (source, reference), names in sorted(users.items()))


def _chart(release: Mapping[str, Any]) -> Chart:
    chart = str(release["chart"])
    repository = release.get("repositoryOpts", {}).get("repo")
    return Chart(_name(chart), chart, repository, str(release.get("version", "")))


def _name(chart: str) -> str:
    return chart.rstrip("/").rpartition("/")[2]


def _weights(one: CheckpointPlan, plan: Plan, listings: Sequence[Listing]) -> Weights:
    match one.place:
        case OwnClaim(name=name):
            place = f"claim {name}, which its Job fills"
        case ExistingClaim(name=name):
            place = f"claim {name}, which must hold it already"
    hub = plan.weights.hub
    listing = next((listing for listing in listings if listing.is_of(one.model, one.revision)), None)
    files = listing.files if listing else ()
    return Weights(
        repository=one.model,
        revision=one.revision,
        pinned=one.pinned,
        hub=hub.kind if hub else "huggingface",
        endpoint=hub.endpoint if hub else None,
        directory=one.source.argument.rpartition("/models/")[2],
        place=place,
        size_bytes=sum(file.size_bytes for file in files) if listing else one.disk_bytes,
        counted=one.counted or listing is not None,
        files=files,
    )


def _of_charts(releases: Sequence[ReleasePlan], unread: Sequence[str]) -> Iterator[str]:
    for release in releases:
        yield from (f"{_name(release.chart)} {release.version}: {what}" for what in release.not_known)
    yield from (
        f"{name}: the images of this release, which no plan knows; render its chart with helm" for name in unread
    )


def _of_images(images: Sequence[Image]) -> Iterator[str]:
    if tags := sum(not image.pinned for image in images):
        yield (
            f"the digests of {tags} of {len(images)} images, whose tags may move until they are copied; "
            "images.overrides.NAME.digest pins those of the stack"
        )


def _of_weights(weights: Sequence[Weights]) -> Iterator[str]:
    for one in weights:
        name = f"{one.repository}@{one.revision[:12]}"
        if not one.pinned:
            yield f"{name}: the commit, for the revision moves; give models.NAME.revision"
        if not one.counted:
            yield f"{name}: the size, which is estimated from the shape of the model"
        if not one.files:
            yield f"{name}: files and hashes; give --listing with its manifest.json, or with the hub's listing"
