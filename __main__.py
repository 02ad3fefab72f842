"""The program: configuration → `LlmStack` → outputs."""

import atexit
import gc

import pulumi

from components import LlmStack
from components.llm_stack import LlmStackArgs
from settings.load import load

# Little of what a program makes is garbage before its end: looking for it every 700 objects, and through all of them
# when it ends, takes a sixth of a preview.
gc.set_threshold(200_000)
atexit.register(gc.freeze)
config = load()
args: LlmStackArgs = {"settings": config.values, **config.secrets}
stack = LlmStack("llm-stack", args, problems=config.problems)

pulumi.export("endpoint", stack.endpoint)
pulumi.export("adminUrl", stack.admin_url)
pulumi.export("models", stack.models)
pulumi.export("dashboards", stack.dashboards)
pulumi.export("alerts", stack.alerts)
