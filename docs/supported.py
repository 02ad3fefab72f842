"""What can be served, and on what: pages and tables written from the catalogue and the settings.

Nothing here is a list of its own: a new model, GPU, platform or way to be reached appears by being known.
"""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import get_args

from catalog import load_catalog
from catalog.load import Catalog
from catalog.platforms import GPU_PARTS
from catalog.schema import KvProfile, Model
from settings import StackSettings
from settings.schema import (
    OLDEST_KUBERNETES_MINOR,
    GatewaySettings,
    HubSettings,
    PoolSettings,
    Section,
)

PAGE = Path(__file__).parent / "supported.md"
TITLE = "What is supported"
GENERATED = "Generated from catalog/ and settings/ by `make docs`. Change the entries there, not here."
PREFACE = (
    "Supported means: known well enough that the preview says whether it fits, what it costs and how it is reached.",
    "What is missing is one entry away: see [Adding a model](adding-a-model.md).",
    "What has been tried on real GPUs, and what has not, is said in the README.",
)
Rows = Iterable[Sequence[str]]


def page() -> str:
    """The whole page."""
    return "".join(_page(load_catalog()))


def summary() -> str:
    """The table for a page that has no room for more."""
    catalog = load_catalog()
    families = sorted({model.family for model in catalog.models.values()})
    engine, litellm = catalog.vllm.version, catalog.images["litellm"].version
    rows = (
        ("models", f"{len(catalog.models)} checkpoints of {_listed(families)}, and others with `measured`"),
        ("GPUs", _listed(gpu.removeprefix("nvidia-") for gpu in catalog.gpus) + ", and CPUs"),
        ("nodes", _listed(kinds(PoolSettings, "provisioning"))),
        ("platforms", _listed(catalog.platforms)),
        ("weights", f"{_listed(_words(HubSettings, 'kind'))}; {_listed(kinds(StackSettings, 'weights'))}"),
        ("way in", _listed(kinds(GatewaySettings, "expose"))),
        ("versions", f"vLLM {engine}, LiteLLM {litellm}, Kubernetes 1.{OLDEST_KUBERNETES_MINOR} or newer"),
    )
    return _table(("what", "which"), rows).rstrip()


def _page(catalog: Catalog) -> Iterator[str]:
    yield f"# {TITLE}\n\n<!-- {GENERATED} -->\n\n" + "".join(f"{line}\n" for line in PREFACE)
    yield "\n## Models\n\n"
    yield _table(("family", "checkpoints", "license", "weights", "context up to", "needs vLLM"), _families(catalog))
    unknown = sorted(name for name, model in catalog.models.items() if model.kv_profile is KvProfile.UNKNOWN)
    if unknown:
        yield (
            f"\nThe KV cache of {_listed(f'`{name}`' for name in unknown)} cannot be computed: "
            "these need `models.NAME.measured`.\n"
        )
    yield "\n## GPUs\n\n"
    yield _table(("id", "GPU", "memory, MiB", "compute capability", "machine types with a price"), _gpus(catalog))
    yield "\n`gpu: none` is a pool of CPU nodes.\n\n" + "".join(_claimed(catalog))
    yield "\n## Where nodes come from\n\n"
    yield _table(("`provisioning.kind`", "meaning"), _meanings(PoolSettings, "provisioning"))
    yield "\n## Platforms\n\n"
    yield "What `cluster.platform` lets the GPU Operator bring, and what the platform has itself.\n\n"
    yield _table(
        ("`cluster.platform`", "what it is", "driver", "container toolkit", "device plugin"), _platforms(catalog)
    )
    yield "\n## Weights\n\n"
    yield _table(("`weights.kind`", "meaning"), _meanings(StackSettings, "weights"))
    yield "\n"
    yield _table(("key", "values", "meaning"), [_choice("weights.hub.kind", HubSettings, "kind")])
    yield "\n## Ways in\n\n"
    yield _table(("`gateway.expose.kind`", "meaning"), _meanings(GatewaySettings, "expose"))
    yield "\n## Versions\n\n"
    known = _listed(catalog.versions["vllm"])
    yield f"Servers may run vLLM {known}; another is [added](adding-an-engine-version.md) as a file.\n\n"
    yield f"Kubernetes 1.{OLDEST_KUBERNETES_MINOR} or newer; images and charts, unless a stack names others:\n\n"
    yield _table(("image", "version"), ((f"`{name}`", image.version) for name, image in catalog.images.items()))
    yield "\n"
    yield _table(("chart", "version"), ((f"`{name}`", chart.version) for name, chart in catalog.charts.items()))


def _families(catalog: Catalog) -> Iterator[Sequence[str]]:
    families: dict[str, dict[str, Model]] = {}
    for name, model in catalog.models.items():
        families.setdefault(model.family, {})[name] = model
    for family, models in sorted(families.items()):
        formats = dict.fromkeys(model.checkpoint.format.value for model in models.values())
        longest = max(model.context.config_tokens for model in models.values())
        oldest = sorted({model.min_vllm for model in models.values() if model.min_vllm})
        yield (
            family,
            "<br>".join(f"`{name}`" for name in models),
            _listed(sorted({model.license for model in models.values()})),
            _listed(formats),
            f"{longest:,}",
            _listed(oldest) or "–",
        )


def _gpus(catalog: Catalog) -> Iterator[Sequence[str]]:
    for name, gpu in catalog.gpus.items():
        priced = [kind for kind, item in catalog.instances.items() if item.gpu == name and item.usd_per_hour]
        machines = _listed(f"`{kind}`" for kind in priced) or "–"
        yield f"`{name}`", gpu.name, f"{gpu.memory_mib:,}", gpu.compute_capability or gpu.target, machines


def _claimed(catalog: Catalog) -> Iterator[str]:
    """The drivers that GPUs are claimed from, and the cards that these are not known to publish."""
    drivers = [vendor.claims for vendor in catalog.vendors.values() if vendor.claims]
    classes = [each.device_class for each in drivers]
    classes += [each.parts.device_class for each in drivers if each.parts]
    yield f"With [`claims`](claims.md) pods claim them by class: {_listed(f'`{name}`' for name in classes)}; "
    yield f"not {_listed(f'`{name}`' for each in drivers for name in each.without)}.\n"


def _platforms(catalog: Catalog) -> Iterator[Sequence[str]]:
    for name, platform in catalog.platforms.items():
        parts = ("the platform's own" if part in platform.nodes_have else "by the operator" for part in GPU_PARTS)
        yield f"`{name}`", platform.name, *parts


def _members(section: type[Section], field: str) -> dict[str, type[Section]]:
    """Kind → settings of a field that has several."""
    members = get_args(section.model_fields[field].annotation)
    return {get_args(member.model_fields["kind"].annotation)[0]: member for member in members}


def kinds(section: type[Section], field: str) -> Iterable[str]:
    """The kinds there are of a field."""
    return _members(section, field)


def _words(section: type[Section], field: str) -> tuple[str, ...]:
    return get_args(section.model_fields[field].annotation)


def _meanings(section: type[Section], field: str) -> Iterator[Sequence[str]]:
    for kind, member in _members(section, field).items():
        yield f"`{kind}`", " ".join(str(member.__doc__).split())


def _choice(key: str, section: type[Section], field: str) -> Sequence[str]:
    words = _listed(f"`{word}`" for word in _words(section, field))
    return f"`{key}`", words, str(section.model_fields[field].description)


def _table(head: Sequence[str], rows: Rows) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


def _listed(words: Iterable[str]) -> str:
    return ", ".join(words)
