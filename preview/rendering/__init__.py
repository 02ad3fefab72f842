"""Renders a stack under Pulumi's mocks: its file as the engine reads it, the program, its records and manifests."""
