"""Questions without a stack: can this model run there, on what would it, and was the sum right."""
