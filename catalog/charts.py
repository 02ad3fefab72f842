"""The shape of what is known about Helm charts: where each comes from, and what is inside of it."""

from typing import Annotated

from pydantic import Field

from catalog.entry import Entry


class Chart(Entry):
    """One Helm chart: repository URL (or an `oci://` reference in `chart`), exact version, its namespace.

    `alone`: images by their last word, of programs that a cluster may have once.
    """

    chart: str
    repository: str | None = None
    version: str
    digest: Annotated[str, Field(pattern=r"^sha256:[0-9a-f]{64}$")] | None = None
    namespace: str
    alone: list[str] = Field(default_factory=list)
    sources: Annotated[list[str], Field(min_length=1)]


class ChartImage(Entry):
    """One image of a chart; `when`: the value, on by itself, without which it is not pulled.

    `only`: the value, off by itself, with which alone it is.
    """

    image: Annotated[str, Field(pattern=r"^[a-z0-9.-]+(/[a-z0-9._-]+)+:[A-Za-z0-9_][A-Za-z0-9_.-]*$")]
    when: str | None = None
    only: str | None = None


class NotKnown(Entry):
    """Something that a chart pulls and its table does not name, and the value that asks for it, as above.

    `rendering_tells`: whether who renders the chart knows.
    """

    what: str
    when: str | None = None
    rendering_tells: bool = False


class PullSecretValues(Entry):
    """Paths in a chart's values that take pull secrets: dotted, of lists of names and of lists of `{name: …}`."""

    names: list[str] = Field(default_factory=list)
    references: list[str] = Field(default_factory=list)


class ChartContents(Entry):
    """Images and files that one version of a chart pulls when it is installed as this program does."""

    images: Annotated[list[ChartImage], Field(min_length=1)]
    not_known: list[NotKnown] = Field(default_factory=list)
    pull_secrets: PullSecretValues
    sources: Annotated[list[str], Field(min_length=1)]
