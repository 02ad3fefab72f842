"""One simulated cluster per stack, made when the first test wants it, and gone afterwards with its logs.

The tests of this folder prove what a real API server, scheduler and controllers do with the rendered objects. They do
not prove that a container starts, that an operator understands its objects, or how long anything takes on GPUs.
"""

import shutil
from collections.abc import Callable, Iterator

import pytest

from tests.cluster.world import World, stack

Worlds = Callable[[str], World]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Everything here needs a cluster."""
    for item in items:
        if "tests/cluster/" in item.path.as_posix():
            item.add_marker(pytest.mark.cluster)


@pytest.fixture(scope="session")
def worlds() -> Iterator[Worlds]:
    """The stack of this name on a cluster of its own, deployed; shared by all tests, who leave it as they found it."""
    made: dict[str, World] = {}

    def world(name: str) -> World:
        if name not in made:
            made[name] = World.begin(name, stack(name))
            made[name].deploy()
        return made[name]

    yield world
    for item in made.values():
        item.cluster.down()
        shutil.rmtree(item.cluster.paths.root)


@pytest.fixture(params=["dev", "prod", "sim"])
def each(request: pytest.FixtureRequest, worlds: Worlds) -> World:
    """Every stack in turn."""
    return worlds(request.param)


@pytest.fixture
def prod(worlds: Worlds) -> Iterator[World]:
    """The stack `prod`; whatever a test did to its objects is undone by deploying it again."""
    yield from _restored(worlds("prod"))


@pytest.fixture
def sim(worlds: Worlds) -> Iterator[World]:
    """The stack `sim`, likewise."""
    yield from _restored(worlds("sim"))


@pytest.fixture
def dev(worlds: Worlds) -> Iterator[World]:
    """The stack `dev`, likewise."""
    yield from _restored(worlds("dev"))


def _restored(world: World) -> Iterator[World]:
    yield world
    world.restore()
