"""What can go wrong on the way, told to a reader: one sentence, beginning with what it is about."""


class Impossible(Exception):
    """What was asked cannot be done on this machine or cluster; exit code 2. The message says what would help."""
