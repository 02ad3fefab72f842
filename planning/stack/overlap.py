"""Pools that may find the same node: by what their pods ask of its labels, and by what their nodes surely have.

Two pools that share nodes work, but what one was promised the other takes: planning counts each node twice.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

from catalog.load import Catalog
from catalog.schema import VendorName
from planning.plan.pools import BOUGHT, POOL_LABEL, Labelled, PoolPlan, Shared
from settings.doubt import judge
from settings.problems import Problem
from settings.schema import ExistingNodes, PoolSettings

# Labels that kubelets, clouds, Karpenter and the GPU Operator put on nodes, by the end of their key's domain. A bought
# node has these, and ours, and no others.
PLATFORM_DOMAINS = (
    "kubernetes.io",
    "k8s.io",
    "k8s.aws",
    "amazonaws.com",
    "karpenter.sh",
    "google.com",
    "nvidia.com",
    "amd.com",
)
# GPU feature discovery writes it beside what the GPU is; other vendors have none.
NVIDIA_PRESENT = "nvidia.com/gpu.present"


@dataclass(frozen=True)
class Values:
    """Values that a label may have: one of `words`; or, with `but`, anything but these, and it may be missing too."""

    words: frozenset[str]
    but: bool = False

    def both(self, rule: "Values") -> "Values":
        """Values that satisfy both rules."""
        if self.but and rule.but:
            return Values(self.words | rule.words, but=True)
        if self.but or rule.but:
            some, out = (rule, self) if self.but else (self, rule)
            return Values(some.words - out.words)
        return Values(self.words & rule.words)

    @property
    def none(self) -> bool:
        """Whether nothing satisfies it."""
        return not self.but and not self.words

    def within(self, rule: "Values") -> bool:
        """Whether whatever satisfies this satisfies the other rule."""
        return self.both(rule) == self


Labels = Mapping[str, Values]
ANYTHING = Values(frozenset(), but=True)


def shared_nodes(pools: Mapping[str, PoolPlan], catalog: Catalog) -> Iterator[str]:
    """Warnings about pools that may find the same node, two by two."""
    for (first, pool), (second, neighbour) in combinations(pools.items(), 2):
        if overlap := _shared(pool, neighbour, catalog):
            yield f"pool {second}: {overlap.format(first)}; {_remedy(pool, neighbour)}"


def counted_twice(
    pools: Mapping[str, PoolPlan], others: Mapping[str, PoolPlan], owner: str, catalog: Catalog
) -> Iterator[str]:
    """Warnings about pools that may find nodes of another stack's; that they share nodes may be just what is meant."""
    for pool in pools.values():
        for neighbour in others.values():
            if pool.gpus and neighbour.gpus and (overlap := _shared(neighbour, pool, catalog)):
                both = "so both count its GPUs as theirs; give each as many nodes as it may use"
                yield f"pool {pool.name}: {overlap.format(f'{neighbour.name} of {owner}')}, {both}"


def _shared(pool: PoolPlan, neighbour: PoolPlan, catalog: Catalog) -> str:
    """The part of a warning that says how much `neighbour` finds of the nodes of `pool`; empty: nothing."""
    first, second = selection(pool), selection(neighbour)
    here, there = _nodes(pool, catalog), _nodes(neighbour, catalog)
    if bool(pool.gpus) != bool(neighbour.gpus):
        return _lent(pool, neighbour, catalog)
    # a node whose cards are cut has no whole ones, nor parts of another size
    apart = (pool.mig or neighbour.mig) and pool.resource_name != neighbour.resource_name
    apart = apart or any(here.get(key, ANYTHING).both(there.get(key, ANYTHING)).none for key in {*here, *there})
    if apart or _never_has(pool, here, second) or _never_has(neighbour, there, first):
        return ""
    if first == second:
        return "finds the same nodes as pool {}"
    if _implies(here, second):
        return "finds all nodes of pool {} too"
    if _implies(there, first):
        return "has only nodes that pool {} finds too"
    return "may find nodes of pool {} too, because no label tells them apart"


def _lent(pool: PoolPlan, neighbour: PoolPlan, catalog: Catalog) -> str:
    """Pods without GPUs on the nodes of a GPU pool: where all of these have what they ask for, and no taint that helps.

    Anything less is left unsaid: nobody can know that a GPU node carries the label of a group of CPU nodes.
    """
    gpu, cpu = (pool, neighbour) if pool.gpus else (neighbour, pool)
    tainted = not isinstance(gpu.provisioning, Labelled | Shared)
    taint = gpu.gpu_taint["key"] if gpu.gpu_taint else None
    if tainted and not any(toleration["key"] == taint for toleration in cpu.tolerations):
        return ""
    if not _implies(_nodes(gpu, catalog), selection(cpu)):
        return ""
    return "finds the GPU nodes of pool {} too" if cpu is neighbour else "has GPU nodes that pool {} finds too"


def selection(pool: PoolPlan) -> dict[str, Values]:
    """Labels that the pods of a pool ask of a node."""
    rules = {key: Values(frozenset({value})) for key, value in pool.node_selector.items()}
    for key, operator, words in pool.node_affinity:
        rule = Values(frozenset(words), but=operator == "NotIn")
        rules[key] = rules[key].both(rule) if key in rules else rule
    return rules


def _nodes(pool: PoolPlan, catalog: Catalog) -> dict[str, Values]:
    """Labels that all nodes of a pool have: those it asks for, and those that tell of its GPU."""
    true = selection(pool)
    gpu = catalog.gpus.get(pool.gpu)
    nvidia = gpu is not None and gpu.vendor is VendorName.NVIDIA
    discovered = {NVIDIA_PRESENT: Values(frozenset({"true"}), but=not nvidia)}
    if gpu is not None:
        discovered[catalog.vendors[gpu.vendor].product_label] = Values(frozenset(gpu.product_labels))
    return {**true, **{key: true.get(key, ANYTHING).both(value) for key, value in discovered.items()}}


def _never_has(pool: PoolPlan, true: Labels, rules: Labels) -> bool:
    """Whether something is asked for that bought nodes do not have: only the stack and the platform label them."""
    if not isinstance(pool.provisioning, BOUGHT):
        return False
    return any(key not in true and not value.but and not _of_platform(key) for key, value in rules.items())


def _implies(true: Labels, rules: Labels) -> bool:
    """Whether every node of which that is true has what is asked for."""
    return all(key in true and true[key].within(value) for key, value in rules.items())


def _of_platform(key: str) -> bool:
    domain, slash, _ = key.rpartition("/")
    return bool(slash) and any(domain == end or domain.endswith(f".{end}") for end in PLATFORM_DOMAINS)


def _remedy(pool: PoolPlan, neighbour: PoolPlan) -> str:
    """The change that would tell two pools apart; one of them is labelled: others carry the name of their pool."""
    if type(pool.provisioning) is type(neighbour.provisioning):
        return "provisioning.labels of one key and different values would tell them apart"
    labelled = pool if isinstance(pool.provisioning, Labelled | Shared) else neighbour
    return (
        f"label {POOL_LABEL}={labelled.name} on the nodes of pool {labelled.name}, "
        "and in its provisioning.labels, would tell them apart"
    )


def node_problems(pools: Mapping[str, PoolSettings]) -> list[Problem]:
    """Nodes that two pools name, each of which would take the other's labels away, or that Pulumi could not tell apart.

    Pulumi knows a node as `<pool>-<node>`: `gpu-1` of pool `a` and `1` of pool `a-gpu` would be the same.
    """
    owners: dict[str, str] = {}
    known: dict[str, tuple[str, str]] = {}
    for name, pool in pools.items():
        for node in _named(pool):
            owners.setdefault(node, name)
            known.setdefault(f"{name}-{node}", (name, node))
    return [problem for name, pool in pools.items() for problem in judge(_node_problems, name, pool, owners, known)]


def _named(pool: PoolSettings) -> Sequence[str]:
    return pool.provisioning.node_names if isinstance(pool.provisioning, ExistingNodes) else ()


def _node_problems(
    name: str, pool: PoolSettings, owners: Mapping[str, str], known: Mapping[str, tuple[str, str]]
) -> Iterator[Problem]:
    """Those of one pool; `owners` and `known`: by a node, and by its name to Pulumi, the first pool that has it."""
    for position, node in enumerate(_named(pool)):
        path = f"gpuPools.{name}.provisioning.nodeNames[{position}]"
        owner, same = known[f"{name}-{node}"]
        if owners[node] != name:
            yield Problem(path, f"{node} is in pool '{owners[node]}' already")
        elif owner != name:
            yield Problem(path, f"{node} would be mistaken for {same} of pool '{owner}'; rename a pool")
