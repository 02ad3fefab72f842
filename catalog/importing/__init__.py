"""A catalogue entry from the files of a checkpoint: `config.json`, and what lies beside it.

Pure: dictionaries in, an entry and the names of what they do not say out. Nothing is guessed: what an architecture
outside of `families` keeps of a request is unknown, and so is what a quantisation outside of `formats` weighs. Keys and
defaults are those of vLLM 0.33.0's model definitions and of the configuration classes they load.
"""

from catalog.importing.entry import Files, Imported, imported

__all__ = ["Files", "Imported", "imported"]
