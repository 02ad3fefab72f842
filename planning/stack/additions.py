"""Additions of a user to pods: which are added, and which would take something from the stack."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from planning.plan.access import SecretVariable
from planning.plan.additions import (
    AddedVolume,
    Additions,
    ClaimFiles,
    ConfigMapFiles,
    DriverFiles,
    EmptyFolder,
    SecretFiles,
    VolumeSource,
)
from planning.stack.variables import VARIABLE_NAME
from settings.doubt import judge
from settings.problems import Problem
from settings.schema import (
    ConfigMapVolume,
    CsiVolume,
    EmptyDirVolume,
    ExtraVolume,
    GatewaySettings,
    ModelSettings,
    PersistentClaimVolume,
    SecretVolume,
    WorkloadsSettings,
)

# Domains of labels that are not the user's: Kubernetes keeps the first two for its own (docs, "Well-known labels"), and
# `app.kubernetes.io` selects pods here, `leaderworkerset.sigs.k8s.io` those of a group; the last is the stack's.
KEPT_DOMAINS = ("kubernetes.io", "k8s.io", "llm-stack.io")
# Labels by which controllers find their pods.
CONTROLLERS_LABELS = ("pod-template-hash", "controller-revision-hash")
# Annotations that would loosen what a container may do, where an API server still reads them (Kubernetes docs,
# "Well-known annotations", deprecated).
LOOSENING = (
    "container.apparmor.security.beta.kubernetes.io",
    "container.seccomp.security.alpha.kubernetes.io",
    "seccomp.security.alpha.kubernetes.io",
)
# Annotations that belong to the stack, to the engine that declares it, and to the controller of groups.
OWN_DOMAINS = ("llm-stack.io", "pulumi.com", "leaderworkerset.sigs.k8s.io", "kubectl.kubernetes.io")
# A pod that takes minutes to load is not moved to pack nodes better.
UNDISTURBED = {
    "cluster-autoscaler.kubernetes.io/safe-to-evict": "false",
    "karpenter.sh/do-not-disrupt": "true",
}
STAYS = {
    key: f'is "{value}" for servers, because a pod that takes minutes to load is not moved'
    for key, value in UNDISTURBED.items()
}
# Folders of every image, without which nothing in it starts, and those that the kernel and the kubelet make.
SYSTEM_FOLDERS = (
    "/bin", "/boot", "/dev", "/etc", "/home", "/lib", "/lib64", "/opt", "/proc", "/root", "/run", "/sbin", "/sys",
    "/usr", "/var", "/var/run",
)  # fmt: skip
KERNEL_FOLDERS = ("/dev/", "/proc/", "/sys/", "/run/", "/var/run/")
# Settings of a kind of pods that a user may add to.
Added = ModelSettings | GatewaySettings


@dataclass(frozen=True)
class Owned:
    """Things that one workload has already, and who decides them: keys, variables, folders → the rest of a sentence."""

    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    account_annotations: Mapping[str, str] = field(default_factory=dict)
    variables: Mapping[str, str] = field(default_factory=dict)
    folders: Mapping[str, str] = field(default_factory=dict)


def plan_additions(added: Added, usual: WorkloadsSettings) -> Additions:
    """The additions to one kind of pods; what they have of their own goes before what all have. `env` is left out."""
    return Additions(
        labels=dict(sorted({**usual.pod_labels, **added.pod_labels}.items())),
        annotations=dict(sorted({**usual.pod_annotations, **added.pod_annotations}.items())),
        account_annotations=dict(sorted(added.service_account_annotations.items())),
        priority_class=added.priority_class_name or usual.priority_class_name,
        secrets=tuple(SecretVariable(name, entry.name, entry.key) for name, entry in sorted(added.secret_env.items())),
        volumes=tuple(
            AddedVolume(f"extra-{name}", volume.mount_path, _read_only(volume), _source(volume))
            for name, volume in sorted(added.extra_volumes.items())
        ),
    )


def _read_only(volume: ExtraVolume) -> bool:
    match volume:
        case EmptyDirVolume():
            return False
        case PersistentClaimVolume(read_only=read_only):
            return read_only
        case ConfigMapVolume() | SecretVolume() | CsiVolume():
            return True


def _source(volume: ExtraVolume) -> VolumeSource:
    match volume:
        case ConfigMapVolume(name=name):
            return ConfigMapFiles(name)
        case SecretVolume(name=name):
            return SecretFiles(name)
        case EmptyDirVolume(size_gib=gib):
            return EmptyFolder(gib)
        case PersistentClaimVolume(claim_name=name):
            return ClaimFiles(name)
        case CsiVolume(driver=driver, attributes=attributes, secret=secret):
            return DriverFiles(driver, dict(sorted(attributes.items())), secret)


def addition_problems(added: Added, path: str, owned: Owned) -> list[Problem]:
    """Additions that the stack has or needs otherwise."""
    return [
        *_usual_problems(added, path, owned),
        *judge(_account_problems, added, path, owned.account_annotations),
        *judge(_secret_problems, added, path, owned.variables),
        *judge(_volume_problems, added, path, owned.folders),
    ]


def workloads_problems(usual: WorkloadsSettings) -> list[Problem]:
    """The same of what all pods get that serve."""
    return _usual_problems(usual, "workloads", Owned(annotations=STAYS))


def _usual_problems(added: Added | WorkloadsSettings, path: str, owned: Owned) -> list[Problem]:
    return [
        *judge(_label_problems, added, path, owned.labels),
        *judge(_annotation_problems, added, path, owned.annotations),
        *judge(_class_problems, added, path),
    ]


def _class_problems(added: Added | WorkloadsSettings, path: str) -> Iterator[Problem]:
    if (name := added.priority_class_name) and name.startswith("system-"):
        whose = f'"{name}" is the cluster\'s own, and pods of others would go for it; name a PriorityClass of yours'
        yield Problem(f"{path}.priorityClassName", whose)


def _account_problems(added: Added, path: str, owned: Mapping[str, str]) -> Iterator[Problem]:
    where = f"{path}.serviceAccountAnnotations"
    for key in added.service_account_annotations:
        if why := owned.get(key):
            yield Problem(f"{where}.{key}", why)
        elif _within(_domain(key), ("kubernetes.io", *OWN_DOMAINS)):
            yield Problem(f"{where}.{key}", f"{_domain(key)} is not yours: it decides how pods may use the account")


def _label_problems(added: Added | WorkloadsSettings, path: str, owned: Mapping[str, str]) -> Iterator[Problem]:
    return pod_label_problems(added.pod_labels, f"{path}.podLabels", owned)


def _annotation_problems(added: Added | WorkloadsSettings, path: str, owned: Mapping[str, str]) -> Iterator[Problem]:
    return pod_annotation_problems(added.pod_annotations, f"{path}.podAnnotations", owned)


def pod_label_problems(labels: Mapping[str, str], path: str, owned: Mapping[str, str]) -> Iterator[Problem]:
    """Labels by which somebody finds pods already."""
    for key in labels:
        name = key.rpartition("/")[2]
        if why := owned.get(key):
            yield Problem(f"{path}.{key}", why)
        elif key in CONTROLLERS_LABELS or _within(_domain(key), KEPT_DOMAINS):
            whose = f"labels of {_domain(key)} are" if _domain(key) else "is"
            why = f"{whose} not yours: pods are found by such; write one of your own, e.g. example.com/{name}"
            yield Problem(f"{path}.{key}", why)


def pod_annotation_problems(annotations: Mapping[str, str], path: str, owned: Mapping[str, str]) -> Iterator[Problem]:
    """Annotations that the stack sets, and those that would let a container do more."""
    for key in annotations:
        if why := owned.get(key):
            yield Problem(f"{path}.{key}", why)
        elif _domain(key) in LOOSENING:
            yield Problem(f"{path}.{key}", "decides what the container may do, which is as little as can be here")
        elif _within(_domain(key), OWN_DOMAINS):
            yield Problem(f"{path}.{key}", f"annotations of {_domain(key)} are set by the stack; leave it out")


def _secret_problems(added: Added, path: str, owned: Mapping[str, str]) -> Iterator[Problem]:
    for name in added.secret_env:
        where = f"{path}.secretEnv.{name}"
        if not VARIABLE_NAME.fullmatch(name):
            yield Problem(where, f'"{name}" is not the name of an environment variable')
        elif why := owned.get(name):
            yield Problem(where, why)
        elif name in added.env:
            yield Problem(where, f"is in {path}.env, too; leave one of both out")


def _volume_problems(added: Added, around: str, owned: Mapping[str, str]) -> Iterator[Problem]:
    """Mounts that would hide a folder of ours, of the image or of each other."""
    taken: dict[str, str] = {}
    path = f"{around}.extraVolumes"
    for name, volume in sorted(added.extra_volumes.items()):
        where, folder = f"{path}.{name}.mountPath", volume.mount_path
        elsewhere = f"mount it elsewhere, e.g. at /data/{name}"
        hidden = mount_problem(folder, owned)
        other = next((seen for seen in taken if _overlap(folder, seen)), None)
        if hidden is not None:
            yield Problem(where, f"{hidden}; {elsewhere}")
        elif other is not None:
            yield Problem(where, f"{folder} and {other} of {taken[other]} are one within the other; take them apart")
        taken[folder] = f"{path}.{name}"


def mount_problem(folder: str, owned: Mapping[str, str]) -> str | None:
    """The reason why a container's folder is not for others."""
    hides = next((ours for ours in owned if _overlap(folder, ours)), None)
    if hides is not None:
        return f"{folder} would hide {hides}, {owned[hides]}"
    if folder in SYSTEM_FOLDERS or folder.startswith(KERNEL_FOLDERS):
        return f"{folder} is the system's"
    return None


def _overlap(folder: str, other: str) -> bool:
    """Whether one folder is the other, or within it."""
    return f"{folder}/".startswith(f"{other}/") or f"{other}/".startswith(f"{folder}/")


def _domain(key: str) -> str:
    return key.rpartition("/")[0]


def _within(domain: str, domains: Sequence[str]) -> bool:
    return any(domain == whole or domain.endswith(f".{whole}") for whole in domains)
