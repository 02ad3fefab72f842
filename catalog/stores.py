"""The shape of what is known about object stores: the variables by which the clients of each kind are told of it."""

from typing import Annotated

from pydantic import Field

from catalog.entry import Entry


class KeyFile(Entry):
    """A file with the keys: the variable that has its path, and the entry of a Secret that it is."""

    variable: str
    entry: str


class Addressing(Entry):
    """Place of the bucket's name in requests: a variable with its values for the path and for the host's name.

    `config_file`: the variable of a file that says the same to clients which have no variable for it.
    """

    variable: str
    path: str
    virtual_host: str
    config_file: str


class Store(Entry):
    """Variables for the clients of one kind of store. Its variables begin with `prefix`, its hosts end in `host`.

    `keys`: variable → entry of a Secret; `public`: set where nobody needs keys, `always`: everywhere;
    `account`, `region` and `endpoint`: the variables of each; `trust`: those of a file with authorities.
    """

    prefix: str
    host: str
    keys: dict[str, str] = Field(default_factory=dict)
    key_file: KeyFile | None = None
    public: dict[str, str] = Field(default_factory=dict)
    always: dict[str, str] = Field(default_factory=dict)
    account: list[str] = Field(default_factory=list)
    region: list[str] = Field(default_factory=list)
    endpoint: list[str] = Field(default_factory=list)
    addressing: Addressing | None = None
    trust: list[str] = Field(default_factory=list)
    sources: Annotated[list[str], Field(min_length=1)]
