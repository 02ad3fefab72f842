"""One vLLM server: where it goes, with which arguments and resources, and how it scales and is replaced."""
