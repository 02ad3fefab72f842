"""Says what was rendered: the report, the comparison of two versions, the comment on a pull request."""
