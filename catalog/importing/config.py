"""Reading of a `config.json`: values by any of their names, and a list of those that are not there or no numbers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

# Sections that hold the language model of a checkpoint with several parts, outermost first.
TEXT_SECTIONS = ("thinker_config", "text_config", "llm_config", "language_config")


@dataclass
class Config:
    """One mapping of a configuration.

    `unknown` collects what was needed and is missing, as sentences; `uncounted` parts whose bytes are in no sum.
    """

    values: Mapping[str, object]
    defaults: Mapping[str, object] = field(default_factory=dict)
    unknown: list[str] = field(default_factory=list)
    uncounted: list[str] = field(default_factory=list)
    path: str = ""

    def get(self, *names: str) -> object:
        """The first of these that is there and not null, else the family's default; None: neither."""
        for values in (self.values, self.defaults):
            for name in names:
                if values.get(name) is not None:
                    return values[name]
        return None

    def whole(self, *names: str, least: int = 1) -> int | None:
        """A whole number; None where there is none. What is there and is none is unknown."""
        value = self.get(*names)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            self.miss(names[0], f"{value!r:.40} is no number of at least {least}")
            return None
        return value

    def need(self, *names: str, least: int = 1) -> int:
        """A whole number that has to be there; 1 stands for one that is not, and is never used."""
        count = len(self.unknown)
        value = self.whole(*names, least=least)
        if value is None and len(self.unknown) == count:
            self.miss(" or ".join(names), "is not there")
        return max(value if value is not None else 1, least)

    def flag(self, *names: str, default: bool = False) -> bool:
        """Whether something is on."""
        value = self.get(*names)
        return bool(value) if value is not None else default

    def words(self, *names: str) -> list[str]:
        """A list of words; empty where there is none."""
        value = self.get(*names)
        return [str(word) for word in value] if isinstance(value, Sequence) and not isinstance(value, str) else []

    def section(self, name: str) -> "Config":
        """A mapping below this one; empty where there is none."""
        value = self.values.get(name)
        values = value if isinstance(value, Mapping) else {}
        return Config(values, {}, self.unknown, self.uncounted, f"{self.path}{name}.")

    def miss(self, name: str, why: str) -> None:
        """Note that something is not known."""
        text = f"{self.path}{name} {why}"
        if text not in self.unknown:
            self.unknown.append(text)

    def leave_out(self, name: str, why: str) -> None:
        """Note that a part is in no sum of bytes."""
        self.uncounted.append(f"{self.path}{name} {why}")


def text_config(config: Config) -> Config:
    """The part that describes the language model: this one, or the innermost section for it."""
    for name in TEXT_SECTIONS:
        if isinstance(config.values.get(name), Mapping):
            return text_config(config.section(name))
    return config
