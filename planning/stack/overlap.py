"""Pools that may find the same node: by what their pods ask of its labels, and by what their nodes surely have.

Two pools that share nodes work, but what one was promised the other takes: planning counts each node twice.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import combinations

from catalog.schema import Gpu
from planning.plan.pools import GPU_RESOURCE, POOL_LABEL, ComputeClass, Karpenter, Labelled, PoolPlan

# Labels that kubelets, clouds, Karpenter and the GPU Operator put on nodes, by the end of their key's domain. A bought
# node has these, and ours, and no others.
PLATFORM_DOMAINS = ("kubernetes.io", "k8s.io", "k8s.aws", "amazonaws.com", "karpenter.sh", "google.com", "nvidia.com")
BOUGHT = (Karpenter, ComputeClass)


@dataclass(frozen=True)
class Values:
    """What a label may be: one of `words`; or, with `but`, anything but these, and it may be missing too."""

    words: frozenset[str]
    but: bool = False

    def both(self, other: "Values") -> "Values":
        """What satisfies this and the other one."""
        if self.but and other.but:
            return Values(self.words | other.words, but=True)
        if self.but or other.but:
            some, out = (other, self) if self.but else (self, other)
            return Values(some.words - out.words)
        return Values(self.words & other.words)

    @property
    def none(self) -> bool:
        """Whether nothing satisfies it."""
        return not self.but and not self.words

    def within(self, other: "Values") -> bool:
        """Whether whatever satisfies this satisfies the other one."""
        return self.both(other) == self


Asked = Mapping[str, Values]
ANYTHING = Values(frozenset(), but=True)


def shared_nodes(pools: Mapping[str, PoolPlan], gpus: Mapping[str, Gpu]) -> Iterator[str]:
    """What a reviewer should know of pools that may find the same node, two by two."""
    for (first, one), (second, other) in combinations(pools.items(), 2):
        if said := _shared(one, other, gpus):
            yield f"pool {second}: {said.format(first)}; {_remedy(one, other)}"


def _shared(one: PoolPlan, other: PoolPlan, gpus: Mapping[str, Gpu]) -> str:
    """How much `other` finds of the nodes of `one`; empty: nothing."""
    first, second = selection(one), selection(other)
    here, there = _nodes(one, gpus), _nodes(other, gpus)
    if bool(one.gpus) != bool(other.gpus):
        return _lent(one, other, gpus)
    apart = any(here.get(key, ANYTHING).both(there.get(key, ANYTHING)).none for key in {*here, *there})
    if apart or _never_has(one, here, second) or _never_has(other, there, first):
        return ""
    if first == second:
        return "finds the same nodes as pool {}"
    if _implies(here, second):
        return "finds all nodes of pool {} too"
    if _implies(there, first):
        return "has only nodes that pool {} finds too"
    return "may find nodes of pool {} too, because no label tells them apart"


def _lent(one: PoolPlan, other: PoolPlan, gpus: Mapping[str, Gpu]) -> str:
    """Pods without GPUs on the nodes of a GPU pool: where all of these have what they ask for, and no taint that helps.

    Anything less is left unsaid: nobody can know that a GPU node carries the label of a group of CPU nodes.
    """
    gpu, cpu = (one, other) if one.gpus else (other, one)
    tainted = not isinstance(gpu.provisioning, Labelled)
    if tainted and not any(item["key"] == GPU_RESOURCE for item in cpu.tolerations):
        return ""
    if not _implies(_nodes(gpu, gpus), selection(cpu)):
        return ""
    return "finds the GPU nodes of pool {} too" if cpu is other else "has GPU nodes that pool {} finds too"


def selection(pool: PoolPlan) -> dict[str, Values]:
    """What the pods of a pool ask of a node's labels."""
    asked = {key: Values(frozenset({value})) for key, value in pool.node_selector.items()}
    for key, operator, words in pool.node_affinity:
        rule = Values(frozenset(words), but=operator == "NotIn")
        asked[key] = asked[key].both(rule) if key in asked else rule
    return asked


def _nodes(pool: PoolPlan, gpus: Mapping[str, Gpu]) -> dict[str, Values]:
    """What is true of all nodes of a pool: what it asks for, and what GPU feature discovery says of its GPU."""
    true = selection(pool)
    said = {f"{GPU_RESOURCE}.present": Values(frozenset({"true"}), but=pool.gpu not in gpus)}
    if pool.gpu in gpus:
        said[f"{GPU_RESOURCE}.product"] = Values(frozenset(gpus[pool.gpu].product_labels))
    return {**true, **{key: true.get(key, ANYTHING).both(value) for key, value in said.items()}}


def _never_has(pool: PoolPlan, true: Asked, asked: Asked) -> bool:
    """Whether something is asked for that bought nodes do not have: only the stack and the platform label them."""
    if not isinstance(pool.provisioning, BOUGHT):
        return False
    return any(key not in true and not value.but and not _of_platform(key) for key, value in asked.items())


def _implies(true: Asked, asked: Asked) -> bool:
    """Whether every node of which that is true has what is asked for."""
    return all(key in true and true[key].within(value) for key, value in asked.items())


def _of_platform(key: str) -> bool:
    domain, slash, _ = key.rpartition("/")
    return bool(slash) and any(domain == end or domain.endswith(f".{end}") for end in PLATFORM_DOMAINS)


def _remedy(one: PoolPlan, other: PoolPlan) -> str:
    """What would tell two pools apart; one of them is labelled, because others carry the name of their pool."""
    if type(one.provisioning) is type(other.provisioning):
        return "provisioning.labels of one key and different values would tell them apart"
    labelled = one if isinstance(one.provisioning, Labelled) else other
    return (
        f"label {POOL_LABEL}={labelled.name} on the nodes of pool {labelled.name}, "
        "and in its provisioning.labels, would tell them apart"
    )
