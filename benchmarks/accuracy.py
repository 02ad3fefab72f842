"""Accuracy of the planner on published vLLM runs: `python -m benchmarks.accuracy`; exit 1 when a limit is missed.

The cases are data (tests/published_cases.yaml); each is asked through the calculator as a user would ask it. Predicted
over measured: positive errors promise more memory than there was.
"""

import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from functools import cache
from pathlib import Path
from statistics import median

import yaml

from catalog.load import Catalog, load_catalog
from catalog.schema import VendorName
from planning.capacity.asked import Asked
from planning.capacity.budget import Parallelism
from planning.questions.calculator import Answer, FitQuestion, answer

CASES = Path(__file__).resolve().parent.parent / "tests" / "published_cases.yaml"
# What is promised, in percent; versions from 0.26 on, because older ones sampled and counted graphs otherwise.
FIRST_JUDGED_VERSION = (0, 26)
# FlashInfer samples on compute capability 12 since then (public logs of 0.27.1 sort, those of 0.28 do not), and kernels
# hold more on it. Before, models with experts or states sorted; others, on Model Runner V2, were as on older cards.
FIRST_VERSION_WITHOUT_SORTING = (0, 28)
MEDIAN_LIMIT, WORST_LIMIT, ABOVE_LIMIT = 5.0, 10.0, 3.0
NEEDED_LIMIT, MAX_CONTEXT_LIMIT = 1.0, 3.0
FALSE_REFUSALS_LIMIT = 1
# Names of `flags` in the cases, and the fields of FitQuestion and Parallelism they set.
QUESTION_FLAGS = {
    "context": "context_tokens",
    "maxNumSeqs": "max_num_seqs",
    "maxNumBatchedTokens": "max_num_batched_tokens",
    "utilization": "utilization",
    "kvCacheDtype": "kv_cache_dtype",
    "eager": "eager",
    "languageModelOnly": "language_model_only",
}
PARALLEL_FLAGS = {"tensor": "tensor", "pipeline": "pipeline", "data": "data", "expert": "expert",
                  "decodeContext": "decode_context"}  # fmt: skip
OVERRIDE_FLAG = "contextOverride"


class UnknownFlagError(ValueError):
    """A case sets something the calculator cannot be asked."""


@dataclass(frozen=True)
class Case:
    """One published run. `numbers` in GiB per GPU, tokens and blocks, as the file names them."""

    id: str
    result: str
    model: str
    gpu: str
    gpus: int
    source: str
    flags: Mapping[str, object] = field(default_factory=dict)
    numbers: Mapping[str, float] = field(default_factory=dict)
    vllm: str = ""
    gpu_memory_gib: float | None = None
    stands_for: str | None = None
    catalogued: bool = True
    scored: bool = True
    numbers_scored: bool = True
    held_out: bool = False
    why: str | None = None
    miss: str | None = None

    @property
    def judged(self) -> bool:
        """Whether its numbers count against the limits: scored, and of a version the planner speaks for."""
        release = re.match(r"(\d+)\.(\d+)", self.vllm)
        recent = release is not None and (int(release[1]), int(release[2])) >= FIRST_JUDGED_VERSION
        return self.scored and self.numbers_scored and recent


@dataclass(frozen=True)
class Outcome:
    """The planner's answer to a case. `errors`: percent by number, predicted over measured."""

    case: Case
    answer: Answer
    errors: Mapping[str, float]

    @property
    def fits(self) -> bool:
        """The planner's verdict."""
        return self.answer.fit.fits

    @property
    def right(self) -> bool:
        """Whether the verdict is that of the run."""
        return self.fits == (self.case.result == "FIT")

    @property
    def kv_error(self) -> float | None:
        """The larger error of KV cache GiB and tokens, whichever the run logged."""
        errors = [self.errors[name] for name in ("kvCacheGib", "kvCacheTokens", "stateBlocks") if name in self.errors]
        return max(errors, key=abs) if errors else None


@cache
def read_cases() -> tuple[Case, ...]:
    """The published cases, in the order of the file."""
    entries = yaml.safe_load(CASES.read_text())["cases"]
    return tuple(Case(**{_snake(key): value for key, value in entry.items()}) for entry in entries)


def _snake(name: str) -> str:
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower()


def question(case: Case) -> FitQuestion:
    """The case as a question; UnknownFlagError names a flag that the calculator does not know."""
    known = {field.name for field in fields(Asked)}
    asked: dict[str, object] = {}
    spread: dict[str, object] = {}
    for flag, value in case.flags.items():
        if flag in PARALLEL_FLAGS:
            spread[PARALLEL_FLAGS[flag]] = value
        elif flag in QUESTION_FLAGS and QUESTION_FLAGS[flag] in known:
            asked[QUESTION_FLAGS[flag]] = value
        elif flag != OVERRIDE_FLAG:
            raise UnknownFlagError(f"{case.id}: planning.capacity.asked.Asked has no word for '{flag}'")
    chosen = {} if not spread else {"parallelism": Parallelism(**spread)}  # pyright: ignore[reportArgumentType]
    known_by_name = {"model": case.model, "gpu": case.gpu, "gpus": case.gpus, "gpu_memory_gib": case.gpu_memory_gib}
    return FitQuestion(**known_by_name, asked=Asked(**asked), **chosen)  # pyright: ignore[reportArgumentType]


def ask(case: Case) -> Outcome:
    """Asks the calculator; a context stretched by --hf-overrides is a stretched catalogue entry here."""
    catalog = load_catalog()
    override = case.flags.get(OVERRIDE_FLAG)
    if isinstance(override, int):
        catalog = _stretched(catalog, case.model, override)
    answered = answer(question(case), _of_version(catalog, case))
    return Outcome(case, answered, dict(_errors(case, answered)))


def _of_version(catalog: Catalog, case: Case) -> Catalog:
    """The catalogue with what was otherwise on that day's version: how logits were sampled on compute capability 12."""
    release, gpu = re.match(r"(\d+)\.(\d+)", case.vllm), catalog.gpus[case.gpu]
    if release is None or (int(release[1]), int(release[2])) >= FIRST_VERSION_WITHOUT_SORTING:
        return catalog
    shape = catalog.models[case.model].architecture
    if gpu.capability[0] == 12 and shape is not None and not shape.moe and not shape.keeps_state:
        older = gpu.model_copy(update={"compute_capability": "8.9"})
        return replace(catalog, gpus={**catalog.gpus, case.gpu: older})
    nvidia = catalog.vllm.devices[VendorName.NVIDIA].model_copy(update={"sorts_logits": frozenset({12})})
    engine = catalog.vllm.model_copy(update={"devices": {**catalog.vllm.devices, VendorName.NVIDIA: nvidia}})
    return replace(catalog, engines={**catalog.engines, "vllm": engine})


def _stretched(catalog: Catalog, model: str, tokens: int) -> Catalog:
    entry = catalog.models[model]
    context = entry.context.model_copy(update={"config_tokens": tokens})
    return replace(catalog, models={**catalog.models, model: entry.model_copy(update={"context": context})})


def _errors(case: Case, answered: Answer) -> Iterator[tuple[str, float]]:
    memory = answered.fit.memory
    if memory is None:
        return
    predicted = {
        "weightsGib": memory.weights_gib,
        "kvCacheGib": memory.kv_cache_gib,
        "kvCacheTokens": memory.kv_cache_tokens,
        "concurrency": memory.max_concurrency,
        "stateBlocks": getattr(memory, "kv_cache_blocks", None),
        "neededGib": getattr(memory, "needed_gib", None),
        "maxContextTokens": memory.max_context_tokens,
    }
    for name, measured in case.numbers.items():
        value = predicted.get(name)
        if value is not None and measured > 0:
            yield name, 100 * (value / measured - 1)


def scored() -> list[Case]:
    """The cases whose verdict is judged."""
    return [case for case in read_cases() if case.scored and case.catalogued]


def kv_errors(outcomes: Iterable[Outcome]) -> list[float]:
    """KV cache errors of the outcomes that have one."""
    return [error for outcome in outcomes if (error := outcome.kv_error) is not None]


def faults(outcomes: Iterable[Outcome]) -> list[str]:
    """Violations of the stated limits by these outcomes, listed misses aside; numbers only of those judged."""
    every = [outcome for outcome in outcomes if outcome.case.miss is None]
    violations = [f"{outcome.case.id}: false fits" for outcome in every if not outcome.right and outcome.fits]
    refused = [outcome.case.id for outcome in every if not outcome.right and not outcome.fits]
    if len(refused) > FALSE_REFUSALS_LIMIT:
        violations.append(f"{len(refused)} false refusals: {', '.join(refused)}")
    judged = [outcome for outcome in every if outcome.case.judged]
    errors = kv_errors(judged)
    if errors and median(map(abs, errors)) > MEDIAN_LIMIT:
        violations.append(f"median KV error {median(map(abs, errors)):.1f} % of {len(errors)}")
    for outcome in judged:
        error = outcome.kv_error
        if error is not None and (error > ABOVE_LIMIT or error < -WORST_LIMIT):
            violations.append(f"{outcome.case.id}: KV {error:+.1f} %")
        for name, limit in (("neededGib", NEEDED_LIMIT), ("maxContextTokens", MAX_CONTEXT_LIMIT)):
            if abs(outcome.errors.get(name, 0.0)) > limit:
                violations.append(f"{outcome.case.id}: {name} {outcome.errors[name]:+.1f} %")
    return violations


def _row(outcome: Outcome) -> str:
    case, memory = outcome.case, outcome.answer.fit.memory
    predicted = "fits" if outcome.fits else "refused"
    verdict = f"{case.result}/{predicted}" + ("" if outcome.right else "  WRONG")
    parts = []
    if memory is not None:
        shown = {
            "kvCacheGib": f"{memory.kv_cache_gib:.2f}",
            "kvCacheTokens": f"{memory.kv_cache_tokens:,}",
            "stateBlocks": str(getattr(memory, "kv_cache_blocks", "?")),
            "neededGib": f"{getattr(memory, 'needed_gib', 0):.2f}",
            "maxContextTokens": f"{memory.max_context_tokens:,}",
        }
        parts = [
            f"{name} {shown[name]} for {case.numbers[name]:,} ({outcome.errors[name]:+.1f} %)"
            for name in shown
            if name in outcome.errors
        ]
    return f"{case.id:<5} {case.vllm[:12]:<12} {verdict:<22} {'; '.join(parts)}" + ("" if case.judged else "  ·")


def _summary(name: str, outcomes: list[Outcome]) -> str:
    errors = kv_errors(outcomes)
    if not errors:
        return f"{name}: no numbers"
    sizes = [abs(error) for error in errors]
    return (
        f"{name}: {len(errors)} with numbers, median {median(sizes):.1f} %, worst {max(sizes):.1f} %, "
        f"highest {max(errors):+.1f} %"
    )


def main() -> int:
    """Prints the table and the summaries; returns the exit code."""
    outcomes, unasked = [], []
    for case in scored():
        try:
            outcomes.append(ask(case))
        except UnknownFlagError as error:
            unasked.append(str(error))
    tuned = [outcome for outcome in outcomes if not outcome.case.held_out]
    apart = [outcome for outcome in outcomes if outcome.case.held_out]
    lines = [_row(outcome) for outcome in outcomes]
    lines.append("· numbers not judged: an older version, or not comparable\n")
    for name, group in (
        ("T, vLLM 0.26 and later", [outcome for outcome in tuned if outcome.case.judged]),
        ("held out, vLLM 0.26 and later", [outcome for outcome in apart if outcome.case.judged]),
        ("held out, every version", [outcome for outcome in apart if outcome.case.numbers_scored]),
        ("all, every version", [outcome for outcome in outcomes if outcome.case.numbers_scored]),
    ):
        lines.append(_summary(name, group))
    against = unasked + [f"T: {fault}" for fault in faults(tuned)] + [f"held out: {fault}" for fault in faults(apart)]
    lines += [f"listed miss {outcome.case.id}: {outcome.case.miss}" for outcome in outcomes if outcome.case.miss]
    lines += [f"missed: {fault}" for fault in against] or ["all other limits are kept"]
    sys.stdout.write("\n".join(lines) + "\n")
    return 1 if against else 0


if __name__ == "__main__":
    sys.exit(main())
