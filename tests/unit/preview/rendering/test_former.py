"""Former URNs from aliases: of a resource itself, and what follows from those of its parent.

That the engine takes them the same way is proved with the engine.
"""

import pulumi
import pulumi_kubernetes as k8s

from preview.rendering.former import former_urns
from preview.rendering.recorder import deploy

URN = "urn:pulumi:dev::llm-stack"


class Outer(pulumi.ComponentResource):
    """A component with one inside of it, which has one object."""

    def __init__(self, name: str, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("own:index:Outer", name, None, opts)
        self.register_outputs({})


class Inner(pulumi.ComponentResource):
    """A component whose child begins with its name."""

    def __init__(self, name: str, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("own:index:Inner", name, None, opts)
        k8s.core.v1.ConfigMap(f"{name}-map", data={}, opts=pulumi.ResourceOptions(parent=self))
        self.register_outputs({})


def former(*aliases: pulumi.Alias) -> dict[str, tuple[str, ...]]:
    """Former URNs of a component with these aliases inside of another, and of its child."""

    def program() -> None:
        outer = Outer("outer")
        Inner("inner", pulumi.ResourceOptions(parent=outer, aliases=list(aliases)))

    found = former_urns(deploy(program))
    return {urn.rpartition("::")[2]: names for urn, names in found.items()}


def test_without_aliases_there_is_nothing_to_say():
    """The former types that the SDK names for objects of Kubernetes are no names of ours."""
    assert former() == {}


def test_a_component_that_stood_at_the_top():
    """It and its child are known without the component above them."""
    assert former(pulumi.Alias(parent=pulumi.ROOT_STACK_RESOURCE)) == {
        "inner": (f"{URN}::own:index:Inner::inner",),
        "inner-map": (f"{URN}::own:index:Inner$kubernetes:core/v1:ConfigMap::inner-map",),
    }


def test_a_component_of_another_name():
    """The child of the former one began with the former name."""
    here = f"{URN}::own:index:Outer$own:index:Inner"
    assert former(pulumi.Alias(name="old")) == {
        "inner": (f"{here}::old",),
        "inner-map": (f"{here}$kubernetes:core/v1:ConfigMap::old-map",),
    }


def test_a_component_of_another_type_and_a_whole_urn():
    """Every alias counts, also one that is written out."""
    here = f"{URN}::own:index:Outer$own:index"
    written = f"{URN}::own:index:Elsewhere::x"

    def program() -> None:
        opts = pulumi.ResourceOptions(aliases=[pulumi.Alias(type_="own:index:Former"), written], parent=Outer("outer"))
        Inner("inner", opts)

    found = former_urns(deploy(program))
    assert found[f"{here}:Inner::inner"] == (f"{here}:Former::inner", written)
