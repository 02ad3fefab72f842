"""The tables of `docs/platforms/`: what is set on each platform, by the facts of the catalogue, with their sources.

A page holds the words around them; its table and its list of sources are renewed by `make docs`, so they cannot drift.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from catalog import load_catalog
from catalog.load import Catalog
from catalog.platforms import GPU_PARTS, Credentials, Platform

FOLDER = Path(__file__).parent / "platforms"
# Page → the platforms that it is about.
PAGES: Mapping[str, tuple[str, ...]] = {
    "generic": ("generic",),
    "eks": ("eks", "eksBottlerocket", "eksAuto"),
    "gke": ("gke",),
    "aks": ("aks",),
    "ack": ("ack",),
    "openshift": ("openshift",),
    "rke2": ("rke2",),
    "k3s": ("k3s",),
    "kind": ("kind", "minikube"),
}
WORDS = {"driver": "driver", "toolkit": "container toolkit", "devicePlugin": "device plugin"}
NOTHING = "–"


def table(page: str) -> str:
    """The facts of a page's platforms, a column for each."""
    names, catalog = PAGES[page], load_catalog()
    rows = [f"| | {' | '.join(f'`{name}`' for name in names)} |", f"|---|{'---|' * len(names)}"]
    rows += [f"| {label} | {' | '.join(fact(name, catalog) for name in names)} |" for label, fact in FACTS.items()]
    return "\n".join(rows)


def sources(page: str) -> str:
    """The sources of these facts, each once."""
    catalog = load_catalog()
    texts = dict.fromkeys(text for name in PAGES[page] for text in _sources(name, catalog))
    return "\n".join(f"- {text}" for text in texts)


def _sources(name: str, catalog: Catalog) -> Iterator[str]:
    platform = catalog.platform(name)
    yield from (*platform.sources, *platform.dns.sources, *(platform.spot.sources if platform.spot else ()))
    for known in (catalog.workload_identity, catalog.disk_readers, catalog.storage_classes):
        if name in known:
            yield from known[name].sources


def _of(read: Callable[[Platform], str]) -> Callable[[str, Catalog], str]:
    return lambda name, catalog: read(catalog.platform(name)) or NOTHING


def _parts(platform: Platform, *, theirs: bool) -> str:
    return ", ".join(WORDS[part] for part in GPU_PARTS if (part in platform.nodes_have) == theirs)


def _values(platform: Platform) -> str:
    values = platform.operator_values
    return ", ".join(f"`{key}: {json.dumps(value)}`" for key, value in values.items())


def _dns(platform: Platform) -> str:
    places = [f"pods of `{name}`" for name in platform.dns.namespaces] + [f"`{one}`" for one in platform.dns.addresses]
    return f"{', '.join(places)}; port {platform.dns.port}"


def _disks(name: str, catalog: Catalog) -> str:
    known = catalog.storage_classes.get(name)
    return _listed(known.disks) if known else NOTHING


def _shared(name: str, catalog: Catalog) -> str:
    known = catalog.storage_classes.get(name)
    return _listed(known.shared) if known and known.shared else NOTHING


def _readers(name: str, catalog: Catalog) -> str:
    known = catalog.disk_readers.get(name)
    if known is None:
        return NOTHING
    return f"{known.nodes or 'none'} of `{known.driver}`" + (f"; {known.better}" if known.better else "")


def _identity(name: str, catalog: Catalog) -> str:
    known = catalog.workload_identity.get(name)
    if known is None:
        return NOTHING
    labels = [f"`{key}: {json.dumps(value)}`" for key, value in known.pod_labels.items()]
    of_pods = f", with the label {', '.join(labels)} of pods" if labels else ""
    return f"annotation `{known.annotation}`{of_pods}, for `{known.scheme}://`; asked: {_asked(known.annotated)}"


def _bare(name: str, catalog: Catalog) -> str:
    known = catalog.workload_identity.get(name)
    return _asked(known.bare) if known and known.bare else NOTHING


def _asked(credentials: Credentials) -> str:
    agents = [f"`{agent.cidr}` port {agent.port}" for agent in credentials.agents]
    return ", ".join([*agents, *(["the token service on the internet"] if credentials.internet else [])])


def _edges(name: str, catalog: Catalog) -> str:
    """Controllers that are meant where none is named: that of the platform, and those whose classes are known there."""
    found = []
    for kind, edges in catalog.edges.items():
        for key, edge in edges.items():
            classes = [f"`{one}`" for one in edge.classes if name in (edge.classes_on or (name,))]
            if name in edge.platforms:
                found.append(f"{kind}: `{key}`")
            elif classes:
                found.append(f"{kind} of class {', '.join(classes)}: `{key}`")
    return "; ".join(found) or NOTHING


def _fabrics(name: str, catalog: Catalog) -> str:
    """Networks between nodes of one replica that a pool may say."""
    return _listed([key for key, one in catalog.fabrics.items() if not one.never and name not in one.refuses])


def _listed(names: list[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


FACTS: Mapping[str, Callable[[str, Catalog], str]] = {
    "what it is": _of(lambda platform: platform.name),
    "nodes have": _of(lambda platform: _parts(platform, theirs=True)),
    "the GPU Operator brings": _of(
        lambda platform: ", ".join([_parts(platform, theirs=False) or "", "metrics, labels"]).strip(", ")
    ),
    "further values of its chart": _of(_values),
    "runtime class of pods with GPUs": _of(
        lambda platform: f"`{platform.runtime_class}`" if platform.runtime_class else ""
    ),
    "users of pods": _of(
        lambda platform: "of the namespace's range" if platform.users_of_namespace else "of the images"
    ),
    "time that pods of a spot node have": _of(lambda platform: f"{platform.spot.pods_s} s" if platform.spot else ""),
    "kinds of nodes that are refused": _of(lambda platform: _listed(list(platform.refuses))),
    "networks between nodes of one replica": _fabrics,
    "quota for the operator's critical pods": _of(lambda platform: platform.critical_pods or ""),
    "DNS is open to": _of(_dns),
    "classes of disks, refused for many writers": _disks,
    "classes for many writers": _shared,
    "nodes that may read one disk": _readers,
    "identity of pods towards the object store": _identity,
    "the same without `identity`": _bare,
    "controllers that need no name": _edges,
}
PRINTED: Mapping[str, Callable[[], str]] = {
    **{page: lambda page=page: table(page) for page in PAGES},
    **{f"{page}_sources": lambda page=page: sources(page) for page in PAGES},
}
