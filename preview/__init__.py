"""The program without an engine: render a stack under Pulumi's mocks, report on it, compare two versions of it.

Runs the very same `__main__.py` as `pulumi up`, and builds no object of its own.
"""
