"""Buckets as a source of weights: what the streamer is told, how a pod proves who it is, and where it may connect to.

Variables and arguments are those of runai-model-streamer 0.17 (its docs/src/env-vars.md) and of vLLM's loader
(vllm/model_executor/model_loader/runai_streamer_loader.py, 0.32).
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from catalog.platforms import WorkloadIdentity
from catalog.schema import Networks
from planning.plan.pods import AddressBlock, EgressRule
from planning.plan.weights import CheckpointPlan, Identity, SecretFile, SecretVariable, Source
from planning.stack.network import HTTPS_PORT, blocks, endpoint_egress, endpoint_problems
from settings.problems import Problem
from settings.schema import ObjectStoreWeights, PublicStore, StoreIdentity, StoreSecret

LOAD_FORMAT = "runai_streamer"
# Below the pod's /tmp: the check writes it, and vLLM, which asks for small files in Python, finds it there.
CLIENT_CONFIG = "/tmp/aws-config"  # noqa: S108 - an emptyDir of the pod
# Memory that one worker streams through; without a limit the streamer takes up to 40 GB of it.
BUFFER_GIB = 2
# How variables begin that the clients of stores read.
OF_STORES = ("AWS_", "AZURE_", "GOOGLE_", "RUNAI_STREAMER_")


@dataclass(frozen=True)
class Scheme:
    """What differs between stores: variables of keys → entries of a Secret, or a file with them; who needs no key."""

    keys: Mapping[str, str] = field(default_factory=dict)
    key_file: tuple[str, str] | None = None
    public: Mapping[str, str] = field(default_factory=dict)


SCHEMES = {
    "s3": Scheme(
        keys={"AWS_ACCESS_KEY_ID": "access-key-id", "AWS_SECRET_ACCESS_KEY": "secret-access-key"},
        public={"RUNAI_STREAMER_S3_UNSIGNED": "1"},
    ),
    "gs": Scheme(
        key_file=("RUNAI_STREAMER_GCS_CREDENTIAL_FILE", "key.json"),
        public={"RUNAI_STREAMER_GCS_USE_ANONYMOUS_CREDENTIALS": "true"},
    ),
    "az": Scheme(keys={"AZURE_STORAGE_ACCOUNT_KEY": "account-key"}),
}


def scheme_of(settings: ObjectStoreWeights) -> str:
    """s3, gs or az."""
    return settings.url.partition(":")[0]


def streaming_options(workers: int) -> tuple[str, ...]:
    """What vLLM's loader is told: how much memory each worker takes, and that several share the reading."""
    told: dict[str, object] = {"memory_limit": BUFFER_GIB * 2**30}
    if workers > 1:
        told["distributed"] = True
    return (f"--model-loader-extra-config={json.dumps(told, separators=(',', ':'))}",)


def for_workers(checkpoint: CheckpointPlan, workers: int) -> CheckpointPlan:
    """The same as `workers` of one replica read it: streamed, each takes its part and they exchange them."""
    if checkpoint.source.volume is not None:
        return checkpoint
    return replace(checkpoint, source=replace(checkpoint.source, options=streaming_options(workers)))


def streaming_problems(source: Source, args: Sequence[str], path: str, *, on_cpu: bool) -> list[Problem]:
    """What speaks against streaming to a server: no streamer in its image, or a loader of the user's own."""
    if source.volume is not None:
        return []
    problems = []
    if on_cpu:
        said = "kind objectStore is for servers with GPUs: vLLM's image for CPUs has no streamer; use another kind"
        problems.append(Problem(f"{path}.weights", said))
    names = [argument.partition("=")[0].partition(".")[0] for argument in args]
    taken = [option for option in ("--load-format", "--model-loader-extra-config") if option in names]
    return [*problems, *(Problem(f"{path}.args", f"{one} is decided by weights.kind objectStore") for one in taken)]


def access_variables(source: Source, env: Mapping[str, str]) -> dict[str, str]:
    """Variables that lead a server to its store, with those of `env` that would lead it elsewhere."""
    told = dict(source.environment) | {key.name: key.entry for key in source.secrets}
    if source.secret_file:
        told[source.secret_file.variable] = source.secret_file.entry
    return told | {name: value for name, value in env.items() if source.volume is None and name.startswith(OF_STORES)}


def streamed(
    url: str,
    settings: ObjectStoreWeights,
    networks: Networks,
    identities: Mapping[str, WorkloadIdentity],
    platform: str,
) -> Source:
    """Objects below `url`, read as the engine loads them, from a bucket that has no problems."""
    scheme = SCHEMES[scheme_of(settings)]
    source = Source(
        argument=url,
        directory=url,
        script="check_store",
        load_format=LOAD_FORMAT,
        read_mib_per_s=settings.read_mib_per_s,
        prewarm=False,
        buffer_gib_per_gpu=BUFFER_GIB,
        environment=_environment(settings),
        egress=endpoint_egress(settings, networks),
    )
    match settings.credentials:
        case PublicStore():
            return replace(source, environment={**source.environment, **scheme.public})
        case StoreSecret(name=name):
            keys = tuple(SecretVariable(variable, name, entry) for variable, entry in scheme.keys.items())
            file = SecretFile(scheme.key_file[0], name, scheme.key_file[1]) if scheme.key_file else None
            return replace(source, secrets=keys, secret_file=file)
        case StoreIdentity(identity=who):
            known = identities.get(platform)
            asked = known and (known.annotated if who else known.bare)
            if known is None or asked is None:
                return source
            told = Identity({known.annotation: who} if who else {}, known.pod_labels)
            agents = tuple(EgressRule((AddressBlock(one.cidr, ()),), (), (one.port,)) for one in asked.agents)
            tokens = (EgressRule(blocks(networks, private=False), (), (HTTPS_PORT,)),) if asked.internet else ()
            return replace(source, identity=told, egress=tuple(dict.fromkeys((*source.egress, *tokens, *agents))))


def _environment(settings: ObjectStoreWeights) -> dict[str, str]:
    told: dict[str, str] = {}
    if settings.account:
        told["AZURE_STORAGE_ACCOUNT_NAME"] = settings.account
    if scheme_of(settings) == "s3":
        # a node's own role is nobody's business here, and asking for it may take minutes
        told["AWS_EC2_METADATA_DISABLED"] = "true"
        if settings.region:
            told |= {"AWS_REGION": settings.region, "AWS_DEFAULT_REGION": settings.region}
        if settings.endpoint:
            told["AWS_ENDPOINT_URL"] = settings.endpoint
        in_path = settings.addressing == "path" if settings.addressing else settings.endpoint is not None
        told["RUNAI_STREAMER_S3_USE_VIRTUAL_ADDRESSING"] = "0" if in_path else "1"
        if settings.endpoint and not in_path:
            # boto3 has the bucket in the path of every other endpoint than AWS's, and no variable against that
            told["AWS_CONFIG_FILE"] = CLIENT_CONFIG
    return told


def store_problems(
    settings: ObjectStoreWeights,
    path: str,
    networks: Networks,
    identities: Mapping[str, WorkloadIdentity],
    cluster: tuple[str, str],
) -> list[Problem]:
    """What keeps pods from the bucket. `cluster`: its platform, and the stack's namespace."""
    platform, namespace = cluster
    problems = list(endpoint_problems(settings, path, networks, namespace, "store"))
    match settings.credentials:
        case StoreIdentity(identity=who):
            problems += _identity_problems(settings, f"{path}.credentials", who, identities, platform)
        case StoreSecret() | PublicStore():
            pass
    return problems


def _identity_problems(
    settings: ObjectStoreWeights,
    path: str,
    who: str | None,
    identities: Mapping[str, WorkloadIdentity],
    platform: str,
) -> Iterator[Problem]:
    scheme, known = scheme_of(settings), identities.get(platform)
    other = "use {kind: existingSecret, name: …}"
    if known is None:
        yield Problem(path, f"pods of platform {platform} have no identity that a store knows; {other}")
    elif known.scheme != scheme or settings.endpoint:
        where = settings.endpoint or f"{scheme}://"
        yield Problem(path, f"the identity of {platform}'s pods is for {known.scheme}://, not for {where}; {other}")
    elif who is None and known.bare is None:
        yield Problem(path, f"pods of platform {platform} need identity, such as {known.example}")
    elif who is not None and not re.fullmatch(known.like, who):
        yield Problem(f"{path}.identity", f'"{who}" is none of {platform}; write one such as {known.example}')
