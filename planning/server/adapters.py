"""LoRA adapters of a server: their files beside its weights, the slots they take turns in, and their public names.

They are loaded as the server starts. vLLM could load more while it runs, by a switch that it calls one for development:
with it `POST /adapters` loads any folder that the pod can read for whoever asks, without a key (0.32 and 0.33).
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace

from catalog.engine import Engine
from catalog.schema import Checkpoint, Model, WeightFormat
from planning.capacity import flags
from planning.capacity.flags import has, number
from planning.capacity.lora import adapter_bytes
from planning.plan.pools import PoolPlan
from planning.plan.weights import Adapter, CheckpointPlan, OwnClaim
from planning.server.beside import origin_of, pin_problems, place_problems
from planning.server.fit import Site
from planning.stack.signatures import sign_checkpoint
from planning.stack.weights import beside, plan_checkpoint
from settings.doubt import Judging, judge, judged
from settings.problems import Problem
from settings.schema import (
    AdapterSettings,
    ModelSettings,
    ObjectStoreWeights,
    StackSettings,
    WeightsSettings,
)

FOLDER = "/adapters"
# Adapters that the sequences of one step may have between them; those of more wait for a slot (vllm/config/lora.py).
MOST_SLOTS = 4
# Numbers of an adapter on disk are often of 4 bytes, whatever those of its base are.
DISK_BYTES = 4


def slot_args(settings: ModelSettings, engine: Engine) -> list[str]:
    """Arguments for the slots of a server's adapters, less those that `args` have; none where it has no adapters."""
    if not settings.adapters:
        return []
    count = len(settings.adapters)
    slots = number(settings.args, flags.MAX_LORAS, min(count, MOST_SLOTS))
    options = {
        flags.ENABLE_LORA: "",
        flags.MAX_LORAS: f"={slots}",
        flags.MAX_LORA_RANK: f"={_slot_rank(settings, engine)}",
        # one that waits for a slot is kept in the pod's memory, and not read again
        **({flags.MAX_CPU_LORAS: f"={count}"} if count > slots else {}),
    }
    return [f"{name}{value}" for name, value in options.items() if not has(settings.args, name)]


def _slot_rank(settings: ModelSettings, engine: Engine) -> int:
    """The smallest rank of slots that vLLM has and all adapters fit into."""
    largest = max(adapter.rank for adapter in settings.adapters.values())
    return min(int(rank) for rank in engine.options[flags.MAX_LORA_RANK].choices if int(rank) >= largest)


def module_args(adapters: Mapping[str, CheckpointPlan]) -> list[str]:
    """The argument that names them, public name → its files."""
    words = [f"{name}={checkpoint.source.argument}" for name, checkpoint in adapters.items()]
    return [flags.LORA_MODULES, *words] if words else []


def plan_adapters(
    site: Site, path: str, settings: ModelSettings, model: Model, pool: PoolPlan, *, canary: bool
) -> tuple[dict[str, CheckpointPlan], list[Problem]]:
    """Public name → its checkpoint, of all adapters of a server or of a canary with the settings of that."""
    if not settings.adapters:
        return {}, []
    origin, where = origin_of(site, settings), path.removesuffix(".canary")
    planned, problems = {}, [] if canary else judge(place_problems, origin, where, "adapters", pool)
    if problems or isinstance(origin, ObjectStoreWeights):
        return {}, problems
    problems += judge(_argument_problems, settings, where)
    for name, adapter in settings.adapters.items():
        at = f"{where}.adapters.{name}"
        planned[name], unsigned = judged(_plan, site, at, settings, adapter, model, origin, pool)
        problems += [] if canary else [*unsigned, *judge(_pin_problems, site, at, adapter)]
        if canary and adapter.base is None and settings.model != site.settings.models[where.partition(".")[2]].model:
            message = f"is needed: the canary serves {settings.model}, and the adapter names one base"
            problems.append(Problem(f"{at}.base", message))
    return planned, problems


def _plan(
    site: Site,
    path: str,
    settings: ModelSettings,
    adapter: AdapterSettings,
    model: Model,
    origin: WeightsSettings,
    pool: PoolPlan,
) -> tuple[CheckpointPlan, list[Problem]]:
    most = adapter_bytes(model.architecture, adapter.rank, number_bytes=DISK_BYTES) if model.architecture else 2**30
    facts = {
        "revision": None,
        "manifest_sha256": None,
        "gated": False,
        "checkpoint": Checkpoint(format=WeightFormat.BF16, disk_bytes=max(1, int(most))),
    }
    keeping = replace(site.keeping, on=pool)
    files = plan_checkpoint(adapter.repo, model.model_copy(update=facts), adapter.revision, origin, keeping)
    base = adapter.base or settings.model
    files = beside(replace(files, manifest_sha256=adapter.manifest_sha256, counted=False), FOLDER, f"adapter of {base}")
    if isinstance(place := files.place, OwnClaim):
        # nobody knows how much of the base it changes
        files = replace(files, place=replace(place, fetch=replace(place.fetch, least_bytes=0)))
    files = replace(files, adapter=Adapter(base, adapter.rank, path))
    return sign_checkpoint(files, adapter.signature, path, site.images["python"], site.settings.images, site.catalog)


def _argument_problems(settings: ModelSettings, path: str) -> Iterator[Problem]:
    """Arguments that contradict the adapters."""
    largest = max(adapter.rank for adapter in settings.adapters.values())
    if has(settings.args, flags.MAX_LORA_RANK) and (rank := number(settings.args, flags.MAX_LORA_RANK, 0)) < largest:
        message = f"{flags.MAX_LORA_RANK}={rank} is less than the rank {largest} of an adapter; leave it out"
        yield Problem(f"{path}.args", message)
    if has(settings.args, flags.NO_LORA):
        yield Problem(f"{path}.args", f"{flags.NO_LORA} takes the adapters away; leave it out, or them")


def _pin_problems(site: Site, path: str, adapter: AdapterSettings) -> Iterator[Problem]:
    yield from pin_problems(site, path, pinned=adapter.revision is not None)
    if adapter.manifest_sha256 and adapter.revision is None:
        yield Problem(f"{path}.manifestSha256", f"is the hash of one commit; give {path}.revision too")


def rank_problems(settings: StackSettings) -> list[Problem]:
    """Ranks and hashes that differ for files that two servers share."""
    first: dict[tuple[str, str | None, str], tuple[str, dict[str, object]]] = {}
    problems = []
    for model_name, model in settings.models.items():
        for name, adapter in model.adapters.items():
            path = f"models.{model_name}.adapters.{name}"
            with Judging() as judging:
                files = adapter.repo, adapter.revision, adapter.base or model.model
                facts = {"rank": adapter.rank, "manifestSha256": adapter.manifest_sha256}
            # one in doubt is compared with no other
            if not judging.is_sure():
                continue
            where, others = first.setdefault(files, (path, facts))
            why = f"differs from that of {where}, which has the same files; write the same"
            problems += [Problem(f"{path}.{key}", why) for key, fact in facts.items() if fact != others[key]]
    return problems


def adapter_reasons(settings: ModelSettings) -> dict[str, str]:
    """Reasons of the slots, and what another adapter does to a server that runs."""
    if not settings.adapters:
        return {}
    slots = number(settings.args, flags.MAX_LORAS, 1)
    return {
        "adapters": f"{', '.join(settings.adapters)}: loaded at the start, so one more restarts the server; "
        f"{slots} {'slot' if slots == 1 else 'slots'} of rank {number(settings.args, flags.MAX_LORA_RANK, 0)}"
    }
