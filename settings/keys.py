"""The sections and the secrets beside them, looked at together: each key comes from exactly one place.

Pure: of a secret it is only known whether there is one.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from settings.doubt import judge
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
    # of a section that could not be read, nothing is known
    unread = {section.rpartition(":")[2] for section in broken_sections(earlier)}
    settings, problems = validate(values, sorted(unread))
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
    misplaced = judge(_key_problems, settings, has_master_key=has_master_key)
    return settings, [*reported, *misplaced, *judge(_token_problems, settings, has_hub_token=has_hub_token)]


def _key_problems(settings: StackSettings, *, has_master_key: bool) -> Iterator[Problem]:
    """The gateway's key, missing or given twice."""
    if settings.gateway.existing_secret is None and not has_master_key:
        yield Problem(
            MASTER_KEY,
            f'is missing; run: pulumi config set --secret {MASTER_KEY} "sk-$(openssl rand -hex 24)", '
            "or name a Secret in gateway.existingSecret",
        )
    if settings.gateway.existing_secret is not None and has_master_key:
        yield Problem(MASTER_KEY, "must be left out when gateway.existingSecret names a Secret")


def _token_problems(settings: StackSettings, *, has_hub_token: bool) -> Iterator[Problem]:
    """The hub's token, given to nobody or twice."""
    if not has_hub_token:
        return
    hubs = [hub for _, weights in all_weights(settings) if (hub := hub_of(weights))]
    if not hubs:
        why = f"must be left out when weights.kind is {settings.weights.kind}: nothing is downloaded"
        yield Problem(HUB_TOKEN, why)
    elif all(hub.token_secret is not None for hub in hubs):
        yield Problem(HUB_TOKEN, "must be left out when weights.hub.tokenSecret names a Secret")
    elif not any(hub.token_secret is None and takes_token(hub, hub_of(settings.weights)) for hub in hubs):
        why = "must be left out: the hub of weights has a Secret, and a token is sent to no other one; name a Secret"
        yield Problem(HUB_TOKEN, f"{why} in tokenSecret of the hub that needs it")
