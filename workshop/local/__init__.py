"""A stack's rendered pods as processes of this machine: real vLLM on its CPU and real LiteLLM, no container."""
