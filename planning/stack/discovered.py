"""Labels that node labellers write on the nodes of a pool."""

from catalog.load import Catalog
from catalog.schema import Gpu, VendorName
from planning.capacity.mig import Slice, slice_label
from planning.stack.mig import part_resource
from planning.stack.sharing import slices_of
from settings.schema import PoolSettings


def discovered(pool: PoolSettings, gpu: Gpu | None, part: Slice | None, catalog: Catalog) -> dict[str, str]:
    """Labels of nodes with this GPU, or with the parts that it is cut into."""
    if gpu is None:
        return {}
    vendor = catalog.vendors[gpu.vendor]
    if pool.claims:
        # without the device plugin there is no feature discovery; the operator itself says that there are GPUs
        # (NVIDIA/gpu-operator v26.7.0, controllers/nodelabeling_controller.go)
        return {f"{vendor.resource}.present": "true"} if vendor.operator else {}
    if gpu.vendor is not VendorName.NVIDIA:
        return {vendor.product_label: gpu.product_labels[0]}
    major, minor = gpu.capability
    facts = {
        "present": "true",
        "product": gpu.product_labels[0],
        "count": str(pool.gpus_per_node),
        "memory": str(gpu.memory_mib),
        "replicas": str(slices_of(pool) or 1),
        "compute.major": str(major),
        "compute.minor": str(minor),
    }
    whole = {f"{vendor.resource}.{fact}": value for fact, value in facts.items()}
    return {**whole, **(_parts(pool, gpu, part, vendor.resource) if part else {})}


def _parts(pool: PoolSettings, gpu: Gpu, part: Slice, resource: str) -> dict[str, str]:
    """The same of parts, under their own name or in place of what is written of cards."""
    instances = gpu.mig.profiles[part.profile].instances if gpu.mig else 1
    facts = {
        "product": slice_label(gpu.product_labels[0], part.profile),
        "count": str((pool.gpus_per_node or 0) * instances),
        "memory": str(part.memory_mib),
        "replicas": "1",
    }
    strategy = pool.mig.strategy if pool.mig else ""
    named = {f"{part_resource(resource, pool)}.{fact}": value for fact, value in facts.items()}
    return {**named, "nvidia.com/mig.strategy": strategy}
