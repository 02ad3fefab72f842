"""A stack as both workshops begin with it: rendered, and its page shown as the preview shows it."""

from preview.rendering.manifests import collect_manifests
from preview.rendering.render import Rendering, render
from preview.rendering.stackfile import Project
from preview.reporting.report import print_report
from settings.problems import Refused


def show(project: Project, stack: str) -> Rendering:
    """Renders a stack and prints its page. Raises `Refused` with every reason why it declares nothing."""
    rendering = render(project, stack)
    if rendering.refused:
        raise Refused(rendering.refused)
    print_report(rendering, collect_manifests(rendering.records))
    return rendering
