"""Settings whose values may stand in for broken ones while a server is planned: nothing of it follows from them.

Whoever looks at one of them later, for a problem of its own, looks at the settings again.
"""

# Settings from which the version of the engine does not follow.
ANY_ENGINE = (
    "ImageOverride.digest",
    "ImageOverride.repository",
    "ImagesSettings.mirror",
    "ImagesSettings.pre_pull",
    "ImagesSettings.pull_secrets",
    "ImagesSettings.require_digests",
)

_WEIGHTS = ("SharedClaimWeights", "ExistingClaimWeights", "ImageWeights", "NodeCacheWeights", "ObjectStoreWeights")
_RATES = ("download_memory_gib", "download_mib_per_s", "env", "hub", "prewarm", "read_mib_per_s", "usd_per_gib_month")
# Settings from which nothing follows that is judged of a server that is planned.
INDIFFERENT = (
    "AutoscalingSettings.",
    "CanarySettings.replicas",
    "CanarySettings.weight",
    "ClaimedCompileCache.",
    "ClusterSettings.",
    "HubSettings.",
    "ModelSettings.chat_template",
    "ModelSettings.data_policy",
    "ModelSettings.env",
    "ModelSettings.fallbacks",
    "ModelSettings.manifest_sha256",
    "ModelSettings.public_name",
    "ModelSettings.replaces",
    "ModelSettings.replicas",
    "ModelSettings.requests_per_minute",
    "ModelSettings.routing",
    "ModelSettings.scaling",
    "ModelSettings.tokens_per_minute",
    "OffPeakSettings.",
    "ReplicaSettings.",
    "ScalingSettings.",
    "StackSettings.compile_cache",
    *ANY_ENGINE,
    *(f"{kind}.{field}" for kind in _WEIGHTS for field in _RATES),
)
