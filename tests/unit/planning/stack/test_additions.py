"""Additions of a user to pods: what is added to which pods, and what is refused because the stack has it.

That a cluster has the classes, claims and drivers that are named is not proved.
"""

import pytest

from planning.plan.access import SecretVariable
from planning.plan.additions import (
    AddedVolume,
    Additions,
    ClaimFiles,
    ConfigMapFiles,
    DriverFiles,
    EmptyFolder,
    SecretFiles,
)
from tests.harness import ADDED
from tests.unit.small_stack import planned, refusals, server, serving, stack

ADDITIONS = Additions(
    labels={"example.com/cost-center": "search"},
    annotations={"example.com/note": "two\nlines"},
    account_annotations={"eks.amazonaws.com/role-arn": "arn:aws:iam::111122223333:role/reader"},
    priority_class="serving",
    secrets=(SecretVariable("TENANT_TOKEN", "tenant", "token"),),
    volumes=(
        AddedVolume("extra-certs", "/certs", True, SecretFiles("certs")),
        AddedVolume("extra-files", "/files", False, ClaimFiles("files")),
        AddedVolume("extra-prompts", "/data/prompts", True, ConfigMapFiles("prompts")),
        AddedVolume("extra-spare", "/spare", False, EmptyFolder(10)),
        AddedVolume(
            "extra-vault",
            "/vault",
            True,
            DriverFiles("secrets-store.csi.k8s.io", {"secretProviderClass": "keys"}, "vault-login"),
        ),
    ),
)


def test_a_server_gets_what_is_added_to_its_model():
    """All fields reach the plan, sorted by name, and space on the node's disk is asked for."""
    plain, added = server(serving()), server(serving(**ADDED))
    assert (added.additions, added.scratch.disk_mib - plain.scratch.disk_mib) == (ADDITIONS, 10 * 1024)


def test_the_canary_gets_the_same():
    """A second server of a model has what its model has."""
    raw = serving(**ADDED, canary={"weight": 10, "contextTokens": 16384})
    assert server(raw, "vllm-m-canary").additions == ADDITIONS


def test_the_gateway_gets_what_is_added_to_it():
    """The same fields, and values of variables."""
    gateway = planned(stack(gateway={"existingSecret": "llm-keys", **ADDED, "env": {"TZ": "Europe/Berlin"}})).gateway
    assert gateway.additions == Additions(**{**vars(ADDITIONS), "environment": {"TZ": "Europe/Berlin"}})


def test_what_all_pods_have_gives_way_to_their_own():
    """`workloads` is for servers and the gateway; what these say themselves goes before it."""
    plan = planned(
        stack(
            workloads={"podLabels": {"team": "ml", "tier": "a"}, "priorityClassName": "serving"},
            models={"m": {"model": "Qwen/Qwen3-14B", "pool": "a10", "podLabels": {"tier": "b"}}},
            gateway={"existingSecret": "llm-keys", "priorityClassName": "edge"},
        )
    )
    assert (plan.servers[0].additions, plan.gateway.additions) == (
        Additions(labels={"team": "ml", "tier": "b"}, priority_class="serving"),
        Additions(labels={"team": "ml", "tier": "a"}, priority_class="edge"),
    )


REFUSED = {
    "a selector": (
        {"podLabels": {"app.kubernetes.io/name": "x"}},
        (
            "podLabels.app.kubernetes.io/name: labels of app.kubernetes.io are not yours: pods are "
            "found by such; write "
            "one of your own, e.g. example.com/name"
        ),
    ),
    "a label of Kubernetes": (
        {"podLabels": {"topology.k8s.io/x": "x"}},
        (
            "podLabels.topology.k8s.io/x: labels of topology.k8s.io are not yours: pods are found by such; write one "
            "of your own, e.g. example.com/x"
        ),
    ),
    "a label of the stack": (
        {"podLabels": {"llm-stack.io/model": "x"}},
        (
            "podLabels.llm-stack.io/model: labels of llm-stack.io are not yours: pods are found by such; write one "
            "of your own, e.g. example.com/model"
        ),
    ),
    "a label of a controller": (
        {"podLabels": {"pod-template-hash": "x"}},
        (
            "podLabels.pod-template-hash: is not yours: pods are found by such; write one of your own, e.g. "
            "example.com/pod-template-hash"
        ),
    ),
    "a label that is none": (
        {"podLabels": {"team": "a b"}},
        'podLabels.team: "a b" is not well formed; it must match ^([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?$',
    ),
    "a key that is none": (
        {"podAnnotations": {"a b": "x"}},
        (
            'podAnnotations.a b: "a b" is not well formed; it must match '
            "^([a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*/)?"
            "[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$"
        ),
    ),
    "an annotation of the stack": (
        {"podAnnotations": {"llm-stack.io/x": "1"}},
        "podAnnotations.llm-stack.io/x: annotations of llm-stack.io are set by the stack; leave it out",
    ),
    "an annotation that loosens": (
        {"podAnnotations": {"container.apparmor.security.beta.kubernetes.io/vllm": "unconfined"}},
        (
            "podAnnotations.container.apparmor.security.beta.kubernetes.io/vllm: decides what the "
            "container may do, which is "
            "as little as can be here"
        ),
    ),
    "an annotation of accounts": (
        {"serviceAccountAnnotations": {"kubernetes.io/enforce-mountable-secrets": "true"}},
        (
            "serviceAccountAnnotations.kubernetes.io/enforce-mountable-secrets: kubernetes.io is "
            "not yours: it decides how "
            "pods may use the account"
        ),
    ),
    "the cluster's own class": (
        {"priorityClassName": "system-node-critical"},
        (
            'priorityClassName: "system-node-critical" is the cluster\'s own, and pods of others '
            "would go for it; name a "
            "PriorityClass of yours"
        ),
    ),
    "a path of the host": (
        {"extraVolumes": {"h": {"kind": "hostPath", "path": "/", "mountPath": "/data"}}},
        "extraVolumes.h: kind 'hostPath' is not one of configMap, secret, emptyDir, persistentVolumeClaim, csi",
    ),
    "a folder of ours": (
        {"extraVolumes": {"h": {"kind": "configMap", "name": "c", "mountPath": "/tmp/x"}}},
        "extraVolumes.h.mountPath: /tmp/x would hide /tmp, where it writes; mount it elsewhere, e.g. at /data/h",
    ),
    "a folder of the system": (
        {"extraVolumes": {"h": {"kind": "configMap", "name": "c", "mountPath": "/usr"}}},
        "extraVolumes.h.mountPath: /usr is the system's; mount it elsewhere, e.g. at /data/h",
    ),
    "a path with two spellings": (
        {"extraVolumes": {"h": {"kind": "configMap", "name": "c", "mountPath": "/data/../tmp"}}},
        'extraVolumes.h.mountPath: "/data/../tmp" is not an absolute path of plain names, such as /data/prompts',
    ),
    "a folder twice": (
        {
            "extraVolumes": {
                "a": {"kind": "configMap", "name": "c", "mountPath": "/data"},
                "b": {"kind": "configMap", "name": "c", "mountPath": "/data/b"},
            }
        },
        (
            "extraVolumes.b.mountPath: /data/b and /data of {path}.extraVolumes.a are one within the "
            "other; take them apart"
        ),
    ),
    "a key that the volume does not have": (
        {"extraVolumes": {"h": {"kind": "emptyDir", "sizeGib": 1, "mountPath": "/data", "name": "x"}}},
        "extraVolumes.h.name: belongs to kind configMap or secret; leave it out, or use kind: configMap",
    ),
    "a name of no variable": (
        {"secretEnv": {"A B": {"name": "s", "key": "k"}}},
        'secretEnv.A B: "A B" is not the name of an environment variable',
    ),
    "a variable twice": (
        {"env": {"TENANT": "x"}, "secretEnv": {"TENANT": {"name": "s", "key": "k"}}},
        "secretEnv.TENANT: is in {path}.env, too; leave one of both out",
    ),
}
OF_SERVERS = {
    "an annotation that keeps servers where they are": (
        {"podAnnotations": {"karpenter.sh/do-not-disrupt": "false"}},
        (
            'podAnnotations.karpenter.sh/do-not-disrupt: is "true" for servers, because a pod that '
            "takes minutes to load is "
            "not moved"
        ),
    ),
    "the weights": (
        {"extraVolumes": {"h": {"kind": "configMap", "name": "c", "mountPath": "/models/x"}}},
        (
            "extraVolumes.h.mountPath: /models/x would hide /models, where its weights are; mount "
            "it elsewhere, e.g. at "
            "/data/h"
        ),
    ),
    "the key of the server": (
        {"secretEnv": {"VLLM_API_KEY": {"name": "s", "key": "k"}}},
        "secretEnv.VLLM_API_KEY: is the key that the gateway asks with, which the stack makes",
    ),
    "an option of the engine": (
        {"secretEnv": {"VLLM_USE_V1": {"name": "s", "key": "k"}}},
        "secretEnv.VLLM_USE_V1: is an option of vLLM and no secret; write it in env",
    ),
    "a variable of the plan": (
        {"secretEnv": {"HF_HUB_OFFLINE": {"name": "s", "key": "k"}}},
        "secretEnv.HF_HUB_OFFLINE: is decided by the plan",
    ),
    "the door for adapters": (
        {"secretEnv": {"VLLM_ALLOW_RUNTIME_LORA_UPDATING": {"name": "s", "key": "k"}}},
        "secretEnv.VLLM_ALLOW_RUNTIME_LORA_UPDATING: is an option of vLLM and no secret; write it in env",
    ),
}
OF_THE_GATEWAY = {
    "a secret by value": (
        {"env": {"LITELLM_LICENSE_TOKEN": "x"}},
        (
            "env.LITELLM_LICENSE_TOKEN: looks like a secret; secrets never go into the environment here; write it in "
            "gateway.secretEnv.LITELLM_LICENSE_TOKEN"
        ),
    ),
    "where Redis is": (
        {"env": {"REDIS_HOST": "x"}},
        "env.REDIS_HOST: is decided by gateway.redis; set that",
    ),
    "its master key": (
        {"secretEnv": {"LITELLM_MASTER_KEY": {"name": "s", "key": "k"}}},
        "secretEnv.LITELLM_MASTER_KEY: is a key of the gateway; set gateway.existingSecret, or gatewayMasterKey",
    ),
    "the proxy": (
        {"env": {"HTTPS_PROXY": "http://p:3128"}},
        "env.HTTPS_PROXY: is decided by cluster.proxy; set that",
    ),
    "an option of its command": (
        {"env": {"DETAILED_DEBUG": "true"}},
        "env.DETAILED_DEBUG: is an argument of LiteLLM, and those are the stack's",
    ),
}


@pytest.mark.parametrize("case", [*REFUSED, *OF_SERVERS])
def test_a_model_may_not_take_what_its_server_has(case: str):
    """Each is refused by its path, with the rule and what to write."""
    fields, message = {**REFUSED, **OF_SERVERS}[case]
    assert refusals(serving(**fields)) == [f"models.m.{message.replace('{path}', 'models.m')}"]


@pytest.mark.parametrize("case", [*REFUSED, *OF_THE_GATEWAY])
def test_the_gateway_keeps_what_it_has(case: str):
    """The same rules, but for what servers alone have."""
    fields, message = {**REFUSED, **OF_THE_GATEWAY}[case]
    raw = stack(gateway={"existingSecret": "llm-keys", **fields})
    assert refusals(raw) == [f"gateway.{message.replace('{path}', 'gateway')}"]


def test_the_account_of_a_server_is_that_of_its_store():
    """A role that the weights are read with is said once, where they are."""
    weights = {
        "kind": "objectStore",
        "url": "s3://weights/llm",
        "credentials": {"kind": "workloadIdentity", "identity": "arn:aws:iam::111122223333:role/reader"},
    }
    raw = serving(serviceAccountAnnotations={"eks.amazonaws.com/role-arn": "arn:aws:iam::111122223333:role/other"})
    raw |= {"weights": weights, "cluster": {"context": "test", "identifier": "test-1", "platform": "eks"}}
    assert refusals(raw) == [
        (
            "models.m.serviceAccountAnnotations.eks.amazonaws.com/role-arn: is decided by "
            "weights.credentials.identity; "
            "set that"
        )
    ]


def test_what_all_pods_have_is_held_to_the_same_rules():
    """Labels, annotations and class of `workloads` are refused by their own paths."""
    raw = stack(
        workloads={
            "podLabels": {"kubernetes.io/x": "1"},
            "podAnnotations": {"karpenter.sh/do-not-disrupt": "false"},
            "priorityClassName": "system-cluster-critical",
        }
    )
    assert [problem.partition(": ")[0] for problem in refusals(raw)] == [
        "workloads.podLabels.kubernetes.io/x",
        "workloads.podAnnotations.karpenter.sh/do-not-disrupt",
        "workloads.priorityClassName",
    ]
