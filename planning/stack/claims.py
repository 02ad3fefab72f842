"""GPUs that pods claim from a driver (dynamic resource allocation), in place of asking the device plugin for a number.

What a device must be, which pools cannot have it, and what nodes and the GPU Operator are told. The operator has one
way for all nodes of a cluster: the device plugin or the driver of claims.
"""

from collections.abc import Iterator, Mapping

from catalog.load import Catalog
from catalog.schema import Gpu
from catalog.vendors import Claims, Vendor
from planning.capacity.mig import Slice
from planning.plan.pools import ClaimedDevices, PoolPlan, Shared
from planning.stack.operator_parts import brought
from settings.problems import Problem
from settings.schema import PoolSettings, StackSettings

GPU_OPERATOR = "gpu-operator"
OPENING, CLOSING = "([{", ")]}"


def claims_problems(name: str, pool: PoolSettings, settings: StackSettings, catalog: Catalog) -> Iterator[Problem]:
    """Cards that no driver publishes, a cluster too old, nodes that no claim buys, and classes of other devices."""
    if pool.claims is None:
        return
    path, gpu = f"gpuPools.{name}.claims", catalog.gpus.get(pool.gpu)
    vendor = catalog.vendors[gpu.vendor] if gpu else None
    if vendor is None or vendor.claims is None or pool.gpu in vendor.claims.without:
        yield Problem(path, f"no driver is known that {pool.gpu} is claimed from; leave it out")
        return
    minor, oldest = settings.cluster.kubernetes_minor, catalog.kubernetes.claims_minor
    if minor < oldest:
        why = f"needs Kubernetes 1.{oldest} or newer, and cluster.kubernetes says 1.{minor}"
        yield Problem(path, f"{why}; upgrade the cluster, or leave it out for the device plugin")
    if why := vendor.claims.blind.get(pool.provisioning.kind):
        yield Problem(f"gpuPools.{name}.provisioning.kind", why)
    if pool.mig is not None and "strategy" in pool.mig.model_fields_set:
        why = "is how the device plugin calls parts, and a claim names their profile; leave it out"
        yield Problem(f"gpuPools.{name}.mig.strategy", why)
    usual, other = _classes(vendor.claims, parts=pool.mig is not None)
    if other is not None and pool.claims.device_class == other:
        what = "whole cards, and mig asks for parts" if pool.mig else "parts of cards, and the pool has no mig"
        yield Problem(f"{path}.deviceClass", f"{other} is of {what}; use {usual}, or leave it out")
    for position, expression in enumerate(pool.claims.selectors):
        if wrong := broken_selector(expression):
            yield Problem(f"{path}.selectors[{position}]", wrong)
    yield from _operator_problems(name, path, vendor, settings, catalog)


def _classes(claims: Claims, *, parts: bool) -> tuple[str, str | None]:
    """(class of what the pool has, that of what it has not)."""
    of_parts = claims.parts.device_class if claims.parts else None
    return (of_parts, claims.device_class) if parts and of_parts else (claims.device_class, of_parts)


def broken_selector(expression: str) -> str:
    """The reason why the API server would refuse an expression, or why it says nothing of a device; empty: none seen.

    A reader of brackets and quotes, and no compiler of CEL: what it lets through, the API server may still refuse.
    """
    expected: list[str] = []
    quote = ""
    characters = iter(expression)
    for character in characters:
        if quote:
            if character == "\\":
                next(characters, "")
            elif character == quote:
                quote = ""
        elif character in "'\"":
            quote = character
        elif character in OPENING:
            expected.append(CLOSING[OPENING.index(character)])
        elif character in CLOSING and (not expected or expected.pop() != character):
            return f"has a {character} that closes nothing; it is one expression of CEL"
    if quote or expected:
        return f"ends before its {quote or expected[-1]}; it is one expression of CEL"
    if "device." not in expression:
        example = "device.attributes['gpu.nvidia.com'].architecture == 'Hopper'"
        return f"asks nothing of the device; write a condition such as {example}"
    return ""


def _operator_problems(
    name: str, path: str, vendor: Vendor, settings: StackSettings, catalog: Catalog
) -> Iterator[Problem]:
    """Device plugins that the GPU Operator cannot have beside claims: its own, the nodes', that of other pools."""
    operator, platform = settings.gpu_operator, settings.cluster.platform
    if vendor.operator != GPU_OPERATOR or not operator.install:
        return
    if operator.device_plugin:
        why = f"pool '{name}' claims its GPUs, and two that give out the same cards give them out twice; leave it out"
        yield Problem("gpuOperator.devicePlugin", why)
    elif "devicePlugin" in catalog.platform(platform).nodes_have:
        yield Problem(
            path,
            f"nodes of platform {platform} have a device plugin, which gives out the same cards, and a driver of "
            "claims is not the GPU Operator's there; make nodes without the one and with the other as the platform "
            "says, and set gpuOperator.install: false",
        )
    if operator.toolkit:
        why = f"pool '{name}' claims its GPUs, and the operator has no toolkit then: the nodes' runtime needs CDI"
        yield Problem("gpuOperator.toolkit", f"{why}; leave it out")
    others = [other for other, each in settings.gpu_pools.items() if each.claims is None and _is_of(each, catalog)]
    if others:
        why = f"pool '{others[0]}' has none, and the GPU Operator has one way for all nodes of a cluster"
        yield Problem(path, f"{why}: give claims to all pools of its GPUs, or to none")


def _is_of(pool: PoolSettings, catalog: Catalog) -> bool:
    """Whether the GPU Operator brings what offers the GPUs of a pool."""
    gpu = catalog.gpus.get(catalog.gpu_id(pool.gpu) or "")
    return gpu is not None and catalog.vendors[gpu.vendor].operator == GPU_OPERATOR


def claimed(pool: PoolSettings, gpu: Gpu | None, part: Slice | None, vendor: Vendor | None) -> ClaimedDevices | None:
    """The devices that pods of a pool claim; None: they ask for a number of them by name."""
    known = vendor.claims if vendor else None
    if pool.claims is None or gpu is None or known is None:
        return None
    usual, _ = _classes(known, parts=part is not None)
    attributes: dict[str, tuple[str, ...]] = {"type": (known.parts.kind if part and known.parts else known.kind,)}
    attributes[known.product] = tuple(gpu.product_labels)
    if part and known.parts:
        attributes[known.parts.profile] = (part.profile,)
    return ClaimedDevices(
        device_class=pool.claims.device_class or usual,
        ours=pool.claims.device_class in (None, usual),
        driver=known.driver,
        attributes=attributes,
        driver_version=known.driver_version,
        selectors=(_condition(known.driver, known.product, attributes), *pool.claims.selectors),
    )


def _condition(driver: str, product: str, attributes: Mapping[str, tuple[str, ...]]) -> str:
    """The condition in CEL that makes a device one of the pool's.

    An attribute that a device does not have is an error, which ends a whole allocation; after `false &&` it is none.
    """
    terms = [f"device.driver == '{driver}'"]
    for attribute, values in attributes.items():
        value = f"device.attributes['{driver}'].{attribute}"
        if attribute == product:
            # as node labels have it: with dashes for spaces
            listed = ", ".join(f"'{each}'" for each in values)
            terms.append(f"{value}.replace(' ', '-') in [{listed}]")
        else:
            terms.append(f"{value} == '{values[0]}'")
    return " && ".join(terms)


def has_claims(settings: StackSettings, catalog: Catalog) -> bool:
    """Whether the GPU Operator's pools claim their GPUs; all do, or none."""
    return any(pool.claims is not None and _is_of(pool, catalog) for pool in settings.gpu_pools.values())


def claims_values(settings: StackSettings, catalog: Catalog) -> dict[str, object]:
    """Values of the GPU Operator for its driver of claims, which comes in place of the device plugin.

    The kernel's driver is then of an object of its own, and there are no toolkit, node labels and MIG manager
    (NVIDIA/gpu-operator v26.7.0, templates/validations.yaml, templates/gpucluster.yaml).
    """
    driver = brought(settings, catalog)["driver"]
    return {
        "clusterPolicy": {"deployCR": False},
        "gpuCluster": {"deployCR": True},
        "driver": {"enabled": True, "nvidiaDriverCRD": {"enabled": True}} if driver else {"enabled": False},
        "toolkit": {"enabled": False},
        # of NVLink over nodes, which no server here uses
        "draDriver": {"computeDomains": {"enabled": False}},
    }


def claims_warnings(pools: Mapping[str, PoolPlan], settings: StackSettings, catalog: Catalog) -> Iterator[str]:
    """For each pool of claims: what must be on its nodes, and what Kubernetes does not do with claims."""
    drivers = {vendor.claims.driver: vendor.claims for vendor in catalog.vendors.values() if vendor.claims}
    for name, pool in pools.items():
        if pool.claims is None:
            continue
        known = drivers[pool.claims.driver]
        ours = pool.operator and settings.gpu_operator.install and not isinstance(pool.provisioning, Shared)
        needs = known.needs if ours else f"its nodes need {known.brings}"
        yield f"pool {name}: its GPUs are claimed: {needs}"
        # once for all pools
        yield (
            "GPUs that are claimed: Kubernetes takes none from a pod of lower priority, so a priority class decides "
            "who is placed first, and evicts nobody"
        )
