"""The one exception that a person may see: a mistake in what they gave, said in one line."""

import copyreg
from typing import Any

from spaces.wording import one_line


class InputError(ValueError):
    """Bad input: where (file, line or field), the value, and what would be right.

    The command line prints the message as it is, without a traceback, and exits with code 2.
    """

    def __init__(self, where: object, problem: str) -> None:
        super().__init__(one_line(f"{where}: {problem}"))

    def __reduce__(self) -> tuple[Any, ...]:
        """To another process goes the line: one that cannot be read there is waited for without end."""
        return copyreg.__newobj__, (type(self), str(self))
