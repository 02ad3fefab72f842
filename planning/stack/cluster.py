"""Decisions about the cluster itself: where its pods ask for names, and what it cannot be."""

from collections.abc import Iterator
from fnmatch import fnmatchcase

from catalog.load import Catalog
from planning.plan.pods import DnsPlan
from planning.stack.additions import workloads_problems
from planning.stack.flows import flow_problems
from planning.stack.gpu_operator import platform_problems
from planning.stack.releases import namespace_problems, version_problems
from settings.doubt import judge
from settings.problems import Problem
from settings.schema import ClaimedCompileCache, ClusterSettings, NodeCacheWeights, SharedClaimWeights, StackSettings

MANY = "ReadWriteMany"


def dns_plan(cluster: ClusterSettings, catalog: Catalog) -> DnsPlan:
    """The places where the platform answers for names, and the addresses of the stack's own beside it."""
    known = catalog.platform(cluster.platform).dns
    own = [f"{address}/{address.max_prefixlen}" for address in cluster.dns_addresses]
    return DnsPlan(known.namespaces, tuple(dict.fromkeys((*known.addresses, *own))), known.port)


def cluster_problems(settings: StackSettings, catalog: Catalog) -> list[Problem]:
    """A platform, a version or a namespace that cannot be."""
    return [
        *judge(platform_problems, settings, catalog),
        *judge(namespace_problems, settings, catalog),
        *judge(version_problems, settings, catalog),
        *judge(_class_problems, settings, catalog),
        *workloads_problems(settings.workloads),
        *judge(flow_problems, settings, catalog.networks),
    ]


def _class_problems(settings: StackSettings, catalog: Catalog) -> Iterator[Problem]:
    """Claims for many writers of a class whose disks have one; a class of such a name may be another's, seldom."""
    known = catalog.storage_classes.get(settings.cluster.platform)
    if known is None:
        return
    offered = f"such as {', '.join(known.shared)}" if known.shared else "of NFS or CephFS, for example"
    for path, name in _many_writers(settings):
        if any(fnmatchcase(name, disk) for disk in known.disks):
            yield Problem(
                f"{path}.storageClass",
                f"{name} is of disks that one node writes on platform {settings.cluster.platform}, so {MANY} is never "
                f"bound; name a class that offers it, {offered}, or another accessMode",
            )


def _many_writers(settings: StackSettings) -> Iterator[tuple[str, str]]:
    """Path and class of every claim that many nodes are to write."""
    weights = {"weights": settings.weights}
    weights |= {f"models.{name}.weights": model.weights for name, model in settings.models.items() if model.weights}
    for path, place in weights.items():
        origin = place.copied_from if isinstance(place, NodeCacheWeights) else place
        if isinstance(origin, SharedClaimWeights) and origin.access_mode == MANY:
            yield f"{path}.from" if origin is not place else path, origin.storage_class
    if isinstance(settings.compile_cache, ClaimedCompileCache) and settings.compile_cache.access_mode == MANY:
        yield "compileCache", settings.compile_cache.storage_class
