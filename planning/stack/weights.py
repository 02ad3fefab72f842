"""Checkpoints: where they are kept, how they come there, and how servers find them: one arm for each kind of weights.

One claim per checkpoint that is fetched, its size decided by the checkpoint alone: a claim can never shrink, and often
cannot grow, so one that is shared by a changing set of models would sooner or later be refused by the API server.
"""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from catalog.load import Catalog
from catalog.schema import Model, Networks
from planning.plan.weights import CheckpointPlan, ClaimVolume, OwnClaim, WeightsPlan
from planning.stack.flows import DOWNLOADS, flows_of
from planning.stack.hubs import HUB_HOSTS, xet
from planning.stack.network import HasEndpoint
from planning.stack.outward import direct_problems, proxy_problems, proxy_reasons
from planning.stack.places import MOUNT_PATH, Keeping, disk_bytes, kept_at, place_key, place_problems
from planning.stack.stores import scheme_of, writer_problems
from settings.doubt import follows_from, judge
from settings.problems import Problem
from settings.schema import (
    ModelSettings,
    NodeCacheWeights,
    ObjectStoreWeights,
    SharedClaimWeights,
    StackSettings,
    WeightsSettings,
    all_weights,
    hub_of,
    is_sharded,
)

# What a revision is called when nobody has pinned one: the hub's newest, whatever branch the hub calls so.
UNPINNED_REVISION = "main"
# A Job's name is a label of its pods, 63 characters at most; "weights-" and Pulumi's ending take 17 of them.
JOB_NAME_LIMIT = 46


def plan_checkpoint(
    repository: str,
    model: Model,
    revision: str | None,
    settings: WeightsSettings,
    keeping: Keeping,
    spread: str = "",
) -> CheckpointPlan:
    """The checkpoint of one server; where it is follows from repository and revision alone.

    `spread`: of `asked_spread`.
    """
    pinned = revision or _known_commit(model, settings)
    chosen = pinned or UNPINNED_REVISION
    slug = repository.replace("/", "--")
    key, name = place_key(settings), _name(slug, chosen)
    # another place for one model may not rename the claims of the others
    name = name if key == place_key(keeping.usual) else _hashed(name, "@".join(key))
    place, source = kept_at(f"{slug}/{chosen}", name, model, settings, keeping)
    return CheckpointPlan(
        name=name,
        model=repository,
        revision=chosen,
        pinned=pinned is not None,
        disk_bytes=disk_bytes(model),
        counted=model.checkpoint.disk_bytes is not None,
        place=place,
        source=source,
        key=(f"{slug}/{chosen}", *key),
        # who vouches for a checkpoint vouches for all that serve it; the catalogue's is of its own commit
        manifest_sha256=keeping.vouched.get((repository, chosen, spread))
        or (model.manifest_sha256 if chosen == model.revision and not spread else None),
    )


def beside(checkpoint: CheckpointPlan, folder: str, role: str) -> CheckpointPlan:
    """A checkpoint that is loaded beside another: a claim of ours is mounted below `folder`, not where that one's is.

    `role`: what its place is for, which another of the same files has not; whatever is loaded beside is not warmed.
    """
    name, source = _hashed(checkpoint.name, f"{checkpoint.key[0]} as {role}"), replace(checkpoint.source, prewarm=False)
    checkpoint = replace(checkpoint, key=(*checkpoint.key, role))
    if not isinstance(checkpoint.place, OwnClaim):
        return replace(checkpoint, source=source)
    path = f"{folder}/{name}"
    directory = source.directory.replace(MOUNT_PATH, path, 1)
    source = replace(source, argument=directory, directory=directory, volume=ClaimVolume("", path))
    return _renamed(replace(checkpoint, source=source), name)


def _known_commit(model: Model, settings: WeightsSettings) -> str | None:
    """The catalogue's commit, which is one of Hugging Face; ModelScope has others."""
    hub = hub_of(settings)
    return None if hub is not None and hub.kind != "huggingface" else model.revision


def _name(slug: str, revision: str) -> str:
    """Short unique name; one that would be too long keeps its start and ends in a hash."""
    name = f"{slug.lower().replace('.', '-').replace('_', '-')}-{revision[:8]}"
    if len(name) <= JOB_NAME_LIMIT:
        return name
    return _hashed(name, f"{slug}@{revision}")


def tell_apart(checkpoints: Sequence[CheckpointPlan]) -> list[CheckpointPlan]:
    """The same, no two places under one name: where names meet, all but the first revision end in a hash.

    The first is that of the lowest commit, so the order of models in a stack file renames no claim.
    """
    names: dict[tuple[str, ...], str] = {}
    for key, name in sorted({checkpoint.key: checkpoint.name for checkpoint in checkpoints}.items()):
        names[key] = _hashed(name, f"{MOUNT_PATH}/{key[0]}") if name in names.values() else name
    return [_renamed(checkpoint, names[checkpoint.key]) for checkpoint in checkpoints]


def _renamed(checkpoint: CheckpointPlan, name: str) -> CheckpointPlan:
    """The same under another name, which its claim has too if it is ours."""
    place = checkpoint.place
    if not isinstance(place, OwnClaim):
        return replace(checkpoint, name=name)
    own, volume = replace(place, name=f"weights-{name}"), checkpoint.source.volume
    mounted = ClaimVolume(own.mounted, volume.mount_path if volume else MOUNT_PATH)
    return replace(checkpoint, name=name, place=own, source=replace(checkpoint.source, volume=mounted))


def _hashed(name: str, key: str) -> str:
    digest = hashlib.sha256(key.encode()).hexdigest()[:8]
    return f"{name[: JOB_NAME_LIMIT - 9].rstrip('-')}-{digest}"


def gated_warnings(weights: WeightsPlan, *, has_token: bool) -> list[str]:
    """Warnings of checkpoints that the hub refuses to whoever has no token."""
    return [
        f"{checkpoint.model} is gated and there is no hub token, so its download will be refused; accept its licence "
        "on the hub, then set the secret huggingFaceToken or weights.hub.tokenSecret"
        for checkpoint in weights.checkpoints
        if checkpoint.fetch
        and checkpoint.fetch.gated
        and not (checkpoint.fetch.hub.token_secret or (has_token and checkpoint.fetch.hub.takes_token))
    ]


def weights_problems(settings: StackSettings, keeping: Keeping) -> list[Problem]:
    """Problems of the weights of the stack, and of each model that has weights of its own."""
    sources = list(all_weights(settings))
    origins = [(path, _filled(weights)) for path, weights in sources]
    reached = [way for _, weights in origins for way in _reached(weights, keeping.catalog)]
    problems = judge(direct_problems, settings.cluster, reached)
    problems += judge(proxy_problems, settings.cluster, keeping.catalog.networks)
    problems += [p for path, weights in sources for p in judge(place_problems, weights, path, settings, keeping)]
    stores = [(path, weights) for path, weights in origins if isinstance(weights, ObjectStoreWeights)]
    return problems + judge(_differing, sources) + judge(writer_problems, stores) + judge(_vouched_problems, settings)


def _reached(weights: WeightsSettings, catalog: Catalog) -> Iterator[tuple[HasEndpoint, str]]:
    """The hub and the store that pods ask for such weights, each with the host where it is if nothing is said."""
    if hub := hub_of(weights):
        yield hub, HUB_HOSTS[hub.kind]
    if isinstance(weights, ObjectStoreWeights):
        yield weights, catalog.stores[scheme_of(weights)].host


def _vouched(settings: StackSettings) -> Iterator[tuple[str, tuple[str, str | None, str], str]]:
    """(path, checkpoint, hash) of every model and canary that vouches for one."""
    for name, model in settings.models.items():
        spread = asked_spread(model, settings.weights)
        if model.manifest_sha256:
            yield f"models.{name}", (model.model, model.revision, spread), model.manifest_sha256
        canary = model.canary
        if canary and canary.manifest_sha256:
            revision = canary.revision or (model.revision if canary.model is None else None)
            yield f"models.{name}.canary", (canary.model or model.model, revision, spread), canary.manifest_sha256


def asked_spread(model: ModelSettings, usual: WeightsSettings) -> str:
    """The ranks that were asked for where each has files of its own; empty for whole files, which all read."""
    if not is_sharded(model.weights or usual):
        return ""
    return f"{model.tensor_parallel or 'auto'} × {model.pipeline_parallel or 1}"


def vouched_hashes(settings: StackSettings) -> dict[tuple[str, str, str], str]:
    """(repository, commit, spread) → hash that the manifest of that checkpoint must have, wherever it is."""
    return {
        (model, revision, spread): manifest for _, (model, revision, spread), manifest in _vouched(settings) if revision
    }


def _vouched_problems(settings: StackSettings) -> Iterator[Problem]:
    """Hashes of what moves, and two of one checkpoint."""
    first: dict[tuple[str, str | None, str], tuple[str, str]] = {}
    for path, checkpoint_key, manifest in _vouched(settings):
        if checkpoint_key[1] is None:
            yield Problem(f"{path}.manifestSha256", f"is the hash of one commit; give {path}.revision too")
        where, other = first.setdefault(checkpoint_key, (path, manifest))
        if other != manifest:
            yield Problem(
                f"{path}.manifestSha256", f"is another than that of {where}, which serves the same files; one is wrong"
            )


def _filled(weights: WeightsSettings) -> WeightsSettings:
    return weights.copied_from if isinstance(weights, NodeCacheWeights) else weights


def _differing(sources: Sequence[tuple[str, WeightsSettings]]) -> Iterator[Problem]:
    """Weights of one place that are brought there in two ways: one claim is filled once."""
    first: dict[tuple[str, ...], tuple[str, dict[str, Any]]] = {}
    for path, weights in sources:
        filled = _filled(weights)
        follows_from(filled)
        how = filled.model_dump(exclude={"read_mib_per_s", "prewarm", "size_gib"})
        where, other = first.setdefault(place_key(weights), (path, how))
        fields = type(filled).model_fields
        if keys := [fields[field].alias or field for field, value in how.items() if value != other[field]]:
            yield Problem(
                path, f"is the same place as {where}, but differs in {' and '.join(keys)}; write the same in both"
            )


def resolve_weights(settings: StackSettings, checkpoints: Sequence[CheckpointPlan], networks: Networks) -> WeightsPlan:
    """All checkpoints, each once, and why downloads are as they are."""
    distinct: dict[tuple[str, ...], CheckpointPlan] = {}
    for checkpoint in checkpoints:
        known = distinct.setdefault(checkpoint.key, checkpoint)
        # who signs a checkpoint signs it for all that serve it
        distinct[checkpoint.key] = replace(known, signature=known.signature or checkpoint.signature)
    reasons = {
        f"{path.removeprefix('weights')}.{key}".removeprefix("."): why
        for path, weights in all_weights(settings)
        if isinstance(weights, SharedClaimWeights)
        for key, why in xet(weights, settings.cluster)[1].items()
    }
    reasons |= proxy_reasons(settings.cluster, distinct.values())
    return WeightsPlan(tuple(distinct.values()), reasons, flows_of(settings, DOWNLOADS, networks))
