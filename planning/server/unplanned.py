"""The image of a server, and all that is known of one whose model or pool is not: it cannot be planned."""

from catalog.load import Catalog
from catalog.schema import Gpu, Model
from planning.near import near_model
from planning.plan.pods import ImagePlan
from planning.server.added import variable_problems, written_problems
from planning.server.fit import Site
from planning.server.indifferent import ANY_ENGINE
from planning.stack.images import custom_image
from planning.stack.versions import is_older
from settings.doubt import Judging, follows_from, judge
from settings.problems import Problem
from settings.schema import ModelSettings


def image_name(site: Site, gpu: Gpu | None) -> str:
    """The image of servers on such cards, or on none."""
    return site.catalog.vendors[gpu.vendor].image if gpu else "vllm-cpu"


def server_image(
    site: Site, path: str, settings: ModelSettings, model: Model | None, name: str
) -> tuple[ImagePlan, list[Problem]]:
    """The image of the catalogue, or the user's; one that is too old for the model is a problem."""
    image, problems = site.images[name], []
    if override := site.settings.images.overrides.get(name):  # pyright: ignore[reportArgumentType] - a name is str
        follows_from(override)
    if settings.image is not None:
        images, version = site.settings.images, settings.engine_version
        image, problems = custom_image(settings.image, image, f"{path}.image", images, site.catalog, version)
    elif settings.engine_version is not None:
        problems = [Problem(f"{path}.engineVersion", "is of an image that is not given; give image, or leave it out")]
    if (
        model is None
        or model.min_vllm is None
        or not is_older(settings.engine_version or image.version, model.min_vllm)
    ):
        return image, problems
    message = f"{settings.model} needs vLLM {model.min_vllm}, the image is {image.version}"
    return image, [*problems, Problem(f"{path}.image", message)]


def unknown_model(site: Site, path: str, settings: ModelSettings) -> list[Problem]:
    """The refusal of a model that the catalogue does not have; none where its entry is refused itself."""
    if settings.model in site.catalog.models or site.catalog.own.is_awaited("models", settings.model):
        return []
    hint = near_model(settings.model, site.catalog.models)
    return [Problem(f"{path}.model", f"'{settings.model}' is not in the catalogue{hint}")]


def unplanned_problems(site: Site, path: str, settings: ModelSettings, *, canary: bool, on_cpu: bool) -> list[Problem]:
    """Problems of a server whose model, pool or both are not known: of the words that its engine reads."""
    problems = judge(unknown_model, site, path, settings)
    with Judging() as judging:
        image, outdated = server_image(site, path, settings, None, "vllm-cpu" if on_cpu else "vllm")
    problems += judging.kept(outdated)
    if not judging.is_sure(*ANY_ENGINE):
        return problems + any_version_problems(site, path, settings, canary=canary, on_cpu=on_cpu)
    site, _ = site.running(image)
    return problems + _worded_problems(site, site.catalog, path, settings, canary=canary, on_cpu=on_cpu)


def any_version_problems(
    site: Site, path: str, settings: ModelSettings, *, canary: bool, on_cpu: bool
) -> list[Problem]:
    """Problems of the words that no version of the engine reads, where nobody knows which one runs."""
    versions = site.catalog.versions["vllm"]
    *others, newest = (
        _worded_problems(site, site.catalog.running("vllm", version), path, settings, canary=canary, on_cpu=on_cpu)
        for version in versions
    )
    return [problem for problem in newest if all(problem.path in {p.path for p in other} for other in others)]


def _worded_problems(
    site: Site, catalog: Catalog, path: str, settings: ModelSettings, *, canary: bool, on_cpu: bool
) -> list[Problem]:
    written = written_problems(settings, catalog, path, site.opened(path), canary=canary, on_cpu=on_cpu)
    return written + variable_problems(settings, catalog.vllm, path, on_cpu=on_cpu)
