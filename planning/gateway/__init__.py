"""The OpenAI-compatible gateway: routes and their time, prices, LiteLLM's file, what clients may call."""
