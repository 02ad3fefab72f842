"""The catalogue with the entries of the user's own: `like` across both, the same shape, the same checks.

An entry that is broken is left out, and said to be; whoever looks for it says nothing more. Pure functions.
"""

import contextlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, TypeAdapter, ValidationError

from catalog.importing import Files, imported
from catalog.load import Catalog, derived
from catalog.own import Fault, Own
from catalog.schema import Entry, Gpu, Instance, Model
from planning.capacity.plausible import EntryFault, gpu_faults, instance_faults, model_faults
from planning.near import near_gpu, near_model
from settings.catalog_files import CONFIG, SECTIONS, EntrySource, OwnFiles
from settings.problems import Problem, nearest
from settings.scalars import UsdPerHour
from settings.wording import worded

MODELS, GPUS, INSTANCES, PRICES = SECTIONS
NEAR = {MODELS: near_model, GPUS: near_gpu}
# Names that say something else where a GPU is named: a pool of CPUs, and a survey of all.
NO_GPUS = ("none", "all")
_PRICE: TypeAdapter[float] = TypeAdapter(UsdPerHour)
Key = tuple[str, str]
Shape = TypeVar("Shape", bound=Entry)


def own_catalog(base: Catalog, files: OwnFiles) -> Catalog:
    """The catalogue with these entries; what is wrong with them is in `own.faults`, and refused by whoever plans."""
    unread = bool(files.problems) or files.passed_over
    if not files.sources and not unread:
        return base
    catalog = _Merge(base, unread).merged(files.sources)
    faults = [Fault(problem.path, problem.message) for problem in files.problems]
    return replace(catalog, own=replace(catalog.own, faults=(*faults, *catalog.own.faults), unread=unread))


def own_problems(catalog: Catalog) -> list[Problem]:
    """The faults of the user's own entries, as problems of the stack they are for."""
    return [Problem(fault.place, fault.message) for fault in catalog.own.faults]


def own_warnings(catalog: Catalog) -> list[str]:
    """Sentences about the user's entries: what their files do not say, and which of the project's they stand for."""
    own = catalog.own
    stand_ins = [(name, own.places[section, name]) for section, name in own.replaced]
    return [*own.notes, *(f"catalog: {name} of {place} replaces the project's" for name, place in stand_ins)]


@dataclass
class _Merge:
    """One merge: raw entries by section and name, and what has become of them so far."""

    base: Catalog
    unread: bool
    raw: dict[Key, tuple[EntrySource, Any]] = field(default_factory=dict)
    resolved: dict[Key, Mapping[str, Any] | None] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)
    broken: set[Key] = field(default_factory=set)
    notes: list[str] = field(default_factory=list)

    def merged(self, sources: Sequence[EntrySource]) -> Catalog:
        """The whole catalogue."""
        for source in sources:
            self._collect(source)
        models, gpus, instances = self._valid(MODELS, Model), self._valid(GPUS, Gpu), self._valid(INSTANCES, Instance)
        kin = {*self.base.gpus, *self._names(GPUS)}
        for name, model in models.items():
            self._check((MODELS, name), model_faults(model, self.base.vllm))
        for name, gpu in gpus.items():
            self._check((GPUS, name), gpu_faults(name, gpu, kin))
        for name, instance in instances.items():
            self._check((INSTANCES, name), instance_faults(instance, kin))
        whole = replace(
            self.base,
            models=self._beside(MODELS, self.base.models, models),
            gpus=self._beside(GPUS, self.base.gpus, gpus),
            instances=self._beside(INSTANCES, self.base.instances, instances),
        )
        whole = self._priced(whole)
        ours: Mapping[str, Mapping[str, object]] = {
            MODELS: self.base.models,
            GPUS: self.base.gpus,
            INSTANCES: self.base.instances,
            PRICES: {},
        }
        own = Own(
            places=MappingProxyType({key: source.place(*key) for key, (source, _) in self.raw.items()}),
            replaced=tuple(key for key in self.raw if key[1] in ours[key[0]] and key not in self.broken),
            broken=frozenset(self.broken),
            faults=tuple(dict.fromkeys(self.faults)),
            notes=tuple(self.notes),
        )
        return replace(whole, own=own)

    def _names(self, section: str) -> list[str]:
        """The user's names in a section, broken ones too."""
        return [name for place, name in self.raw if place == section]

    def _beside(self, section: str, ours: Mapping[str, Shape], own: Mapping[str, Shape]) -> Mapping[str, Shape]:
        """Entries of the project, and the user's that are whole."""
        whole = {name: entry for name, entry in own.items() if (section, name) not in self.broken}
        return MappingProxyType({**ours, **whole})

    def _collect(self, source: EntrySource) -> None:
        """Takes the raw entries of a source."""
        if not source.content:
            self.faults.append(Fault(source.place(), f"has none of {', '.join(SECTIONS)}"))
        for section, entries in source.content.items():
            if section not in SECTIONS:
                self.faults.append(Fault(source.place(section), f"unknown key '{section}'{nearest(section, SECTIONS)}"))
            elif not isinstance(entries, Mapping):
                self.faults.append(Fault(source.place(section), f"{section}: must be a mapping from name to entry"))
            else:
                for name, entry in entries.items():
                    self._take((section, str(name)), source, entry)

    def _take(self, key: Key, source: EntrySource, entry: Any) -> None:
        section, name = key
        if key in self.raw:
            self._fault(source, key, (), f"is in {self.raw[key][0].place(*key)} already")
        elif section == GPUS and name in NO_GPUS:
            self._fault(source, key, (), "is a word of its own where a GPU is named; use another id")
        self.raw.setdefault(key, (source, entry))

    def _fault(self, source: EntrySource, key: Key, keys: Sequence[object], message: str) -> None:
        """Notes what is wrong with an entry, by the words its file has for the place."""
        place = source.place(*key, *keys)
        inside = ".".join(map(str, (*key, *keys)))
        self.faults.append(Fault(place, message if place.endswith(inside) else f"{inside}: {message}"))
        self.broken.add(key)

    def _check(self, key: Key, faults: Iterable[EntryFault]) -> None:
        """Notes what a valid entry contradicts."""
        for keys, message in faults:
            self._fault(self.raw[key][0], key, keys, message)

    def _valid(self, section: str, shape: type[Shape]) -> dict[str, Shape]:
        """The entries of a section that have its shape, and of broken ones what they are without their faults."""
        valid = {}
        for name in self._names(section):
            source, _ = self.raw[section, name]
            # its own file is what there is to say of where the facts are from
            sources = {"sources": [source.label or "the stack file"]}
            if (entry := self._resolve((section, name), ())) is None:
                continue
            try:
                valid[name] = shape.model_validate({**sources, **entry})
            except ValidationError as error:
                details = error.errors(include_url=False)
                for detail in details:
                    self._fault(source, (section, name), detail["loc"], _words(detail, shape))
                wrong = {detail["loc"][0] for detail in details if detail["loc"]}
                with contextlib.suppress(ValidationError):
                    valid[name] = shape.model_validate({**sources, **self._without(entry, (section, name), wrong)})
        return valid

    def _without(self, entry: Mapping[str, Any], key: Key, wrong: set[Any]) -> Mapping[str, Any]:
        """The entry without these keys, which are then those of what it is like: what else is wrong is told at once."""
        left = {name: value for name, value in entry.items() if name not in wrong}
        like = self.raw[key][1].get("like")
        return left if like is None else derived(self._base(key, like, ()) or {}, left)

    def _resolve(self, key: Key, chain: tuple[str, ...]) -> Mapping[str, Any] | None:
        """The entry with all that it is `like`; None where it leads nowhere."""
        if key not in self.resolved:
            self.resolved[key] = self._derived(key, chain)
            if self.resolved[key] is None:
                self.broken.add(key)
        return self.resolved[key]

    def _derived(self, key: Key, chain: tuple[str, ...]) -> Mapping[str, Any] | None:
        source, entry = self.raw[key]
        if not isinstance(entry, Mapping):
            # of the stack file's own, the settings say the same
            self._fault(source, key, (), worded({"type": "model_type", "input": entry}))
            return None
        if key[0] == MODELS and CONFIG in entry:
            return self._made(key, entry)
        like = entry.get("like")
        if like is None:
            return {name: value for name, value in entry.items() if name != "like"}
        base = self._base(key, like, chain)
        return None if base is None else derived(base, entry)

    def _made(self, key: Key, entry: Mapping[str, Any]) -> Mapping[str, Any] | None:
        """The entry of a model that the files of its checkpoint make, changed by what it says itself."""
        source, files = self.raw[key][0], entry[CONFIG]
        if not isinstance(files, Mapping) or "like" in entry:
            self._fault(source, key, (CONFIG,), "must be the path of a config.json, and no like beside it")
            return None
        checkpoint = entry.get("checkpoint")
        size = checkpoint.get("diskBytes") or checkpoint.get("loadedBytes") if isinstance(checkpoint, Mapping) else None
        made = imported(Files(**files, disk_bytes=size, license=entry.get("license")))
        if made.entry is None:
            self._fault(source, key, (CONFIG,), "; ".join(made.unknown))
            return None
        self.notes += [f"catalog: {key[1]}: {note}" for note in made.unknown]
        return derived(made.entry, {name: value for name, value in entry.items() if name != CONFIG})

    def _base(self, key: Key, like: object, chain: tuple[str, ...]) -> Mapping[str, Any] | None:
        """The entry that this one is like: the user's, or the project's, which an entry of the same name changes."""
        (section, name), (source, _) = key, self.raw[key]
        ours: Mapping[str, Entry] = getattr(self.base, section)
        if not isinstance(like, str):
            self._fault(source, key, ("like",), "must be the name of an entry")
        elif like in chain:
            self._fault(source, key, ("like",), f"goes in a circle: {' → '.join((*chain, name, like))}")
        elif (section, like) in self.raw and like != name:
            return self._resolve((section, like), (*chain, name))
        elif like in ours:
            return ours[like].model_dump(mode="json", by_alias=True, exclude_unset=True)
        elif not self.unread:
            hint = NEAR.get(section, nearest)(like, {*ours, *self._names(section)} - {name})
            self._fault(source, key, ("like",), f"there is no entry '{like}'{hint}")
        return None

    def _priced(self, catalog: Catalog) -> Catalog:
        """The catalogue in which machine types and GPUs cost what the user pays."""
        gpus, instances = dict(catalog.gpus), dict(catalog.instances)
        for name in self._names(PRICES):
            source, value = self.raw[PRICES, name]
            try:
                price = _PRICE.validate_python(value)
            except ValidationError as error:
                self._fault(source, (PRICES, name), (), worded(error.errors(include_url=False)[0]))
                continue
            if name in gpus and name in instances:
                self._fault(source, (PRICES, name), (), "is both a GPU and a machine type; rename yours")
            elif name in gpus:
                gpus[name] = gpus[name].model_copy(update={"usd_per_hour": price})
            elif name in instances:
                instances[name] = instances[name].model_copy(update={"usd_per_hour": price})
            elif not self.unread and not {(GPUS, name), (INSTANCES, name)} & self.broken:
                hint = nearest(name, [*instances, *gpus])
                self._fault(source, (PRICES, name), (), f"there is no machine type and no GPU '{name}'{hint}")
        return replace(catalog, gpus=MappingProxyType(gpus), instances=MappingProxyType(instances))


def _words(detail: Any, shape: type[BaseModel]) -> str:
    """The sentence for a fault of the shape of an entry."""
    match detail["type"]:
        case "extra_forbidden":
            return f"unknown key{nearest(str(detail['loc'][-1]), _keys(shape, detail['loc'][:-1]))}"
        case "missing":
            return "is missing"
        case _:
            return worded(detail)


def _keys(shape: type[BaseModel], path: Sequence[object]) -> Collection[str]:
    """The keys that a mapping in an entry may have."""
    here: type[BaseModel] | None = shape
    for step in path:
        fields = {field.alias or name: field for name, field in here.model_fields.items()} if here else {}
        if step in fields:
            here = _inner(fields[str(step)].annotation)
    return [field.alias or name for name, field in here.model_fields.items()] if here else []


def _inner(annotation: Any) -> type[BaseModel] | None:
    """The one shape in an annotation: of the value itself, or of what a list or mapping holds."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((shape for part in get_args(annotation) if (shape := _inner(part))), None)
