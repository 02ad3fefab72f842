"""A stack on this machine: its rendered pods as processes, the real vLLM (CPU build) and the real LiteLLM.

Reads rendered objects and nothing else of the program. Proves arguments, configuration, probes, draining, metrics and
routing; proves nothing about scheduling, isolation or GPUs.
"""
