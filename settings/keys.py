"""The sections and the secrets beside them, looked at together: each key comes from exactly one place.

Pure: of a secret it is only known whether there is one.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from settings.problems import Problem
from settings.schema import StackSettings, all_weights, hub_of, takes_token
from settings.validate import broken_sections, validate

MASTER_KEY = "gatewayMasterKey"
HUB_TOKEN = "huggingFaceToken"  # noqa: S105 - the name of the key, not its value
SECRET_KEYS = (MASTER_KEY, HUB_TOKEN)
# How the refusal of a section begins that holds a secret.
HOLDS_A_SECRET = "holds a secret; "  # noqa: S105 - words


def check(
    values: Mapping[str, Any], earlier: Sequence[Problem] = (), *, has_master_key: bool, has_hub_token: bool
) -> tuple[StackSettings | None, list[Problem]]:
    """Checks the sections (top-level key → plain value) of a stack, and that each of its keys is in one place.

    `earlier`: problems of reading them; they come first, and what follows from them is not reported again. Returns the
    settings of what is left when everything broken is taken away, None when that is nothing sensible.
    """
    settings, problems = validate(values)
    # of a key that is encrypted it is said already, and what stands for its value looks like one
    secret = [problem.path for problem in earlier if problem.message.startswith(HOLDS_A_SECRET)]
    covered = tuple(f"{key}{end}" for key in secret for end in (":", ".", "["))
    reported = [
        *earlier,
        *(
            problem
            for problem in problems
            if not (f"{problem.path}:".startswith(covered) and problem.message.startswith("holds "))
        ),
    ]
    if settings is None:
        return None, reported
    # nothing is said by a section that is broken, because what stands for it in `settings` says nothing
    broken = broken_sections(reported)
    misplaced = _misplaced(settings, has_master_key=has_master_key, has_hub_token=has_hub_token)
    return settings, [*reported, *(problem for section, problem in misplaced if section not in broken)]


def _misplaced(settings: StackSettings, *, has_master_key: bool, has_hub_token: bool) -> Iterator[tuple[str, Problem]]:
    """(the section that decides, what is wrong) of each key that is missing or given twice."""
    if settings.gateway.existing_secret is None and not has_master_key:
        yield (
            "gateway",
            Problem(
                MASTER_KEY,
                f'is missing; run: pulumi config set --secret {MASTER_KEY} "sk-$(openssl rand -hex 24)", '
                "or name a Secret in gateway.existingSecret",
            ),
        )
    if settings.gateway.existing_secret is not None and has_master_key:
        yield "gateway", Problem(MASTER_KEY, "must be left out when gateway.existingSecret names a Secret")
    if has_hub_token:
        hubs = [hub for _, weights in all_weights(settings) if (hub := hub_of(weights))]
        if not hubs:
            why = f"must be left out when weights.kind is {settings.weights.kind}: nothing is downloaded"
            yield "weights", Problem(HUB_TOKEN, why)
        elif all(hub.token_secret is not None for hub in hubs):
            yield "weights", Problem(HUB_TOKEN, "must be left out when weights.hub.tokenSecret names a Secret")
        elif not any(hub.token_secret is None and takes_token(hub, hub_of(settings.weights)) for hub in hubs):
            why = (
                "must be left out: the hub of weights has a Secret, and a token is sent to no other one; name a Secret"
            )
            yield "weights", Problem(HUB_TOKEN, f"{why} in tokenSecret of the hub that needs it")
