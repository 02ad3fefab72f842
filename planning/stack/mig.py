"""Cards that are cut into parts (NVIDIA's Multi-Instance GPU): what nodes and operator are told, and what cannot be.

A pod has one part and sees a smaller card. The GPU Operator's MIG manager cuts the cards of a node that has its label;
without one it puts them together again, so nodes that somebody else has cut carry the label, too (NVIDIA/gpu-operator
v26.7.0, controllers/state_manager.go).
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace

from catalog.load import Catalog
from catalog.schema import Gpu, VendorName
from catalog.vendors import Vendor
from planning.capacity.mig import Slice, slice_id, slice_label, slice_of, unused
from planning.plan.pools import MigPlan, PoolPlan
from planning.stack.operator_parts import brought
from settings.problems import Problem, guess
from settings.schema import ExistingNodes, PoolSettings, StackSettings

# The label that the GPU Operator's MIG manager obeys, and its name for a card of equal parts
# (NVIDIA/mig-parted@bd7160f, deployments/systemd/config-default.yaml).
CONFIG_LABEL, CONFIG = "nvidia.com/mig.config", "all-{}"
# How nodes offer parts where no pool has any: as before there were such pools.
USUAL_STRATEGY = "single"


def mig_problems(name: str, pool: PoolSettings, settings: StackSettings, catalog: Catalog) -> Iterator[Problem]:
    """Cards that are not cut, profiles of other cards, and strategies of which the operator has only one."""
    if pool.mig is None:
        return
    path, gpu, profile = f"gpuPools.{name}.mig", catalog.gpus.get(pool.gpu), pool.mig.profile
    if gpu is None or gpu.vendor is not VendorName.NVIDIA:
        yield Problem(path, f"is of NVIDIA's cards, and {pool.gpu} is none; leave it out")
    elif gpu.mig is None:
        others = ", ".join(key for key, card in catalog.gpus.items() if card.mig)
        yield Problem(path, f"{gpu.name} is cut into no parts that are known; leave it out, or use one of {others}")
    elif profile not in gpu.mig.profiles:
        meant = guess(profile, gpu.mig.profiles)
        hint = f"did you mean '{meant}'? it" if meant else "it"
        yield Problem(f"{path}.profile", f"{gpu.name} has no '{profile}'; {hint} has {_listed(gpu)}")
    if pool.gpu_link == "nvlink":
        yield Problem(f"gpuPools.{name}.gpuLink", "is nvlink, and parts of cards have no link; leave it out")
    first = next((key, each.mig) for key, each in settings.gpu_pools.items() if each.mig)
    if first[1].strategy != pool.mig.strategy:
        why = f"is {pool.mig.strategy}, and that of pool '{first[0]}' is {first[1].strategy}"
        fix = f"the device plugin has one for all nodes; use {first[1].strategy}"
        yield Problem(f"{path}.strategy", f"{why}: {fix}")


def part_hint(written: str, catalog: Catalog) -> str:
    """The card and profile of a part whose own name was written for a GPU; empty: it is no such name."""
    part = re.fullmatch(r"(.+)[- ]MIG[- ](.+)", written, re.IGNORECASE)
    card = catalog.gpu_id(part[1]) if part else None
    return f"; it is a part of a card: use gpu: {card} and mig: {{profile: {part[2]}}}" if part and card else ""


def _listed(gpu: Gpu) -> str:
    """The profiles of a card, with how many of which memory it gives."""
    profiles = gpu.mig.profiles.items() if gpu.mig else ()
    return ", ".join(f"{name} ({part.instances} × {part.memory_mib / 1024:.1f} GiB)" for name, part in profiles)


def manager_problems(settings: StackSettings, catalog: Catalog) -> list[Problem]:
    """Parts with names of their own where the device plugin is not the operator's, which alone is told to give them."""
    if not settings.gpu_operator.install or brought(settings, catalog)["devicePlugin"]:
        return []
    platform = settings.cluster.platform
    why = (
        f"is told to the GPU Operator's device plugin, and nodes of platform {platform} have another one, which calls "
        "parts nvidia.com/gpu; use strategy: single, or set gpuOperator.devicePlugin: true where that one is off"
    )
    named = (name for name, pool in settings.gpu_pools.items() if pool.mig and pool.mig.strategy == "mixed")
    return [Problem(f"gpuPools.{name}.mig.strategy", why) for name in named]


def strategy_of(settings: StackSettings) -> str:
    """The way in which the device plugin offers parts, on all nodes."""
    ways = (pool.mig.strategy for pool in settings.gpu_pools.values() if pool.mig)
    return next(ways, USUAL_STRATEGY)


def manager_values(settings: StackSettings, catalog: Catalog) -> dict[str, object]:
    """Values of the GPU Operator for its MIG manager: on where the operator's own plugin offers what it cuts."""
    if not any(pool.mig for pool in settings.gpu_pools.values()):
        return {}
    return {"migManager": {"enabled": brought(settings, catalog)["devicePlugin"]}}


def cut(pool: PoolSettings, gpu: Gpu | None) -> Slice | None:
    """The part of a card that servers of a pool have; None: whole cards."""
    if pool.mig is None or gpu is None:
        return None
    return slice_of(gpu, pool.mig.profile, named=pool.mig.strategy == "single")


def mig_plan(
    pool: PoolSettings, part: Slice | None, vendor: Vendor | None, settings: StackSettings, catalog: Catalog
) -> MigPlan | None:
    """The parts of a pool's cards, and what its nodes say of them."""
    mig = part.card.mig if part else None
    if part is None or mig is None or vendor is None or pool.mig is None:
        return None
    resource = part_resource(vendor.resource, pool)
    single = pool.mig.strategy == "single"
    return MigPlan(
        card=pool.gpu,
        card_resource=vendor.resource,
        profile=part.profile,
        strategy=pool.mig.strategy,
        per_card=mig.profiles[part.profile].instances,
        config=(CONFIG_LABEL, CONFIG.format(part.profile)),
        cut_by_us=cut_by_operator(pool, settings, catalog),
        # under a name of their own there are none of another kind
        labels={vendor.product_label: tuple(part.product_labels)} if single else {},
        memory_label=f"{resource}.memory",
    )


def cut_by_operator(pool: PoolSettings, settings: StackSettings, catalog: Catalog) -> bool:
    """Whether the stack labels nodes for the operator's MIG manager, which is there with its device plugin alone."""
    here = isinstance(pool.provisioning, ExistingNodes) and pool.claims is None
    return here and brought(settings, catalog)["devicePlugin"]


def part_resource(resource: str, pool: PoolSettings) -> str:
    """The name of parts on a node, as the strategy has it."""
    if pool.mig is None or pool.mig.strategy == "single":
        return resource
    return f"{resource.partition('/')[0]}/mig-{pool.mig.profile}"


def product_of(gpu: Gpu, vendor: Vendor, pool: PoolSettings) -> tuple[str, tuple[str, ...]]:
    """(label, values) by which nodes with this GPU are found, or with parts of it."""
    if pool.mig is None:
        return vendor.product_label, tuple(gpu.product_labels)
    names = tuple(slice_label(label, pool.mig.profile) for label in gpu.product_labels)
    return f"{part_resource(vendor.resource, pool)}.product", names


def nobody_shares(resource: str) -> Mapping[str, tuple[str, ...]]:
    """Labels of nodes whose parts are whole: those of cards, under the name of parts."""
    return {f"{resource}.replicas": ("0", "1"), f"{resource}.sharing-strategy": ("none",)}


def mig_labels(mig: MigPlan | None) -> dict[str, str]:
    """Labels of nodes whose cards the stack has cut."""
    return dict([mig.config]) if mig and mig.cut_by_us else {}


def mig_reasons(part: Slice | None, per_node: int, usd_per_node_hour: float | None) -> dict[str, str]:
    """Sentence about the parts of a pool: what they are, what each costs, and what of a card none of them has."""
    mig = part.card.mig if part else None
    if part is None or mig is None:
        return {}
    profile = mig.profiles[part.profile]
    text = f"{part.profile}: {profile.instances} of each card, {part.memory_mib / 1024:.2f} GiB each"
    text += (
        f", with {profile.slices}/{mig.slices} of its compute and {profile.memory_slices}/{mig.memory_slices} of its"
    )
    text += " bandwidth"
    if usd_per_node_hour is not None:
        text += f", ${usd_per_node_hour / per_node:.4g}/h each"
    over = unused(mig, profile)
    return {"mig": f"{text}; unused and paid for: {over} of each card" if over else text}


def with_parts(catalog: Catalog, pools: Mapping[str, PoolPlan]) -> Catalog:
    """The catalogue in which the parts that pools are made of stand beside the cards."""
    parts = {
        pool.gpu: part
        for pool in pools.values()
        if pool.mig
        if (part := slice_of(catalog.gpus[pool.mig.card], pool.mig.profile, named=pool.mig.strategy == "single"))
    }
    return replace(catalog, gpus={**catalog.gpus, **parts}) if parts else catalog


def mig_warnings(pools: Mapping[str, PoolPlan]) -> Iterator[str]:
    """For each pool of parts: who cuts its cards, and what that does to whoever is on them."""
    for name, pool in pools.items():
        if (mig := pool.mig) is None:
            continue
        label = "=".join(mig.config)
        if pool.claims:
            yield (
                f"pool {name}: whoever makes its nodes has to cut every card into {mig.per_card} × {mig.profile} "
                "before the driver of claims starts there, which publishes what it finds then"
            )
        elif mig.cut_by_us:
            yield (
                f"pool {name}: its nodes get the label {label}, upon which the GPU Operator cuts their cards anew: "
                "that ends what runs on them, and on some machines needs a restart"
            )
        else:
            yield (
                f"pool {name}: whoever makes its nodes has to cut every card into {mig.per_card} × {mig.profile}, with "
                f"the label {label} where the GPU Operator has its MIG manager, which undoes what no label says"
            )


def part_id(pool: PoolSettings, part: Slice | None) -> str:
    """The id of what servers have of the pool: of the card, or of a part of it."""
    return slice_id(pool.gpu, part.profile) if part else pool.gpu
