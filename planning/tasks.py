"""Purposes of models: one row per task, with all that differs between them.

A station that treats one task unlike another reads it here, and none asks which task it is: so a further task is a
further row, its name in `catalog.schema`, and what an engine is started with for it in the engine's file (`tasks`).
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from catalog.schema import KvProfile, Model, TaskName

# What stands before the paths of the API.
VERSION = "/v1"
# What a reranker is asked to put in order.
DOCUMENTS = ("Bananas are yellow.", "Paris is the capital of France.")


@dataclass(frozen=True)
class Question:
    """A question that shows a person that a model answers.

    `body`: of a request that asks this, or another text, without the name of the model; `options`: what keeps the
    answer short and the same each time; `shown`: what to show of an answer's body. Raises LookupError or TypeError for
    a body that is no answer.
    """

    text: str
    body: Callable[[str], Mapping[str, object]]
    options: Mapping[str, object]
    shown: Callable[[Any], str]


@dataclass(frozen=True)
class Task:
    """Facts that follow from the purpose of a model.

    `calls`: paths of the gateway's API below its version that such a model answers, the usual one first. What stands in
    for a model, a fallback or a canary, answers all of them.
    `gateway_mode`: LiteLLM's word for such a deployment; None: it takes one for it that says nothing.
    `writes`: it answers with tokens, which are sampled and have a pace. Otherwise it only reads.
    `chats`: its answers may hold reasoning and calls of tools, for which vLLM has a parser per dialect, and be guessed.
    `charged_by_second`: the gateway counts seconds of audio, since its answers say nothing of tokens.
    `prefix_caching`: prompts begin alike, and the server is told to keep what is computed of them; else vLLM decides.
    `silent_roles`: roles of metrics (`roles` of the engine's file) that say nothing of such a server, so that no alert
    and no panel looks at them; of what scaling looks at, `cache_used` may be one.
    `question`: None: it is asked with a file, which only users have.
    """

    calls: tuple[str, ...]
    gateway_mode: str | None
    writes: bool
    chats: bool
    charged_by_second: bool
    prefix_caching: bool
    silent_roles: frozenset[str]
    question: Question | None

    @property
    def path(self) -> str:
        """Path by which such a model is usually asked."""
        return f"{VERSION}{self.calls[0]}"

    def curl(self, model: str) -> str:
        """The end of a curl command that asks such a model, a file of the user's own where it is asked with one."""
        if self.question is None:
            return f"\\\n    -F model={model} -F file=@speech.wav"
        body = json.dumps({"model": model, **self.question.body("Hello")})
        return f"-H \"Content-Type: application/json\" \\\n    -d '{body}'"


CHAT = Question(
    text="What is the capital of France?",
    body=lambda text: {"messages": [{"role": "user", "content": text}]},
    options={"temperature": 0, "max_tokens": 48},
    # a model may have thought only
    shown=lambda body: body["choices"][0]["message"]["content"] or "",
)
GENERATE = Task(
    calls=("/chat/completions", "/completions", "/messages", "/messages/count_tokens", "/responses"),
    gateway_mode=None,
    writes=True,
    chats=True,
    charged_by_second=False,
    prefix_caching=True,
    silent_roles=frozenset(),
    question=CHAT,
)
# Metrics of a server that only reads which are not about its answers' tokens: the time to the first is that to all of
# them, and what a prompt takes of the cache is free as soon as it is read (tried, 0.32.0).
OF_WRITING = frozenset({"first_token_s", "between_tokens_s", "generated_tokens", "cache_used"})
# The same of a model without a cache.
OF_A_CACHE = frozenset({"cache_used", "prefix_hits", "prefix_queries", "preemptions"})
EMBED = Task(
    calls=("/embeddings",),
    gateway_mode="embedding",
    writes=False,
    chats=False,
    charged_by_second=False,
    prefix_caching=False,
    silent_roles=OF_WRITING,
    question=Question(
        text="Which city is the capital of France?",
        body=lambda text: {"input": text},
        options={},
        shown=lambda body: _vector(body["data"][0]["embedding"]),
    ),
)
RERANK = Task(
    calls=("/rerank",),
    gateway_mode="rerank",
    writes=False,
    chats=False,
    charged_by_second=False,
    prefix_caching=False,
    silent_roles=OF_WRITING,
    question=Question(
        text="What is the capital of France?",
        body=lambda text: {"query": text, "documents": list(DOCUMENTS)},
        options={},
        shown=lambda body: "\n".join(
            f"{result['relevance_score']:.4f}  {DOCUMENTS[result['index']]}" for result in body["results"]
        ),
    ),
)
TRANSCRIBE = Task(
    calls=("/audio/transcriptions",),
    gateway_mode="audio_transcription",
    writes=True,
    chats=False,
    charged_by_second=True,
    prefix_caching=False,
    # the gateway hands on whole texts only, and no two recordings begin alike
    silent_roles=frozenset({"first_token_s", "prefix_hits", "prefix_queries"}),
    question=None,
)
TASKS: Mapping[TaskName, Task] = {
    TaskName.GENERATE: GENERATE,
    TaskName.EMBED: EMBED,
    TaskName.RERANK: RERANK,
    TaskName.TRANSCRIBE: TRANSCRIBE,
}


def _vector(numbers: list[float]) -> str:
    """The beginning of a vector, and how long it is."""
    return f"[{', '.join(f'{number:.4f}' for number in numbers[:4])}, …], {len(numbers)} dimensions"


def task_of(model: Model) -> Task:
    """The task of the model."""
    return TASKS[model.task]


def silent_roles(model: Model) -> frozenset[str]:
    """Roles of metrics that say nothing of a server of this model."""
    return task_of(model).silent_roles | (OF_A_CACHE if model.kv_profile is KvProfile.NONE else frozenset())


def task_by_mode(mode: str | None) -> Task:
    """The task of a deployment of LiteLLM; no two have the same mode."""
    return {task.gateway_mode: task for task in TASKS.values()}[mode]


def unanswered(task: Task, stand_in: Task) -> str:
    """The calls of a task that a model for the other does not answer; empty where it can stand in."""
    return ", ".join(call for call in task.calls if call not in stand_in.calls)
