"""Stacks of the same project that are deployed to the same cluster, looked at together."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from catalog import load_catalog
from planning.stack.beside import beside_warnings, owned_twice, same_cluster
from preview.rendering.render import Rendering, render
from preview.rendering.stackfile import Project
from settings.engine_yaml import read_mapping
from settings.problems import Problem, Refused


def beside(project: Project, renderings: Sequence[Rendering]) -> list[Rendering]:
    """The renderings, refused where they would own what another stack of their cluster has."""
    known = {rendering.stack: rendering for rendering in renderings}
    return [_held_against(rendering, _neighbours(project, rendering, known)) for rendering in renderings]


def _neighbours(project: Project, rendering: Rendering, known: dict[str, Rendering]) -> list[Rendering]:
    """Stacks that say the same cluster; those that are not known yet are rendered for it."""
    own = _cluster(project, rendering.stack)
    names = [name for name in project.stacks() if name != rendering.stack and own & _cluster(project, name)]
    for name in names:
        if name not in known:
            known[name] = render(project, name)
    return [known[name] for name in names]


def _cluster(project: Project, stack: str) -> set[tuple[str, str]]:
    """Words of a stack file about its cluster; none of one that cannot be read, which is refused for that."""
    try:
        config = read_mapping(project.directory / f"Pulumi.{stack}.yaml").get("config")
    except Refused:
        return set()
    section = config.get(f"{project.name}:cluster") if isinstance(config, dict) else None
    words: Mapping[str, object] = section if isinstance(section, dict) else {}
    return {(key, value) for key in ("context", "identifier") if isinstance(value := words.get(key), str)}


def _held_against(rendering: Rendering, neighbours: Sequence[Rendering]) -> Rendering:
    plan, problems, warnings = rendering.plan, list[Problem](), list[str]()
    if plan is None or not neighbours:
        return rendering
    catalog = load_catalog()
    for neighbour in neighbours:
        file = f"Pulumi.{neighbour.stack}.yaml"
        if neighbour.plan is None:
            warnings.append(f"cluster: {file} is of this cluster too and refused, so nothing is held against it")
        elif same_cluster(plan, neighbour.plan):
            problems += owned_twice(plan, neighbour.plan, file)
            warnings += beside_warnings(plan, neighbour.plan, file, catalog)
    if problems:
        return replace(rendering, plan=None, records=(), refused=tuple(problems))
    return replace(rendering, plan=replace(plan, warnings=(*plan.warnings, *warnings)))
