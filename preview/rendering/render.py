"""One stack, rendered: its files read, its program run under mocks, its plan and its resources kept."""

from dataclasses import dataclass

from pulumi import ComponentResource, RunError

from planning.plan import Plan
from preview.rendering.recorder import run_program
from preview.rendering.records import Record
from preview.rendering.stackfile import Project, read_stack
from settings.problems import Problem, Refused


@dataclass(frozen=True)
class Rendering:
    """Resources that a stack would declare; or, when `refused` has entries, every reason why it declares none."""

    project: str
    stack: str
    plan: Plan | None = None
    records: tuple[Record, ...] = ()
    messages: tuple[str, ...] = ()
    refused: tuple[Problem, ...] = ()


def render(project: Project, stack: str) -> Rendering:
    """Runs the program for `stack`. A bad configuration comes back as `refused`; a bug in the program is raised."""
    try:
        config = read_stack(project, stack)
        done, names = run_program(
            project.program, config.values, config.secret_keys, stack, project.name, directory=project.directory
        )
    except Refused as error:
        return _refused(project, stack, error.problems)
    except RunError as error:
        # settings.load.ConfigError carries its problems one by one; any other RunError is one sentence
        return _refused(project, stack, getattr(error, "problems", None) or [_sentence(str(error), project)])
    # a program of ours has one, whatever it calls it; somebody's own may be anything
    plans = (getattr(value, "plan", None) for value in names.values() if isinstance(value, ComponentResource))
    plan = next((plan for plan in plans if isinstance(plan, Plan)), None)
    return Rendering(project.name, stack, plan, done.records, done.messages)


def _sentence(text: str, project: Project) -> Problem:
    """A refusal that only became known while resources were declared; it begins with its path, or has none."""
    path, colon, message = text.partition(": ")
    return Problem(path, message) if colon and " " not in path else Problem(project.program.name, text)


def _refused(project: Project, stack: str, problems: list[Problem] | tuple[Problem, ...]) -> Rendering:
    return Rendering(project.name, stack, refused=tuple(problems))
