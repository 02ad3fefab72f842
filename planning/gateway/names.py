"""Public names that LiteLLM takes for something else; that no two models have one is `planning.stack.names`."""

from collections.abc import Iterator, Mapping, Sequence

from planning.plan.gateway import Route
from planning.stack.names import name_paths
from settings.problems import Problem
from settings.schema import ModelSettings, public_names

# Names of models that mean others to LiteLLM (1.109.1, proxy/_types.py, SpecialModelNames): who has one has all.
RESERVED_MODELS = frozenset({"all-team-models", "all-proxy-models", "no-default-models"})


def public_name_problems(models: Mapping[str, ModelSettings], routes: Sequence[Route]) -> Iterator[Problem]:
    """Public names that LiteLLM takes for something else: all models, a server by its id, its own word for one.

    By the latter two it serves one server and looks at nothing else of the name (1.109.1, router.py).
    """
    ids = {route.id: route.server for route in routes}
    words = {route.model.partition("/")[0] for route in routes}
    for key, path in dict(name_paths(models)).items():
        public = public_names(models)[key]
        if public == key:
            continue
        if public in RESERVED_MODELS:
            yield Problem(f"{path}.publicName", f"'{public}' means more models than one to LiteLLM; give it another")
        elif public in ids:
            yield Problem(f"{path}.publicName", f"'{public}' is what LiteLLM calls server {ids[public]}; use another")
        elif public.partition("/")[0] in words:
            word = public.partition("/")[0]
            yield Problem(f"{path}.publicName", f"'{word}/' is LiteLLM's word for all servers of a kind; use another")
