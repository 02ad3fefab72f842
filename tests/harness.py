"""The program under test: stacks and components run under mocks, with helpers to look at what they declared.

Everything goes through `preview.rendering.recorder`, so a test sees what the engine would be asked for. What stands
here proves nothing by itself, and mocks never prove that Kubernetes accepts an object.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pulumi
import yaml
from pulumi.runtime import rpc

from catalog import load_catalog
from catalog.load import Catalog
from catalog.schema import KvProfile
from planning import resolve_stack
from planning.plan import Plan
from planning.plan.stores import SERVING_ROLE
from planning.stack.identity import CLAIM
from preview.rendering.manifests import Category, Manifest, collect_manifests
from preview.rendering.recorder import Recorder, Run, run, run_program
from preview.rendering.records import Record, plain
from preview.rendering.stackfile import read_project, read_stack
from settings import Refused, validate

ROOT = Path(__file__).parents[1]
CRDS = ROOT.parent / "shared" / "crds"
PROJECT = "llm-stack"
SECRET_KEYS = ("gatewayMasterKey", "huggingFaceToken")
# Values that must never be seen outside a Secret.
MASTER_KEY = "sk-marker-7d41c2aa90e35b66f1"
HUB_TOKEN = "hf_marker_51c0ffee9ad2"
# What proves that the namespace is the stack's own: its claim, the claim as it is, and who drew the stack's identity.
PROOF = {f"ConfigMap/{CLAIM}", f"ConfigMap/{CLAIM}-present", "kubernetes/cluster"}
# Projects whose stacks are rendered by the stack tests: folder below the repository → golden folder of each stack.
PROJECTS = {
    ".": "{stack}",
    "examples/minimal": "minimal",
    "examples/weights": "weights",
    "examples/gateway": "gateway",
    "examples/traffic": "traffic",
    "examples/adapters": "adapters",
    "examples/rag": "rag",
    "examples/teams": "teams",
}
# A project whose stacks are rendered by `tests/stacks/test_examples.py` alone, and have no golden folders.
PLATFORM_EXAMPLES = "examples/platforms"
Config = dict[str, Any]


@dataclass(frozen=True)
class Deployed:
    """What a program declared.

    `raw` has the inputs of every resource with secrets in clear, and `secrets` every secret value found in them, so
    that a test can look for leaks; `records` and `manifests` show `<secret>`. `outputs` has what components registered.
    """

    records: tuple[Record, ...]
    manifests: tuple[Manifest, ...]
    exports: Mapping[str, Any]
    secret_exports: frozenset[str]
    raw: Mapping[str, Any]
    secrets: frozenset[str]
    outputs: Mapping[str, Mapping[str, Any]]
    plan: Plan

    def record(self, kind: str, name: str) -> Record:
        """The one resource of this kind and logical name."""
        return _one([record for record in self.records if (kind_of(record), record.name) == (kind, name)], kind, name)

    def manifest(self, kind: str, name: str) -> Manifest:
        """The one object, patch or release of this kind and Kubernetes name."""
        return _one([item for item in self.manifests if (item.kind, item.name) == (kind, name)], kind, name)

    def object(self, kind: str, name: str) -> Any:
        """Its body."""
        return self.manifest(kind, name).body

    def objects(self, kind: str) -> list[Any]:
        """The bodies of all objects of a kind."""
        return [item.body for item in self.manifests if item.kind == kind]

    def component(self, name: str) -> Record:
        """The one component of this name."""
        return _one([record for record in self.records if not record.custom and record.name == name], "component", name)

    def children(self, name: str) -> list[tuple[str, str, str]]:
        """(kind, logical name, Kubernetes name) of everything a component owns; `-auto` ends a name Pulumi draws."""
        urn = self.component(name).urn
        shown = {manifest.urn: manifest.name for manifest in self.manifests}
        return [(kind_of(record), record.name, shown[record.urn]) for record in self.records if record.parent == urn]

    def depends_on(self, kind: str, name: str) -> set[str]:
        """`Kind/logical name` of everything a resource waits for, named explicitly or used as an input.

        Without the proof of the claim, for which all wait: `tests/components/test_claim.py`.
        """
        return self.waits_for(kind, name) - PROOF

    def waits_for(self, kind: str, name: str) -> set[str]:
        """The same with the proof of the claim."""
        return {f"{kind_in(urn)}/{urn.rpartition('::')[2]}" for urn in self.record(kind, name).options.depends_on}

    def secret(self, logical_name: str) -> Mapping[str, str]:
        """The entries of a Secret, in clear."""
        return self.raw[self.record("Secret", logical_name).urn]["stringData"]

    def registered(self, name: str) -> Mapping[str, Any]:
        """What a component registered as its outputs."""
        return self.outputs[self.component(name).urn]


@dataclass(frozen=True)
class Pod:
    """One pod template of a workload; `labels` are those its pods really carry, `owner` is `Kind name`."""

    owner: str
    kind: str
    namespace: str
    labels: Mapping[str, str]
    spec: Mapping[str, Any]

    @property
    def containers(self) -> list[Any]:
        """Containers and init containers."""
        return [*self.spec.get("initContainers", []), *self.spec["containers"]]

    @property
    def ports(self) -> dict[str, int]:
        """Named ports that clients can reach."""
        return {
            port["name"]: port["containerPort"] for item in self.spec["containers"] for port in item.get("ports", [])
        }


def kind_of(record: Record) -> str:
    """`Deployment` of `kubernetes:apps/v1:Deployment`."""
    return record.type.rpartition(":")[2]


def kind_in(urn: str) -> str:
    """The same from a URN."""
    return urn.split("::")[2].rpartition("$")[2].rpartition(":")[2]


def _one(found: Sequence[Any], kind: str, name: str) -> Any:
    assert len(found) == 1, f"{len(found)} × {kind} {name}"
    return found[0]


class _Keeping(Recorder):
    """A Recorder that also keeps what the masked records leave out: secret values and component outputs."""

    def __init__(self) -> None:
        super().__init__()
        self.raw: dict[str, Any] = {}
        self.secrets: set[str] = set()
        self.outputs: dict[str, Any] = {}

    def RegisterResource(self, request: Any) -> Any:  # noqa: N802 - the name of the RPC
        response = super().RegisterResource(request)
        self.raw[response.urn] = self._clear(rpc.deserialize_properties(request.object), secret=False)
        return response

    def RegisterResourceOutputs(self, request: Any) -> Any:  # noqa: N802 - the name of the RPC
        self.outputs[request.urn] = plain(request.outputs)[0]
        return super().RegisterResourceOutputs(request)

    def _clear(self, value: Any, *, secret: bool) -> Any:
        if rpc.is_rpc_secret(value):
            return self._clear(value["value"], secret=True)
        if isinstance(value, dict):
            return {key: self._clear(item, secret=secret) for key, item in value.items()}
        if isinstance(value, list):
            return [self._clear(item, secret=secret) for item in value]
        if secret and isinstance(value, str):
            # but the name of a role, which stands beside its password
            self.secrets |= {value} - {SERVING_ROLE}
        return value


def _deployed(keeping: _Keeping, done: Run, plan: Any) -> Deployed:
    return Deployed(
        records=done.records,
        manifests=collect_manifests(done.records),
        exports=done.exports,
        secret_exports=done.secret_exports,
        raw=keeping.raw,
        secrets=frozenset(keeping.secrets),
        outputs=keeping.outputs,
        plan=plan,
    )


def deploy(build: Callable[[], Any], config: Mapping[str, Any] | None = None) -> Deployed:
    """Runs `build` as a Pulumi program of its own, for components that are put together by hand; it has no plan."""
    keeping = _Keeping()
    done = run(build, dict(config or {}), recorder=keeping)
    return _deployed(keeping, done, None)


def _run_program(
    path: Path,
    values: Mapping[str, Any],
    secret_keys: Sequence[str],
    name: str,
    project: str,
    directory: Path | None = None,
) -> Deployed:
    keeping = _Keeping()
    done, names = run_program(path, values, secret_keys, name, project, directory=directory, recorder=keeping)
    return _deployed(keeping, done, names["stack"].plan)


def stack(config: Config, catalog: Catalog | None = None) -> Deployed:
    """The whole program on a configuration (top-level key → value, as in a stack file, secrets in clear)."""
    if catalog is not None:
        with patch("catalog.load_catalog", lambda: catalog):
            return _from_text.__wrapped__(json.dumps(config))
    return _from_text(json.dumps(config))


@cache
def _from_text(text: str) -> Deployed:
    config = json.loads(text)
    values = {
        f"{PROJECT}:{key}": value if isinstance(value, str) else json.dumps(value) for key, value in config.items()
    }
    secret_keys = [f"{PROJECT}:{key}" for key in SECRET_KEYS if key in config]
    return _run_program(ROOT / "__main__.py", values, secret_keys, "test", PROJECT)


def stack_names() -> list[str]:
    """Every stack of the repository by the name of its golden folder; an example that is not there is left out."""
    names = []
    for folder, golden in PROJECTS.items():
        if (ROOT / folder / "Pulumi.yaml").is_file():
            names += [golden.format(stack=stack) for stack in read_project(ROOT / folder).stacks()]
    return names


@cache
def stack_file(name: str) -> Deployed:
    """The whole program on a stack file of the repository, by the name of its golden folder."""
    folder, stack_name = next(
        (folder, stack)
        for folder, golden in {**PROJECTS, PLATFORM_EXAMPLES: "{stack}"}.items()
        if (ROOT / folder / "Pulumi.yaml").is_file()
        for stack in read_project(ROOT / folder).stacks()
        if golden.format(stack=stack) == name
    )
    project = read_project(ROOT / folder)
    config = read_stack(project, stack_name)
    return _run_program(project.program, config.values, config.secret_keys, stack_name, project.name, project.directory)


def refusals(config: Config) -> list[str]:
    """Every reason why a configuration is refused, as its reader sees it; empty when it is not."""
    try:
        stack(config)
    except Refused as error:
        return [str(problem) for problem in error.problems]
    except pulumi.RunError as error:
        return [str(problem) for problem in getattr(error, "problems", [error])]
    return []


def minimal(**changes: Any) -> Config:
    """A small valid configuration: one model on one L4, keys in an existing Secret; `changes` are merged into it.

    Mappings are merged key by key; a None takes a key away.
    """
    config = {
        "cluster": {"context": "test", "identifier": "test-1"},
        "gpuPools": {"l4": {"gpu": "nvidia-l4", "nodes": 2, "gpusPerNode": 1}},
        "weights": {"storageClass": "rwx"},
        "models": {"small": {"model": "Qwen/Qwen3-0.6B", "pool": "l4", "contextTokens": 8192}},
        "gateway": {"existingSecret": "llm-keys"},
    }
    return merged(config, changes)


def merged(config: Config, changes: Mapping[str, Any]) -> Config:
    """`config` with `changes`, as `minimal` takes them."""
    result = deepcopy(config)
    for key, value in changes.items():
        if value is None:
            result.pop(key, None)
        elif isinstance(value, Mapping) and isinstance(result.get(key), dict):
            result[key] = merged(result[key], value)
        else:
            result[key] = deepcopy(value)
    return result


def own_keys(**changes: Any) -> Config:
    """`minimal` with a master key of its own instead of an existing Secret."""
    return merged(minimal(gateway={"existingSecret": None}, gatewayMasterKey=MASTER_KEY), changes)


def two_nodes(**changes: Any) -> Config:
    """DeepSeek-R1 on two nodes of eight H100, which is one replica."""
    config = minimal(
        gpuPools={"l4": None, "h100": {"gpu": "nvidia-h100", "nodes": 2, "gpusPerNode": 8}},
        models={"small": None, "r1": {"model": "deepseek-ai/DeepSeek-R1", "pool": "h100"}},
    )
    return merged(config, changes)


def over_efa() -> Config:
    """The same over EFA with an image that has it, each replica on nodes of one rack."""
    joined = {
        "interconnect": "efa",
        "resources": {"vpc.amazonaws.com/efa": 32},
        "exclusiveTopology": "example.com/rack",
    }
    image = {"image": "registry.example.com/vllm-efa:0.33.0", "engineVersion": "0.33.0"}
    return two_nodes(gpuPools={"h100": joined}, models={"r1": image})


def on_cpu(**changes: Any) -> Config:
    """One model on a CPU pool and no GPU at all."""
    config = minimal(
        gpuPools={"l4": None, "cpu": {"gpu": "none", "nodes": 2, "cpusPerNode": 16, "memoryGibPerNode": 64}},
        models={"small": None, "tiny": {"model": "Qwen/Qwen3-0.6B", "pool": "cpu"}},
    )
    return merged(config, changes)


def serving(models: Mapping[str, str]) -> Config:
    """These models (public name → repository) on a cluster that has room for any of them."""
    known = load_catalog().models
    # of pickles the commit of a conversion has to be said
    pins = {model: {"revision": "a" * 40} for model in models.values() if known[model].conversion}
    return minimal(
        gpuPools={"l4": None, "h200": {"gpu": "nvidia-h200", "nodes": 200, "gpusPerNode": 8}},
        models={
            "small": None,
            **{name: {"model": model, "pool": "h200", **pins.get(model, {})} for name, model in models.items()},
        },
    )


def computable() -> dict[str, str]:
    """Every model of the catalogue whose KV cache can be computed, under a public name."""
    found = sorted(name for name, model in load_catalog().models.items() if model.kv_profile is not KvProfile.UNKNOWN)
    return {f"m{position}": name for position, name in enumerate(found)}


@cache
def whole_catalog_plan() -> Plan:
    """The plan that serves all of `computable` at once; planning is quick, so nothing is left out."""
    settings, problems = validate(serving(computable()))
    return resolve_stack(settings, load_catalog(), problems)


def one_per_dialect() -> dict[str, str]:
    """One model for every way in which arguments differ: parsers, tokenizer, task, kind of KV cache."""
    dialects: dict[tuple[object, ...], tuple[str, str]] = {}
    for public, name in computable().items():
        model = load_catalog().models[name]
        how = model.serving
        key = (
            how.reasoning_parser,
            how.tool_call_parser,
            how.tokenizer_mode,
            how.language_model_only,
            how.pair_template is not None,
            model.task,
            model.kv_profile,
        )
        dialects.setdefault(key, (public, name))
    return dict(dialects.values())


# What a user may add to pods, of every kind.
_ADDED_VOLUMES = {
    "prompts": {"kind": "configMap", "name": "prompts", "mountPath": "/data/prompts"},
    "vault": {"kind": "csi", "driver": "secrets-store.csi.k8s.io", "mountPath": "/vault",
              "attributes": {"secretProviderClass": "keys"}, "secret": "vault-login"},
    "files": {"kind": "persistentVolumeClaim", "claimName": "files", "readOnly": False, "mountPath": "/files"},
    "spare": {"kind": "emptyDir", "sizeGib": 10, "mountPath": "/spare"},
    "certs": {"kind": "secret", "name": "certs", "mountPath": "/certs"},
}  # fmt: skip
ADDED: Config = {
    "podLabels": {"example.com/cost-center": "search"},
    "podAnnotations": {"example.com/note": "two\nlines"},
    "serviceAccountAnnotations": {"eks.amazonaws.com/role-arn": "arn:aws:iam::111122223333:role/reader"},
    "priorityClassName": "serving",
    "secretEnv": {"TENANT_TOKEN": {"name": "tenant", "key": "token"}},
    "extraVolumes": _ADDED_VOLUMES,
}
# Ways through network rules: out of everything, out of the gateway, and into one server.
WAYS: Config = {
    "extraEgress": {
        "all": {"to": {"kind": "addresses", "cidrs": ["10.0.0.0/8", "::/0"]}, "ports": ["5000-5010"],
                "workloads": ["all"]},
        "traces": {"to": {"kind": "pods", "namespace": "tracing", "podLabels": {"app": "otel"}}, "ports": [4317],
                   "workloads": ["gateway"]},
    },
    "extraIngress": {
        "bench": {"from": {"kind": "pods", "namespace": "bench"}, "ports": [9000], "protocol": "UDP",
                  "workloads": ["models.small"]},
    },
}  # fmt: skip
# A gateway at the edge with a page to chat with, whose keys are in Secrets that exist.
CHAT_UI: Config = {
    "host": "llm.example.com",
    "expose": {"kind": "gatewayApi", "gatewayName": "public"},
    "database": {"existingSecret": "db"},
    "teams": {"staff": {"models": ["small"], "keys": ["chat"], "existingSecret": "staff-keys"}},
    "chatUi": {
        "host": "chat.example.com",
        "team": "staff",
        "key": "chat",
        "existingSecret": "chat-ui",
        "oidc": {
            "endpoint": "https://login.example.com/realms/staff",
            "clientId": "chat",
            "allowedDomains": ["example.com"],
        },
    },
}
# One configuration per way to deploy; together they reach every branch of the components.
VARIANTS: dict[str, Config] = {
    "minimal": minimal(),
    "own-keys": own_keys(
        huggingFaceToken=HUB_TOKEN,
        gpuPools={"cpu": {"gpu": "none", "nodes": 2, "cpusPerNode": 16, "memoryGibPerNode": 64}},
        models={
            "small": {
                "replicas": {"min": 1, "max": 2},
                "fallbacks": ["spare"],
                "requestsPerMinute": 60,
                "tokensPerMinute": 90000,
                "env": {"VLLM_LOGGING_LEVEL": "WARNING"},
                "args": ["--enable-log-requests"],
            },
            "spare": {"model": "Qwen/Qwen3-0.6B", "pool": "cpu", "contextTokens": 4096},
        },
        gateway={
            "host": "llm.example.com",
            "expose": {"kind": "ingress", "className": "nginx", "tlsSecret": "llm-tls"},
            "database": {"existingSecret": "llm-database"},
        },
    ),
    "standbys": own_keys(
        gpuPools={"l4": {"claims": {}}},
        gateway={"database": {"kind": "cloudNativePg", "storageClass": "ssd", "gib": 50}},
        images={"pullSecrets": ["registry"]},
    ),
    "hpa-canary": minimal(
        gpuPools={"l4": {"nodes": 4, "provisioning": {"kind": "labelled", "labels": {"team": "search"}}}},
        models={
            "small": {
                "replicas": {"min": 1, "max": 2},
                "canary": {"weight": 10, "model": "Qwen/Qwen3-0.6B-FP8"},
            }
        },
        autoscaling={"driver": "hpa"},
        gateway={
            "host": "llm.example.com",
            "expose": {
                "kind": "gatewayApi",
                "gatewayName": "public",
                "gatewayNamespace": "edge",
                "sectionName": "https",
            },
            "redis": {"kind": "existing", "host": "redis.example.com", "port": 6380},
        },
    ),
    "own-keys-canary-100": own_keys(models={"small": {"canary": {"weight": 100, "contextTokens": 4096}}}),
    "two-nodes": two_nodes(
        gpuPools={"h100": {"nodes": 4, "provisioning": {"kind": "karpenter", "instanceTypes": ["p5.48xlarge"]}}},
        models={"r1": {"replicas": {"min": 1, "max": 2}}},
        cluster={"platform": "eks"},
    ),
    "to-zero": minimal(
        cluster={"platform": "gke", "namespace": "idle"},
        gpuPools={
            "l4": {
                "provisioning": {
                    "kind": "computeClass",
                    "machineTypes": ["g2-standard-8"],
                    "capacityTypes": ["reserved", "spot"],
                    "reservation": "mine",
                }
            }
        },
        models={"small": {"replicas": {"min": 0, "max": 2}}},
        gateway={"host": "llm.example.com", "expose": {"kind": "gatewayApi", "gatewayName": "public"}},
        weights={"hub": {"kind": "modelscope", "endpoint": "http://models.corp:8080", "tokenSecret": "hub"}},
    ),
    "named-nodes": minimal(
        gpuPools={
            "l4": {"provisioning": {"kind": "existing", "nodeNames": ["n1", "n2"]}},
            "cpu": {
                "gpu": "none",
                "nodes": 1,
                "cpusPerNode": 16,
                "memoryGibPerNode": 64,
                "provisioning": {"kind": "existing", "nodeNames": ["n3"]},
            },
        },
        models={
            "small": {"scaling": {"offPeak": {"start": "0 20 * * *", "end": "0 8 * * *"}}, "replicas": {"max": 2}},
            "tiny": {"model": "Qwen/Qwen3-0.6B", "pool": "cpu", "contextTokens": 4096},
        },
        images={"mirror": "registry.example.com/mirror"},
    ),
    "on-cpu": on_cpu(),
    "host-routes": minimal(
        cluster={"platform": "openshift"},
        models={"small": {"image": "docker.io/acme/vllm-openai:v0.33.0"}},
        gpuOperator={"install": False},
        gateway={"host": "llm.example.com", "expose": {"kind": "route"}},
    ),
    "redis-over-tls": own_keys(
        gateway={
            "redis": {
                "kind": "existing",
                "host": "redis.data.svc",
                "username": "gateway",
                "passwordSecret": "redis",
                "tls": {"caBundle": {"kind": "secret", "name": "redis-ca"}},
            }
        }
    ),
    "redis-sentinels": minimal(
        gateway={
            "redis": {
                "kind": "sentinel",
                "sentinels": ["s-0.data.svc", "s-1.data.svc:26380"],
                "masterName": "mymaster",
                "sentinelsAskPassword": True,
                "tls": True,
            }
        }
    ),
    "bundled-database": own_keys(gateway={"database": {"kind": "bundled", "storageClass": "ssd"}}),
    "bundled-database-keys": minimal(
        gateway={"database": {"kind": "bundled"}, "redis": {"kind": "none"}, "replicas": 1}
    ),
    "chat-ui": minimal(gateway=CHAT_UI),
    "chat-ui-proxied": minimal(
        cluster={"proxy": {"endpoint": "http://proxy.example.com:3128"}},
        gateway=merged(
            CHAT_UI,
            {
                "expose": {"kind": "ingress", "gatewayName": None, "className": "nginx"},
                "teams": {"staff": {"keys": {"chat": {"generations": [2, 3]}}}},
                "chatUi": {"tlsSecret": "chat-tls", "storageClass": "ssd", "admin": "root@example.com"},
            },
        ),
    ),
    "weights-on-disk": minimal(
        gpuOperator={"verifyNodes": False},
        weights={"storageClass": None, "kind": "existingClaim", "claimName": "disk"},
    ),
    "store-with-keys": minimal(
        weights={
            "storageClass": None,
            "kind": "objectStore",
            "url": "s3://models/published",
            "endpoint": "http://minio.storage.svc:9000",
            "credentials": {"kind": "existingSecret", "name": "store"},
        },
        models={"small": {"canary": {"weight": 10, "revision": "f" * 40}}},
    ),
    "store-copied": minimal(
        weights={
            "storageClass": "local",
            "kind": "nodeCache",
            "from": {
                "kind": "objectStore",
                "url": "s3://models/published",
                "endpoint": "http://minio.storage.svc:9000",
                "credentials": {"kind": "existingSecret", "name": "store"},
            },
        }
    ),
    "store-filled": minimal(
        weights={
            "storageClass": None,
            "kind": "objectStore",
            "url": "s3://models/published",
            "endpoint": "http://minio.storage.svc:9000",
            "credentials": {"kind": "existingSecret", "name": "store"},
            "fill": {"credentials": {"kind": "existingSecret", "name": "store-writer"}},
        },
    ),
    "behind-proxy": minimal(
        cluster={
            "proxy": {"endpoint": "http://proxy.corp:3128", "existingSecret": "proxy"},
            "caBundle": {"kind": "configMap", "name": "company-ca"},
        },
        models={
            "small": {"model": "Qwen/Qwen3-0.6B"},
            "stored": {
                "model": "Qwen/Qwen3-0.6B",
                "pool": "l4",
                "contextTokens": 8192,
                "weights": {
                    "kind": "objectStore",
                    "url": "s3://models/published",
                    "credentials": {"kind": "existingSecret", "name": "store"},
                    "fill": {},
                },
            },
        },
    ),
    "signed": minimal(
        models={
            "small": {
                "signature": {
                    "kind": "key",
                    "configMap": "qwen-signature",
                    "image": "ghcr.io/sigstore/model-transparency-cli:v1.0.1",
                }
            }
        },
    ),
    "store-with-key-file": two_nodes(
        weights={
            "storageClass": None,
            "kind": "objectStore",
            "url": "gs://models",
            "credentials": {"kind": "existingSecret", "name": "store"},
        }
    ),
    "store-of-azure": minimal(
        cluster={"platform": "aks"},
        weights={
            "storageClass": None,
            "kind": "objectStore",
            "url": "az://models/published",
            "account": "acme",
            "credentials": {"kind": "workloadIdentity", "identity": "01234567-89ab-cdef-0123-456789abcdef"},
        },
    ),
    "store-of-google": minimal(
        cluster={"platform": "gke"},
        weights={"storageClass": None, "kind": "objectStore", "url": "gs://models/published"},
    ),
    "image-copied": two_nodes(
        weights={
            "storageClass": "local",
            "kind": "nodeCache",
            "from": {"kind": "image", "reference": f"registry.example.com/models/r1@sha256:{'a' * 64}"},
        }
    ),
    "k3s": minimal(cluster={"platform": "k3s", "dnsAddresses": ["fd00::a"]}),
    "one-node": minimal(gpuPools={"l4": {"nodes": 1}}, weights={"accessMode": "ReadWriteOnce"}),
    "one-pod": minimal(weights={"accessMode": "ReadWriteOncePod"}),
    "cloned": minimal(weights={"accessMode": "ReadOnlyMany"}, models={"small": {"replicas": {"max": 2}}}),
    "pulled-before": minimal(
        gpuPools={
            "l4": {"provisioning": {"kind": "existing", "nodeNames": ["gpu-1", "gpu-2"]}},
            "bought": {
                "gpu": "nvidia-l4",
                "nodes": 1,
                "gpusPerNode": 1,
                "provisioning": {"kind": "computeClass", "machineTypes": ["g2-standard-8"]},
            },
        },
        weights={
            "storageClass": None,
            "kind": "image",
            "reference": f"registry.example.com/models/small@sha256:{'a' * 64}",
        },
        compileCache={"kind": "claim", "storageClass": "rwx"},
        images={"prePull": True, "mirror": "registry.example.com/mirror", "pullSecrets": ["regcred"]},
        models={
            "small": {"canary": {"weight": 10, "image": "docker.io/acme/vllm-openai:v0.33.0"}},
            "other": {"model": "Qwen/Qwen3-0.6B", "pool": "bought", "contextTokens": 4096},
        },
    ),
    "nothing-installed": minimal(
        gpuOperator={"install": False, "verifyNodes": False},
        observability={"install": False, "prometheusUrl": "http://prometheus.example.com:9090"},
        autoscaling={"install": False},
        models={"small": {"replicas": {"max": 2}}},
        weights={"prewarm": False},
    ),
    "no-redis": own_keys(
        gateway={"replicas": 1, "redis": {"kind": "none"}}, models={"small": {"tokensPerMinute": 900}}
    ),
    "kept-cache": two_nodes(
        gpuPools={"l4": {"gpu": "nvidia-l4", "nodes": 2, "gpusPerNode": 1}},
        models={"small": {"model": "Qwen/Qwen3-0.6B", "pool": "l4", "contextTokens": 8192}},
        compileCache={"kind": "claim", "storageClass": "rwx"},
    ),
    "yours": minimal(
        gpuPools={"l4": {"resources": {"rdma/ib": 1, "hugepages-2Mi": "512Mi"}}},
        charts={"kube-prometheus-stack": {"values": {"grafana": {"replicas": 2, "persistence": None}}}},
        models={"small": {**ADDED, "canary": {"weight": 10, "contextTokens": 4096}}},
        gateway={**ADDED, "env": {"TZ": "Europe/Berlin"}},
        workloads={"podLabels": {"team": "ml"}, "podAnnotations": {"example.com/owner": "ml"}},
        network=WAYS,
    ),
    "every-dialect": serving(one_per_dialect()),
}  # fmt: skip


def every_stack() -> list[str]:
    """Names for `rendered`: the repository's stacks and the variants."""
    return [*stack_names(), *(f"variant:{name}" for name in VARIANTS)]


def rendered(name: str) -> Deployed:
    """One of `every_stack`, rendered once per process."""
    kind, _, variant = name.rpartition(":")
    return stack(VARIANTS[variant]) if kind else stack_file(name)


def walk(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Every leaf of plain data with its path; keys of mappings are leaves too."""
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield f"{path}.{key}", key
            yield from walk(item, f"{path}.{key}")
    elif isinstance(value, list):
        for position, item in enumerate(value):
            yield from walk(item, f"{path}[{position}]")
    else:
        yield path, value


def pods(deployed: Deployed) -> list[Pod]:
    """Every pod template the stack declares, with the labels its controller adds to selectors we use."""
    found = []
    for manifest in deployed.manifests:
        spec, owner = manifest.body.get("spec", {}), f"{manifest.kind} {manifest.name}"
        if manifest.kind in ("Deployment", "Job", "DaemonSet", "StatefulSet"):
            found.append(_pod(owner, manifest, spec["template"], {}))
        elif manifest.kind == "LeaderWorkerSet":
            group = {"leaderworkerset.sigs.k8s.io/name": manifest.name}
            index = "leaderworkerset.sigs.k8s.io/worker-index"
            templates = spec["leaderWorkerTemplate"]
            found.append(_pod(owner, manifest, templates["leaderTemplate"], {**group, index: "0"}))
            found.append(_pod(owner, manifest, templates["workerTemplate"], {**group, index: "1"}))
    return found


def _pod(owner: str, manifest: Manifest, template: Any, added: Mapping[str, str]) -> Pod:
    return Pod(owner, manifest.kind, manifest.namespace, {**template["metadata"]["labels"], **added}, template["spec"])


def planned_jobs(plan: Plan) -> dict[str, int]:
    """How many Jobs of each kind a stack has: one per checkpoint that is fetched, pool to verify and database."""
    return {
        "model-weights": sum(
            (item.fetch is not None) + (item.signature is not None) for item in plan.weights.checkpoints
        ),
        "verify-nodes": sum(pool.verification is not None for pool in plan.pools.values()),
        "litellm-migration": 1 if plan.gateway.database else 0,
        "litellm-teams": 1 if plan.gateway.teams else 0,
    }


def selects(selector: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    """Whether a label selector (`matchLabels` only, which is all we use) selects these labels."""
    assert set(selector) <= {"matchLabels"}, selector
    return selector.get("matchLabels", {}).items() <= labels.items()


def environment(container: Mapping[str, Any]) -> dict[str, str]:
    """Environment of a container; a value from elsewhere reads `secret:NAME/KEY` or `field:PATH`."""
    values = {}
    for item in container.get("env", []):
        match item:
            case {"valueFrom": {"secretKeyRef": {"name": name, "key": key}}}:
                values[item["name"]] = f"secret:{name}/{key}"
            case {"valueFrom": {"fieldRef": {"fieldPath": path}}}:
                values[item["name"]] = f"field:{path}"
            case _:
                values[item["name"]] = item["value"]
    return values


def container_of(body: Any) -> Any:
    """The first container of a workload."""
    return body["spec"]["template"]["spec"]["containers"][0]


def gateway_config(deployed: Deployed) -> dict[str, Any]:
    """LiteLLM's configuration, read back from the ConfigMap its pods mount."""
    volumes = deployed.object("Deployment", "litellm")["spec"]["template"]["spec"]["volumes"]
    name = next(volume["configMap"]["name"] for volume in volumes if volume["name"] == "config")
    return yaml.safe_load(deployed.object("ConfigMap", name)["data"]["config.yaml"])


def faulty(found: Mapping[str, Sequence[Any] | set[Any]]) -> dict[str, Any]:
    """Of `place → what is wrong there`, the places where something is; an empty `found` is a test of nothing."""
    assert found
    return {place: faults for place, faults in found.items() if faults}


def seconds(text: str) -> int:
    """Seconds of `45m`, `600s` or `1h`."""
    return int(text[:-1]) * {"s": 1, "m": 60, "h": 3600}[text[-1]]


def patches_and_releases(deployed: Deployed) -> list[Manifest]:
    """What is no object of its own: changed fields of existing objects, and Helm releases."""
    return [item for item in deployed.manifests if item.category is not Category.OBJECT]
