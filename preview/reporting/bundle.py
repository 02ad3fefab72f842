"""Everything that a network without internet needs for one stack: images, charts, weights, and what is not known.

Owns the decision. Images are read from the rendered objects, so that none can be forgotten when a component changes;
those inside charts, and the weights, are the plan's. How a bundle is written down is `bundle_formats`.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

from planning.plan import Plan
from planning.plan.observe import ReleasePlan
from planning.plan.weights import CheckpointPlan
from preview.rendering.manifests import Category, Manifest
from preview.rendering.render import Rendering
from preview.reporting.bundle_listing import File, Listing

COMMIT = re.compile(r"[0-9a-f]{40}")
UNPLANNED = (
    "weights that no Job of this program fetches: it makes no plan of a whole stack, and objects do not name them"
)
CONTAINERS = ("containers", "initContainers", "ephemeralContainers")
# What the weights Job fetches of a checkpoint, and what it leaves: pickles, code, other formats and layouts.
FETCHED = ("*.safetensors", "*.json", "*.txt", "*.jinja", "*.model", "*.tiktoken", "tokenizer*", "LICEN?E*", "NOTICE*")
LEFT = (
    *(f"*.{kind}" for kind in ("bin", "ckpt", "gguf", "pickle", "pkl", "pt", "pth", "py", "so")),
    *("original/*", "metal/*", "manifest.json"),
)


@dataclass(frozen=True)
class Rendered:
    """Helm's rendering of one chart: its images, or why there are none."""

    images: frozenset[str] = frozenset()
    failure: str = ""


NOTHING_RENDERED: Mapping[str, Rendered] = MappingProxyType({})


@dataclass(frozen=True)
class BundleImage:
    """One container image: where it is copied from, what the pods ask for, and whose they are."""

    source: str
    reference: str
    used_by: tuple[str, ...]

    @property
    def pinned(self) -> bool:
        """Whether its bytes are named, not only its tag."""
        return "@sha256:" in self.source


@dataclass(frozen=True)
class BundleChart:
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
    images: tuple[BundleImage, ...]
    charts: tuple[BundleChart, ...]
    weights: tuple[Weights, ...]
    not_known: tuple[str, ...]


@dataclass(frozen=True)
class Inside:
    """Images inside the chart of one release, by the plan's table and by helm where it was asked."""

    release: Manifest
    images: tuple[str, ...]
    not_known: tuple[str, ...]

    @property
    def chart(self) -> str:
        """`keda 2.21.0`."""
        return f"{_name(str(self.release.body['chart']))} {self.release.body.get('version', '')}".rstrip()


def decide(
    rendering: Rendering,
    manifests: Sequence[Manifest],
    listings: Sequence[Listing] = (),
    rendered: Mapping[str, Rendered] = NOTHING_RENDERED,
) -> Bundle:
    """The bundle of a stack that is not refused.

    `listings`: what is known of the files of checkpoints; `rendered`: what helm said of charts, by the release's URN.
    """
    plan = rendering.plan
    planned = {(release.name, release.namespace): release for release in plan.releases.values()} if plan else {}
    charts = [
        _inside(release, planned.get((release.name, release.namespace)), rendered.get(release.urn))
        for release in manifests
        if release.category is Category.RELEASE
    ]
    images = _images(manifests, plan, charts)
    weights = [_weights(checkpoint) for checkpoint in plan.weights.checkpoints] if plan else list(_fetched(manifests))
    weights = [_listed(checkpoint, listings) for checkpoint in weights]
    not_known = [
        *(f"{inside.chart}: {missing}" for inside in charts for missing in inside.not_known),
        *_of_images(images),
        *_of_weights(weights),
        *(() if plan else (UNPLANNED,)),
    ]
    return Bundle(
        project=rendering.project,
        stack=rendering.stack,
        images=images,
        charts=tuple(_chart(inside.release.body) for inside in charts),
        weights=tuple(weights),
        not_known=tuple(not_known),
    )


def _inside(release: Manifest, plan: ReleasePlan | None, rendered: Rendered | None) -> Inside:
    """Table and helm together; what helm would tell is open until it has."""
    images, not_known = (plan.images, plan.not_known) if plan else ((), ())
    if rendered and not rendered.failure:
        # one that the cluster completes, as that of the driver, is in no registry by the name that the chart has
        whole = [
            image for image in sorted(rendered.images) if not any(line.startswith(f"{image}-") for line in not_known)
        ]
        return Inside(release, tuple(dict.fromkeys([*images, *whole])), not_known)
    unread = plan.unread if plan else ("the images of this release; --helm renders its chart",)
    failed = (f"helm cannot render it: {rendered.failure}",) if rendered else ()
    return Inside(release, images, (*not_known, *unread, *failed))


def references(value: Any) -> Iterator[str]:
    """Every image that pods of an object run or mount."""
    if isinstance(value, list):
        for element in value:
            yield from references(element)
    if not isinstance(value, Mapping):
        return
    for field, here in value.items():
        if field in CONTAINERS and isinstance(here, list):
            yield from (
                container["image"] for container in here if isinstance(container, Mapping) and "image" in container
            )
        elif field == "volumes" and isinstance(here, list):
            mounted = [volume.get("image") for volume in here if isinstance(volume, Mapping)]
            yield from (image["reference"] for image in mounted if isinstance(image, Mapping))
        elif field == "imageName":
            # of CloudNativePG
            yield here
        yield from references(here)


def _images(manifests: Sequence[Manifest], plan: Plan | None, charts: Sequence[Inside]) -> tuple[BundleImage, ...]:
    upstream = {image.reference: image.upstream for image in plan.images} if plan else {}
    users: dict[tuple[str, str], dict[str, None]] = {}
    for manifest in manifests:
        if manifest.category is not Category.RELEASE:
            for reference in references(manifest.body):
                key = (upstream.get(reference, reference), reference)
                users.setdefault(key, {})[f"{manifest.kind} {manifest.name}"] = None
    for inside in charts:
        for image in inside.images:
            users.setdefault((image, image), {})[f"chart {inside.chart}"] = None
    return tuple(BundleImage(source, reference, tuple(names)) for (source, reference), names in sorted(users.items()))


def _chart(release: Mapping[str, Any]) -> BundleChart:
    chart = str(release["chart"])
    repository = release.get("repositoryOpts", {}).get("repo")
    return BundleChart(_name(chart), chart, repository, str(release.get("version", "")))


def _name(chart: str) -> str:
    return chart.rstrip("/").rpartition("/")[2]


def _weights(checkpoint: CheckpointPlan) -> Weights:
    held = "which its Job fills" if checkpoint.fetch else "which must hold it already"
    hub = checkpoint.fetch.hub if checkpoint.fetch else None
    return Weights(
        repository=checkpoint.model,
        revision=checkpoint.revision,
        pinned=checkpoint.pinned,
        hub=hub.kind if hub else "huggingface",
        endpoint=hub.endpoint if hub else None,
        directory=checkpoint.key[0],
        place=f"{checkpoint.place.kind} {checkpoint.place.name}, {held}",
        size_bytes=checkpoint.disk_bytes,
        counted=checkpoint.counted,
    )


def _fetched(manifests: Sequence[Manifest]) -> Iterator[Weights]:
    """Weights that Jobs fetch, of a program whose plan is not known, by the variables of their scripts."""
    for manifest in manifests:
        pod = manifest.body.get("spec", {}).get("template", {}).get("spec", {}) if manifest.kind == "Job" else {}
        for container in pod.get("containers", []):
            variables = {variable["name"]: variable.get("value", "") for variable in container.get("env", [])}
            if "MODEL_REPO" in variables:
                yield Weights(
                    repository=variables["MODEL_REPO"],
                    revision=variables["MODEL_REVISION"],
                    pinned=bool(COMMIT.fullmatch(variables["MODEL_REVISION"])),
                    hub=variables.get("HUB_KIND", "huggingface"),
                    endpoint=variables.get("HF_ENDPOINT") or variables.get("MODELSCOPE_ENDPOINT"),
                    directory="/".join((variables.get("TARGET_URL") or variables["TARGET_DIR"]).split("/")[-2:]),
                    place=f"{variables.get('TARGET_URL') or 'a claim'} that Job {manifest.name} fills",
                    size_bytes=int(variables["EXPECTED_BYTES"]),
                    counted=False,
                )


def _listed(weights: Weights, listings: Sequence[Listing]) -> Weights:
    """The checkpoint with its files, where a listing has them."""
    listing = next((listing for listing in listings if listing.is_of(weights.repository, weights.revision)), None)
    if listing is None:
        return weights
    size_bytes = sum(file.size_bytes for file in listing.files)
    return replace(weights, size_bytes=size_bytes, counted=True, files=listing.files)


def _of_images(images: Sequence[BundleImage]) -> Iterator[str]:
    if tags := sum(not image.pinned for image in images):
        yield (
            f"the digests of {tags} of {len(images)} images, whose tags may move until they are copied; "
            "images.overrides.NAME.digest pins those of the stack"
        )


def _of_weights(weights: Sequence[Weights]) -> Iterator[str]:
    for checkpoint in weights:
        name = f"{checkpoint.repository}@{checkpoint.revision[:12]}"
        if not checkpoint.pinned:
            yield f"{name}: the commit, for the revision moves; give models.NAME.revision"
        if not checkpoint.counted:
            yield f"{name}: the size, which is estimated from the shape of the model"
        if not checkpoint.files:
            yield f"{name}: files and hashes; give --listing with its manifest.json, or with the hub's listing"
