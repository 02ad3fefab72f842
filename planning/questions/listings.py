"""The lists of the catalogue: rows of the facts by which somebody chooses a model, a GPU, a machine type, a platform.

A row has the same keys for programs as for the table, so that neither says what the other leaves out. Pure functions.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from catalog.load import Catalog
from catalog.platforms import GPU_PARTS
from catalog.schema import Gpu, Model
from planning.capacity.asked import Asked, workload
from planning.capacity.budget import Parallelism
from planning.capacity.memory import GIB, budget
from planning.capacity.weights import weight_bytes
from planning.stack.cost import list_price

Row = Mapping[str, object]
# A context that every generating model is asked for, and sequences as a stack plans with: the least a card has to hold.
LIST_CONTEXT_TOKENS, LIST_SEQUENCES = 8_192, 256


@dataclass(frozen=True)
class CatalogList:
    """A list: `columns` are key → heading of the table; keys of rows without a heading are for programs."""

    noun: str
    columns: Mapping[str, str]
    rows: Sequence[Row]

    def of(self, words: Sequence[str]) -> "CatalogList":
        """The rows in which all words stand, in whichever column and case."""
        lower = [word.lower() for word in words]
        return replace(self, rows=[row for row in self.rows if all(word in _text(row) for word in lower)])


def _text(row: Row) -> str:
    """Everything a row says, to look for words in."""
    return "\n".join(cell(value).lower() for value in row.values())


def cell(value: object) -> str:
    """A value as the table shows it; what is not known is a dash."""
    match value:
        case None | () | []:
            return "–"
        case bool():
            return "yes" if value else "no"
        case float():
            return f"{value:,.2f}"
        case int():
            return f"{value:,}"
        case list() | tuple():
            return ", ".join(map(str, value))
        case _:
            return str(value)


def models(catalog: Catalog) -> CatalogList:
    """Every model, with the memory of GPUs that it takes in all for one sequence of 8,192 tokens."""
    columns = {
        "id": "model",
        "task": "task",
        "parameters_billion": "10⁹ params",
        "format": "format",
        "context_tokens": "context",
        "weights_gib": "weights GiB",
        "gpu_gib": "GPU GiB",
        "license": "license",
        "gated": "gated",
    }
    largest = max(catalog.gpus.values(), key=lambda gpu: gpu.memory_mib)
    rows = [
        {
            "id": name,
            "family": model.family,
            "task": model.task.value,
            "parameters_billion": _billion(model.parameters),
            "active_parameters_billion": _billion(model.active_parameters),
            "format": model.checkpoint.format.value,
            "context_tokens": model.context.config_tokens,
            "kv_profile": model.kv_profile.value,
            "weights_gib": round(weight_bytes(model, Parallelism())[0] / GIB, 2) or None,
            "gpu_gib": least_gpu_gib(model, largest, catalog),
            "license": model.license,
            "gated": model.gated,
            "min_vllm": model.min_vllm,
            "revision": model.revision,
        }
        for name, model in catalog.models.items()
    ]
    return CatalogList("model", columns, rows)


def _billion(parameters: int | None) -> float | None:
    return None if parameters is None else round(parameters / 1e9, 2)


def least_gpu_gib(model: Model, gpu: Gpu, catalog: Catalog) -> float | None:
    """GiB that one GPU would have to show so that a stack serves the model with a short context; None: not computed.

    More GPUs need somewhat more in all, for each has buffers of its own.
    """
    tokens = min(LIST_CONTEXT_TOKENS, model.context.config_tokens)
    needed = workload(Asked(context_tokens=tokens, max_num_seqs=LIST_SEQUENCES), model, gpu, catalog.vllm)
    try:
        held = budget(model, gpu, Parallelism(), needed)
    except ValueError:
        return None
    used = held.weights_gib + held.activation_gib + held.cuda_graphs_gib + held.non_torch_gib + held.needed_gib
    return round(used / held.utilization, 2)


def gpus(catalog: Catalog) -> CatalogList:
    """Every GPU, with the lowest list price of one, and by which machine type."""
    columns = {
        "id": "GPU",
        "name": "name",
        "memory_gib": "memory GiB",
        "compute_capability": "capability",
        "memory_gb_per_s": "GB/s",
        "bf16_tflops": "bf16 TFLOPS",
        "nvlink": "NVLink",
        "mig": "MIG",
        "usd_per_hour": "$/h",
        "priced_by": "which is the",
    }
    rows = []
    for name, gpu in catalog.gpus.items():
        price = list_price(catalog, name)
        rows.append(
            {
                "id": name,
                "name": gpu.name,
                "memory_gib": round(gpu.memory_mib / 1024, 1),
                "compute_capability": gpu.compute_capability or gpu.gfx_target,
                "memory_gb_per_s": gpu.memory_gb_per_s,
                "bf16_tflops": gpu.bf16_tflops,
                "nvlink": gpu.nvlink_gb_per_s > 0,
                "mig": ", ".join(gpu.mig.profiles) if gpu.mig else None,
                "usd_per_hour": round(price[0], 4) if price else None,
                "priced_by": price[1] if price else None,
                "product_labels": list(gpu.product_labels),
                "mig_profiles": _profiles(gpu),
            }
        )
    return CatalogList("GPU", columns, rows)


def _profiles(gpu: Gpu) -> list[Row]:
    """The parts that a card can be cut into, the smaller before the larger."""
    if gpu.mig is None:
        return []
    return [
        {
            "profile": name,
            "per_card": profile.instances,
            "memory_gib": round(profile.memory_mib / 1024, 2),
            "share_of_compute": round(profile.slices / gpu.mig.slices, 3),
            "share_of_bandwidth": round(profile.memory_slices / gpu.mig.memory_slices, 3),
        }
        for name, profile in gpu.mig.profiles.items()
    ]


def instances(catalog: Catalog) -> CatalogList:
    """Every machine type, with its on-demand price."""
    columns = {
        "id": "machine type",
        "gpu": "GPU",
        "gpus": "GPUs",
        "vcpus": "vCPUs",
        "memory_gib": "memory GiB",
        "usd_per_hour": "$/h",
        "usd_per_gpu_hour": "$/h per GPU",
    }
    rows = [
        {
            "id": name,
            "gpu": machine.gpu,
            "gpus": machine.gpus,
            "vcpus": machine.vcpus,
            "memory_gib": machine.memory_gib,
            "usd_per_hour": machine.usd_per_hour,
            "usd_per_gpu_hour": None if machine.usd_per_hour is None else round(machine.usd_per_hour / machine.gpus, 4),
        }
        for name, machine in catalog.instances.items()
    ]
    return CatalogList("machine type", columns, rows)


def platforms(catalog: Catalog) -> CatalogList:
    """Every platform: what the GPU Operator brings there, pods' identity to object stores, nodes that read a disk."""
    columns = {
        "id": "platform",
        "name": "what it is",
        "driver": "driver",
        "toolkit": "container toolkit",
        "device_plugin": "device plugin",
        "identity": "identity to",
        "disk_readers": "nodes that read a disk",
    }
    rows = []
    for name, platform in catalog.platforms.items():
        identity, disk = catalog.workload_identity.get(name), catalog.disk_readers.get(name)
        parts = zip(("driver", "toolkit", "device_plugin"), GPU_PARTS, strict=True)
        rows.append(
            {
                "id": name,
                "name": platform.name,
                **{key: "platform" if part in platform.nodes_have else "operator" for key, part in parts},
                "identity": f"{identity.scheme}://" if identity else None,
                "identity_annotation": identity.annotation if identity else None,
                "disk_readers": disk.nodes if disk else None,
                "disk_driver": disk.driver if disk else None,
            }
        )
    return CatalogList("platform", columns, rows)


LISTINGS: Mapping[str, Callable[[Catalog], CatalogList]] = {
    "models": models,
    "gpus": gpus,
    "instances": instances,
    "platforms": platforms,
}


def shown(listing: CatalogList) -> Iterable[tuple[str, ...]]:
    """Cells of the table, its heading first."""
    yield tuple(listing.columns.values())
    for row in listing.rows:
        yield tuple(cell(row[key]) for key in listing.columns)
