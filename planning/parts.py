"""Parts of a plan from the mappings of a stack file: a whole stack, or one pool, server or gateway on its own."""

from collections.abc import Mapping, Sequence
from typing import Any

from catalog.load import Catalog
from planning.plan import Plan
from planning.resolve import resolve
from settings.keys import check
from settings.problems import Problem


def plan_stack(
    values: Mapping[str, Any],
    catalog: Catalog,
    said: Sequence[Problem] = (),
    *,
    has_master_key: bool = False,
    has_hub_token: bool = False,
) -> Plan:
    """The plan of a whole stack; `values` are the sections of its file, `said` what was wrong when they were read.

    Raises `settings.Refused` with everything that is wrong.
    """
    settings, problems = check(values, said, has_master_key=has_master_key, has_hub_token=has_hub_token)
    return resolve(settings, catalog, problems, has_hub_token=has_hub_token)
