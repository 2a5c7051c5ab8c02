"""The commands, one module each: arguments → exit status."""


class UsageError(Exception):
    """What is wrong with the arguments, in one line."""
