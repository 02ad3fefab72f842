"""Proofs that the files of a checkpoint are what somebody vouched for: by their hash, or by a signature."""

from dataclasses import dataclass

from planning.plan.pods import ImagePlan, JobLimits
from planning.plan.pools import PoolPlan


@dataclass(frozen=True)
class Proof:
    """The hash that a manifest must have, and whether every byte is compared with that manifest too."""

    manifest_sha256: str
    every_byte: bool


@dataclass(frozen=True)
class Signature:
    """A signature by a key, both in a ConfigMap that exists, and the Job that verifies it on the claim of the files.

    `on`: nodes where that claim can be mounted; None: wherever a pod may run.
    """

    config_map: str
    image: ImagePlan
    job: JobLimits
    on: PoolPlan | None = None
