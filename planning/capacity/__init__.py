"""The share of a GPU that one replica of a model takes, and what it holds: vLLM's own sum. Knows the catalogue only."""
