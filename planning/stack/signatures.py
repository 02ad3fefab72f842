"""Signatures of checkpoints, as OpenSSF's model signing makes them: verified by a Job on the claim of the files.

A signature names every file of the folder that was signed, and no other may be there but our manifest.
"""

from dataclasses import replace
from math import ceil

from catalog.load import Catalog
from planning.plan.pods import ImagePlan, JobLimits
from planning.plan.proofs import Signature
from planning.plan.weights import CheckpointPlan, ExistingClaim, ObjectStore, OciImage, OwnClaim
from planning.stack.images import custom_image
from planning.stack.places import ONE_POD
from planning.stack.timing import IMAGE_PULL_S, LAST_WORDS_S, MIB, SAFETY
from settings.problems import Problem
from settings.schema import ImagesSettings, KeySignature

# Rate of one process that reads and hashes file after file, on a core without instructions for it.
HASH_MIB_PER_S = 300
RETRIES = 2
INSTEAD = "use kind: sharedClaim or existingClaim, or manifestSha256"


def sign_checkpoint(
    checkpoint: CheckpointPlan,
    settings: KeySignature | None,
    path: str,
    like: ImagePlan,
    images: ImagesSettings,
    catalog: Catalog,
) -> tuple[CheckpointPlan, list[Problem]]:
    """The checkpoint with the Job that verifies its signature, where one is said; `like`: an image with its user."""
    if settings is None:
        return checkpoint, []
    image, problems = custom_image(
        settings.image, replace(like, name="model-signing"), f"{path}.signature.image", images, catalog
    )
    place, on = checkpoint.place, None
    match place:
        case OwnClaim(access_mode=mode):
            on = place.on
            if mode == ONE_POD:
                message = f"cannot be verified beside a server that has its claim alone ({ONE_POD}); use ReadWriteMany"
                problems.append(Problem(f"{path}.signature", message))
        case ExistingClaim():
            pass
        case ObjectStore() | OciImage():
            problems.append(Problem(f"{path}.signature", f"is verified on a claim; {INSTEAD}"))
    rate = min(
        HASH_MIB_PER_S, checkpoint.source.copy.mib_per_s if checkpoint.source.copy else checkpoint.source.read_mib_per_s
    )
    deadline_s = IMAGE_PULL_S + SAFETY * ceil(checkpoint.disk_bytes / MIB / rate) + 300
    limits = JobLimits(RETRIES, deadline_s, deadline_s + LAST_WORDS_S)
    return replace(checkpoint, signature=Signature(settings.config_map, image, limits, on)), problems
