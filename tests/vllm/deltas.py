"""Runs inside an interpreter that has vLLM: its own parsers, and its own code that puts tokens of a stream together.

stdin: one JSON list of `{"tools", "reasoning", "special", "text", "together"}`; stdout: what a client would have got of
each, `{"reasoning", "content", "calls"}` or `{"error"}`, and by interval the tokens of each chunk of twelve tokens.
"""

import json
import re
import sys
from types import SimpleNamespace
from typing import Any

from vllm.entrypoints.openai.chat_completion.protocol import (  # pyright: ignore[reportMissingImports]
    ChatCompletionRequest,
)
from vllm.parser.parser_manager import ParserManager  # pyright: ignore[reportMissingImports]
from vllm.sampling_params import RequestOutputKind  # pyright: ignore[reportMissingImports]
from vllm.v1.engine.output_processor import RequestState  # pyright: ignore[reportMissingImports]

PROPERTIES = {"city": {"type": "string"}, "days": {"type": "integer"}}
TOOLS = [
    {"type": "function", "function": {"name": name, "parameters": {"type": "object", "properties": properties}}}
    for name, properties in (("get_weather", PROPERTIES), ("now", {}))
]
TOKENS = 12


class Tokenizer:
    """Tokens of a model's special words and of up to four letters, as far as parsers ask."""

    def __init__(self, special: list[str]) -> None:
        self.vocabulary = {word: number for number, word in enumerate(special)}
        self.all_special_tokens, self.all_special_ids = special, list(range(len(special)))
        words = "|".join(re.escape(word) for word in sorted(special, key=len, reverse=True))
        self.pattern = re.compile(f"({words}|\\s?\\w{{1,4}}|\\s|.)", re.DOTALL)

    def get_vocab(self) -> dict[str, int]:
        """Numbers of the words so far."""
        return dict(self.vocabulary)

    def tokenize(self, text: str) -> list[str]:
        """The words of a text."""
        return self.pattern.findall(text)

    def encode(self, text: str, **_: Any) -> list[int]:
        """Their numbers."""
        return [self.vocabulary.setdefault(word, len(self.vocabulary)) for word in self.tokenize(text)]

    def decode(self, ids: list[int], **_: Any) -> str:
        """The text of these."""
        words = {number: word for word, number in self.vocabulary.items()}
        return "".join(words[number] for number in ids)


def streamed(case: dict[str, Any]) -> dict[str, Any]:
    """What a client puts together from all deltas of an answer; the first delta has one token."""
    tokenizer, tools, together = Tokenizer(case["special"]), case["tools"], case["together"]
    request = ChatCompletionRequest(
        model="m", messages=[{"role": "user", "content": "x"}], tools=TOOLS if tools else None
    )
    made = ParserManager.get_parser(
        tool_parser_name=tools, reasoning_parser_name=case["reasoning"], enable_auto_tools=bool(tools), model_name="m"
    )
    parser = made(tokenizer, request.tools)
    words = tokenizer.tokenize(case["text"])
    deltas = [words[:1], *(words[at : at + together] for at in range(1, len(words), together))]
    whole: dict[str, Any] = {"reasoning": "", "content": "", "calls": {}}
    for number, delta in enumerate(deltas):
        text = "".join(delta)
        message = parser.parse_delta(
            text, tokenizer.encode(text), request, prompt_token_ids=[], finished=number == len(deltas) - 1
        )
        if message is None:
            continue
        whole["reasoning"] += message.reasoning or ""
        whole["content"] += message.content or ""
        for call in message.tool_calls or []:
            parts = whole["calls"].setdefault(str(call.index), ["", ""])
            if call.function:
                parts[0] += call.function.name or ""
                parts[1] += call.function.arguments or ""
    return whole


def chunks(interval: int) -> list[int]:
    """Tokens of each chunk that a stream of twelve tokens is sent in."""
    sent: list[int] = []
    detokenizer = SimpleNamespace(output_token_ids=[])
    detokenizer.num_output_tokens = lambda: len(detokenizer.output_token_ids)
    state = SimpleNamespace(
        output_kind=RequestOutputKind.DELTA,
        stream_interval=interval,
        detokenizer=detokenizer,
        sent_tokens_offset=0,
        external_req_id="r",
        parent_req=None,
        _new_completion_output=lambda tokens, *_: sent.append(len(tokens)),
        _new_request_output=lambda *_: None,
    )
    for number in range(TOKENS):
        detokenizer.output_token_ids.append(number)
        RequestState.make_request_output(state, [number], None, "stop" if number == TOKENS - 1 else None, None)
    return sent


def answer(case: dict[str, Any]) -> dict[str, Any]:
    """What came of one case, or what went wrong."""
    try:
        return streamed(case)
    except Exception as error:  # noqa: BLE001 - a parser may fail in any way
        return {"error": f"{type(error).__name__}: {error}"}


if __name__ == "__main__":
    cases = json.loads(sys.stdin.read())
    found = {"answers": [answer(case) for case in cases], "chunks": {n: chunks(n) for n in (1, 4, 5, 100)}}
    sys.stdout.write("\n" + json.dumps(found) + "\n")
