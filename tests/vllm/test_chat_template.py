"""A model's template reaches the real vLLM as it stands in its file: through the stack, the parser, and its own reader.

The reader is that of the CPU build. Does not prove that a template suits its model.
"""

import json
from pathlib import Path

import pytest

from settings.catalog_files import read_own
from tests.unit.small_stack import server, serving
from tests.vllm.conftest import Vllm

pytestmark = [pytest.mark.vllm, pytest.mark.sample]

TEMPLATE = "{% for m in messages %}<|{{ m.role }}|> é “{{ m.content | replace('\\n', '\\\\n') }}”\n{% endfor %}$x\t\n"
READER = """
import json, sys
from importlib import import_module
from pathlib import Path
flexible = import_module("vllm.utils.argparse_utils").FlexibleArgumentParser
parser = import_module("vllm.entrypoints.launchers.cli_args").make_arg_parser(flexible(prog="vllm serve"))
load = import_module("vllm.renderers.chat_utils").load_chat_template
print("\\n" + json.dumps(load(parser.parse_args(json.load(sys.stdin)).chat_template)))
"""


def test_the_real_engine_reads_the_template_of_the_file(vllm: Vllm, tmp_path: Path):
    """Byte for byte, with line breaks, quotes, backslashes and letters of any alphabet."""
    (tmp_path / "chat.jinja").write_text(TEMPLATE, encoding="utf-8")
    raw = read_own(serving(chatTemplate="./chat.jinja"), tmp_path).sections
    args = [argument for argument in server(dict(raw)).args if argument.startswith("--chat-template=")]
    reader = tmp_path / "reader.py"
    reader.write_text(READER, encoding="utf-8")
    assert json.loads(vllm.run(reader, text=json.dumps(args))[-1]) == TEMPLATE
