"""The kinds of single values a stack file may hold: names, addresses, schedules, hashes, numbers."""

import re
from math import inf
from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, StringConstraints

# Replicas, seconds and ports are numbers of 32 bits to Kubernetes, and nothing else here is larger.
LARGEST_NUMBER = 2**31 - 1
DECIMAL = re.compile(r"\s*-?[0-9]{1,400}\s*")
# A Kubernetes cluster has at most 5,000 nodes (Kubernetes, Considerations for large clusters).
MOST_NODES = 5_000
# More than any machine has: 16 GPUs (a2-megagpu-16g, p2.16xlarge), 1,920 vCPUs and 32 TiB (u7inh-32tb.480xlarge).
MOST_NODE_GPUS, MOST_NODE_CPUS, MOST_NODE_GIB = 64, 4_096, 65_536
# Models and pools of one stack: each is planned with all others in sight, and shown on a page of its own.
MOST_MODELS, MOST_POOLS, MOST_PROVIDERS = 200, 64, 20
# Teams of a gateway, keys of one, and generations of one key, of which rotation needs two.
MOST_TEAMS, MOST_TEAM_KEYS, MOST_GENERATIONS = 1_000, 100, 5
# Taints of a pool's nodes; every pod of the pool carries a toleration of each, and real nodes have a handful.
MOST_TOLERATIONS = 50
# Far more than a Redis or Postgres has connections for: a pod of the gateway takes ten of each.
MOST_GATEWAY_PODS = 1_000
# Secrets of registries; the kubelet tries each that fits.
MOST_PULL_SECRETS = 10
# Sentinels of one Redis: an odd handful. Domains of the people of one company.
MOST_SENTINELS, MOST_DOMAINS = 20, 50
# Environment variables of one container, and hosts that are reached without a proxy.
MOST_VARIABLES, MOST_DIRECT_HOSTS = 200, 200
# A week: no request takes longer, and every wait that is derived from one stays far below 32 bits.
LONGEST_S = 7 * 24 * 3600
# vLLM's counters of tokens are of 32 bits; the longest context of any model has ten million (Llama 4 Scout).
MOST_TOKENS = 2**27
# 16 times what vLLM takes by itself on the largest GPUs (vllm/engine/arg_utils.py, 0.33.0).
MOST_SEQUENCES = 16_384
# Ten times the dearest machine type there is.
MOST_USD_PER_HOUR = 10_000
HIGHEST_PORT = 65_535
# A terabyte per second, beyond any storage for one pod.
MOST_MIB_PER_S = 2**20
# Kubernetes takes annotations of 256 KiB in all (ValidateAnnotations, TotalAnnotationSizeLimitB); some are ours.
MOST_ANNOTATION_BYTES = 240 * 1024
# Fields of a cron expression with their limits; weekday 7 is Sunday to some crons only.
CRON_FIELDS = (("minute", 0, 59), ("hour", 0, 23), ("day of the month", 1, 31), ("month", 1, 12), ("weekday", 0, 6))
CRON_NAMES = {
    "month": ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"),
    "weekday": ("sun", "mon", "tue", "wed", "thu", "fri", "sat"),
}
# One item of a field: `*`, a number or name, or a range of them, with an optional step.
CRON_ITEM = re.compile(r"(\*|(?P<first>\w+)(-(?P<last>\w+))?)(/[1-9]\d*)?")


def _number(value: Any) -> Any:
    """Refuses `yes` and `true` where a number is meant, because Python would count them as 1, and slips of a finger."""
    if isinstance(value, bool):
        raise ValueError(f"{str(value).lower()} must be a number")  # noqa: TRY004 - pydantic reports ValueError only
    written = float(value) if isinstance(value, str) and DECIMAL.fullmatch(value) else value
    if isinstance(written, (int, float)) and abs(written) > LARGEST_NUMBER and value not in (inf, -inf):
        raise ValueError("is too large a number")
    return value


def _url(text: str) -> str:
    """Refuses what no client could open: a port that is no number, half an IPv6 address."""
    try:
        urlsplit(text).port  # noqa: B018 - reading it is the check
    except ValueError as error:
        raise ValueError(f'"{text}" is not a URL: {error}') from None
    return text


def _direct(text: str) -> str:
    """Refuses a block of addresses: names are compared with what is written here, and are not looked up for it."""
    if "/" in text:
        raise ValueError(f'"{text}" is a block of addresses, and names alone are compared; write a domain')
    if not re.fullmatch(DNS_NAME, text.removeprefix(".")):
        raise ValueError(f'"{text}" is neither a host nor a domain, such as hub.example.com or .example.com')
    return text


def _role(text: str) -> str:
    if not re.fullmatch(ROLE_NAME, text):
        name = text.rpartition("/")[2]
        guess = f"; did you mean '{name}'?" if text.startswith("arn:") and re.fullmatch(ROLE_NAME, name) else ""
        raise ValueError(f'"{text}" is not the name of an IAM role{guess}')
    return text


def _no_address(text: str) -> str:
    if re.fullmatch(r"\d+(\.\d+){3}", text):
        raise ValueError(f'"{text}" is an address; give a name that leads to it')
    return text


def _prefixed(text: str) -> str:
    """Refuses a domain before the slash that no DNS name could be."""
    if len(text.rpartition("/")[0]) > 253:
        raise ValueError("has more than 253 characters before the slash")
    return text


def _page(text: str) -> str:
    """Refuses what Prometheus would take for a template: it fills annotations in when an alert fires, or drops it."""
    if "{{" in text or "}}" in text:
        raise ValueError(f'"{text}" has {{{{ or }}}}, which Prometheus reads as a template')
    return text


def _bare(host: Any) -> Any:
    """Refuses a URL, and a host with its port, by the keys that have those parts."""
    if not isinstance(host, str):
        return host
    if "://" in host:
        scheme, _, rest = host.partition("://")
        secured = ", and tls: true" if scheme.endswith("ss") or scheme == "https" else ""
        raise ValueError(f"is a URL; write host: {re.split('[:/?]', rest.rpartition('@')[2])[0] or 'HOST'}{secured}")
    name, colon, port = host.partition(":")
    if colon and port.isdecimal():
        raise ValueError(f'"{host}" has a port; write host: {name}, and port: {port}')
    return host


def _sentinel(address: Any) -> Any:
    if isinstance(address, str) and "://" in address:
        rest = re.split("[/?]", address.partition("://")[2].rpartition("@")[2])[0]
        raise ValueError(f"is a URL; write {rest or 'HOST:26379'}")
    if isinstance(address, str) and re.fullmatch(r"[^:]+:[0-9]{1,9}", address):
        port = int(address.rpartition(":")[2])
        if not 0 < port <= HIGHEST_PORT:
            raise ValueError(f'"{address}" has no port; they are 1 to {HIGHEST_PORT}')
    return address


def _cron(text: str) -> str:
    """Refuses a schedule that KEDA would refuse, but only in the cluster."""
    for field, (name, least, most) in zip(text.split(), CRON_FIELDS, strict=True):
        for part in field.split(","):
            match = CRON_ITEM.fullmatch(part)
            words = [word for word in match.group("first", "last") if word] if match else [part]
            numbers = [_cron_number(word, name, least) for word in words]
            if not all(least <= number <= most for number in numbers):
                raise ValueError(f'"{text}" is not a cron expression: {name} {part} is not within {least}-{most}')
            if numbers != sorted(numbers):
                raise ValueError(f'"{text}" is not a cron expression: {name} {part} ends before it begins')
    return text


def _cron_number(word: str, name: str, least: int) -> int:
    """The number a word of a field stands for; -1 for none."""
    if re.fullmatch("[0-9]{1,4}", word):
        return int(word)
    names = CRON_NAMES.get(name, ())
    return names.index(word.lower()) + least if word.lower() in names else -1


# RFC 1123 label, short enough that every name derived from it stays below 63 characters.
LABEL = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"
ObjectName = Annotated[str, StringConstraints(pattern=LABEL, max_length=40)]
# No label or name of a pod derives from these two: they may be as long as Kubernetes and Helm take them.
Namespace = Annotated[str, StringConstraints(pattern=LABEL, max_length=63)]
ReleaseName = Annotated[str, StringConstraints(pattern=LABEL, max_length=53)]
# RFC 1123 subdomain: hosts, and objects that exist under a name somebody else gave them.
DNS_NAME = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$"
DnsName = Annotated[str, StringConstraints(pattern=DNS_NAME, max_length=253)]
# Of an endpoint: an Ingress and an HTTPRoute are chosen by the name a client asks for.
HostName = Annotated[DnsName, AfterValidator(_no_address)]
# Key of a label or annotation, with or without a domain before it, and value of a label.
QualifiedName = Annotated[
    str,
    StringConstraints(
        pattern=r"^([a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*/)?"
        r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$"
    ),
    AfterValidator(_prefixed),
]
LabelValue = Annotated[str, StringConstraints(pattern=r"^([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?$")]
# Browsers and proxies take 2,048 characters everywhere (RFC 9110 recommends 8,000).
Url = Annotated[str, StringConstraints(pattern=r"^https?://[^\s/]+(/\S*)?$", max_length=2048), AfterValidator(_url)]
# A host without what belongs to other keys.
BareHost = Annotated[DnsName, BeforeValidator(_bare)]
# A Sentinel, at its usual port unless it says another one.
SentinelAddress = Annotated[
    str,
    StringConstraints(pattern=rf"{DNS_NAME[:-1]}(:[0-9]{{1,5}})?$", max_length=260),
    BeforeValidator(_sentinel),
]
# Of an ACL of Redis, and the name that Sentinels have for a master.
RedisName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._~-]{1,128}$")]
# Of a person, in small letters, as Open WebUI compares them; none of the rarer ones (RFC 5321, quoted strings).
EmailAddress = Annotated[
    str, StringConstraints(pattern=rf"^[a-z0-9][a-z0-9._%+-]{{0,63}}@{DNS_NAME[1:]}", max_length=254)
]
# Key of a ConfigMap or Secret.
EntryName = Annotated[str, StringConstraints(pattern=r"^[-._a-zA-Z0-9]{1,253}$")]
# A model of an external provider: our name for it, which is no path and no list to LiteLLM, and the provider's.
ProviderModelName = Annotated[
    str, StringConstraints(pattern=r"^[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?$", max_length=63)
]
ProviderModelId = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._:/@-]*$", max_length=200)]
# Of a proxy, and what is reached without it.
ProxyUrl = Annotated[str, StringConstraints(pattern=r"^https?://[^\s/]+/?$", max_length=2048), AfterValidator(_url)]
DirectHost = Annotated[str, StringConstraints(max_length=253), AfterValidator(_direct)]
# A bucket (container with az) and a folder in it; names as the stores demand them.
STORE_URL = r"^(s3|gs|az)://[a-z0-9][a-z0-9._-]{1,220}[a-z0-9](/[A-Za-z0-9][A-Za-z0-9._=-]{0,200}){0,20}$"
StoreUrl = Annotated[str, StringConstraints(pattern=STORE_URL)]
# A repository with a digest: what it names never changes.
PINNED_IMAGE = (
    r"^[a-z0-9][a-z0-9.-]*(:\d{1,5})?(/[a-z0-9]+([._-]+[a-z0-9]+)*)+(:[A-Za-z0-9_][\w.-]{0,127})?@sha256:[0-9a-f]{64}$"
)
PinnedImage = Annotated[str, StringConstraints(pattern=PINNED_IMAGE, max_length=600)]
PageUrl = Annotated[Url, AfterValidator(_page)]
# A repository of charts, an oci:// reference or a path.
ChartSource = Annotated[str, StringConstraints(max_length=2048)]
Cron = Annotated[str, StringConstraints(pattern=r"^\S+( \S+){4}$", max_length=200), AfterValidator(_cron)]
COMMIT, MANIFEST = r"^[0-9a-f]{40}$", r"^[0-9a-f]{64}$"
CommitSha = Annotated[str, StringConstraints(pattern=COMMIT)]
ManifestSha256 = Annotated[str, StringConstraints(pattern=MANIFEST)]
# What to write where a pattern alone would not tell.
TO_WRITE = {
    STORE_URL: "write s3://BUCKET/FOLDER, gs://… or az://…, and other stores (MinIO, OSS, OBS) as s3:// with endpoint",
    PINNED_IMAGE: "write REPOSITORY@sha256:…, the digest that the registry shows",
    COMMIT: "write all 40 digits of a commit, since branches and tags move",
    MANIFEST: "write the 64 digits that python -m preview manifest prints",
}
Sha256 = Annotated[str, StringConstraints(pattern=r"^sha256:[0-9a-f]{64}$")]
# Words of a program that is not ours, looked up in lists or handed on: nothing of that kind is longer.
Word = Annotated[str, StringConstraints(min_length=1, max_length=200)]
# Of a kubeconfig, where any text may be a name; those of clouds are resource names of up to 200 characters.
ContextName = Annotated[str, StringConstraints(min_length=1, max_length=512)]
# Machine types are values of a label (Karpenter) or parts of an address (GKE), and so are names of reservations.
MachineType = Annotated[
    str, StringConstraints(pattern=r"^[a-z0-9]{1,20}([.-]{1,2}[a-z0-9]{1,20}){0,8}$", max_length=63)
]
# Value of a tag (AWS, Tag naming limits) that Karpenter looks subnets up by; * alone would take those of all.
TagValue = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_.:/=+@-][A-Za-z0-9 _.:/=+@-]{0,255}$")]
# An argument of vLLM and a value of its environment: half of what Linux takes (MAX_ARG_STRLEN).
Argument = Annotated[str, StringConstraints(max_length=65_536)]
VariableName = Annotated[str, StringConstraints(max_length=253)]
# An image repository without a tag, and a registry prefix: neither has a scheme, and only a host has a port.
REPOSITORY = r"[a-z0-9][a-z0-9._-]*(:\d+/[a-z0-9._-]+)?(/[a-z0-9._-]+)*"
TAG = r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}"
# Of 255 characters in all (distribution/reference, NameTotalLengthMax).
ImageReference = Annotated[str, StringConstraints(max_length=512)]
Repository = Annotated[str, StringConstraints(pattern=f"^{REPOSITORY}$", max_length=255)]
Tag = Annotated[str, StringConstraints(pattern=f"^{TAG}$")]
RegistryPrefix = Annotated[
    str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9._-]*(:\d+)?(/[a-z0-9._-]+)*/?$", max_length=200)
]
PositiveInt = Annotated[int, BeforeValidator(_number), Field(ge=1)]
NonNegativeInt = Annotated[int, BeforeValidator(_number), Field(ge=0)]
Nodes = Annotated[PositiveInt, Field(le=MOST_NODES)]
NodeGpus = Annotated[PositiveInt, Field(le=MOST_NODE_GPUS)]
NodeCpus = Annotated[PositiveInt, Field(le=MOST_NODE_CPUS)]
NodeGib = Annotated[PositiveInt, Field(le=MOST_NODE_GIB)]
# One pod per node at least, so that no more than its nodes are wanted; Kubernetes itself takes any number of 32 bits.
Replicas = Annotated[PositiveInt, Field(le=MOST_NODES)]
Seconds = Annotated[PositiveInt, Field(le=LONGEST_S)]
Tokens = Annotated[PositiveInt, Field(le=MOST_TOKENS)]
Sequences = Annotated[PositiveInt, Field(le=MOST_SEQUENCES)]
Rate = Annotated[PositiveInt, Field(le=MOST_MIB_PER_S)]
# Each try may take the whole timeout of a request.
Retries = Annotated[NonNegativeInt, Field(le=10)]
# Name of an IAM role, which is not its ARN (IAM, CreateRole).
ROLE_NAME = r"[A-Za-z0-9_+=,.@-]{1,64}"
RoleName = Annotated[str, AfterValidator(_role)]
# Below it a gp3 volume does not have the 16000 operations per second it is declared with, 500 per GiB, and larger than
# 16 TiB it is not everywhere (Amazon EBS, and Karpenter's EC2NodeClass v1).
DiskGib = Annotated[int, BeforeValidator(_number), Field(ge=32, le=16_384)]
ImageGib = Annotated[PositiveInt, Field(le=4096)]
# What compilers write for one server is a few GiB at most.
CacheGib = Annotated[int, BeforeValidator(_number), Field(ge=1, le=4096)]
# Keys and a line for every request: a few GiB a year; the most that one volume of any cloud has.
DatabaseGib = Annotated[int, BeforeValidator(_number), Field(ge=1, le=65_536)]
PostgresInstances = Annotated[int, BeforeValidator(_number), Field(ge=1, le=9)]
# A client of a hub hashes and buffers several files at a time.
DownloadGib = Annotated[int, BeforeValidator(_number), Field(ge=4, le=1024)]
# Gigabytes: what a gateway keeps of its requests in memory, and far more than one event loop ever fills.
GatewayGib = Annotated[PositiveInt, Field(le=256)]
GatewayPods = Annotated[PositiveInt, Field(le=MOST_GATEWAY_PODS)]
# A pod that starts anew does not serve meanwhile; a fifth more than the most is still a number of 32 bits.
RequestsServed = Annotated[int, BeforeValidator(_number), Field(ge=1000, le=1_000_000_000)]
Percent = Annotated[int, BeforeValidator(_number), Field(ge=1, le=100)]
# Seconds an autoscaler may look back, and between two of its steps (Kubernetes API, HPAScalingRules, HPAScalingPolicy).
# KEDA hands both on to an autoscaler of Kubernetes, where a larger one would leave the server without any.
ScalingWindow = Annotated[int, BeforeValidator(_number), Field(le=3600)]
ScalingPeriod = Annotated[int, BeforeValidator(_number), Field(ge=1, le=1800)]
Port = Annotated[int, BeforeValidator(_number), Field(ge=1, le=HIGHEST_PORT)]
PositiveFloat = Annotated[float, BeforeValidator(_number), Field(gt=0)]
# Beyond what the most gateway pods carry, by far; and what no request costs.
RequestRate = Annotated[PositiveFloat, Field(le=1_000_000)]
TokenRate = Annotated[PositiveFloat, Field(le=100_000_000)]
Milliseconds = Annotated[PositiveFloat, Field(le=60_000)]
UsdPerMillionTokens = Annotated[PositiveFloat, Field(le=MOST_USD_PER_HOUR)]
# Far above the dearest storage, to find a price per TiB or a year's.
UsdPerGibMonth = Annotated[PositiveFloat, Field(le=100)]
# What a team may spend in a month; more is a slip of a finger.
UsdPerMonth = Annotated[PositiveFloat, Field(le=100_000_000)]
UsdPerHour = Annotated[PositiveFloat, Field(le=MOST_USD_PER_HOUR)]
Share = Annotated[float, BeforeValidator(_number), Field(gt=0, le=1)]
