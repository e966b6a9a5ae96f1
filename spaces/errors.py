"""The one exception that a person may see: a mistake in what they gave, said in one line."""

from spaces.wording import one_line


class InputError(ValueError):
    """Bad input: where (file, line or field), the value, and what would be right.

    The command line prints the message as it is, without a traceback, and exits with code 2.
    """

    def __init__(self, where: object, problem: str) -> None:
        super().__init__(one_line(f"{where}: {problem}"))
