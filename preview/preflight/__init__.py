"""The real cluster, asked before `up` whether all that a stack expects is there: it reads, and writes nothing."""
