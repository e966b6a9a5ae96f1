"""What is said to people and kept in files: one line, no secret in it, and nothing that a terminal would obey."""

import os
import re
from urllib.parse import urlsplit

MOST = 1600
"""Characters of a line; of a longer one the middle is left out, since the end says what would be right."""
_SECRET = re.compile(r"(?:^|[_-])(?:password|passwd|pwd|secret|token|key|credential|sig|signature)s?$", re.IGNORECASE)
_NAMES = re.compile(r"PASSWORD|SECRET|TOKEN|CREDENTIAL|ACCESS_KEY|API_KEY")
"""Variables of the environment whose values are not said."""
_PLACES = ("FILE", "PATH", "DIR")
"""Where a secret is, is none: `/dev/null` for AWS_SHARED_CREDENTIALS_FILE would blot out parts of plain paths."""
_LEAST = 8
"""Characters of such a value from which on it is looked for: a shorter one would be found in plain words."""
_USER = re.compile(r"(?<=://)[^\s/@'\"]+@")
_QUERY = re.compile(r"(?<=[?&])([\w.-]+)=([^&\s'\")]+)")


def one_line(text: str) -> str:
    """On one line, without secrets, cut in the middle where it is long, and with what cannot be printed escaped."""
    line = " ".join(redacted(text).split())
    line = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in line)  # which lengthens it
    return line if len(line) <= MOST else f"{line[: MOST * 2 // 3]} ... {line[-MOST // 3 :]}"


def redacted(text: str) -> str:
    """The text with `***` for users and passwords in addresses, and for secrets of this process's environment."""
    text = _QUERY.sub(lambda found: f"{found[1]}=***" if _SECRET.search(found[1]) else found[0], text)
    text = _USER.sub("***@", text)
    for name, value in os.environ.items():
        if len(value) >= _LEAST and _NAMES.search(name.upper()) and not name.upper().endswith(_PLACES):
            text = text.replace(value, "***")
    return text


def has_secret(uri: str) -> bool:
    """Whether an address says a password or a token, or before a web server a user, which may be one."""
    parts = urlsplit(uri)
    users = parts.netloc.rpartition("@")[0]
    named = any(_SECRET.search(found[1]) for found in _QUERY.finditer(uri))
    return named or ":" in users or bool(users and parts.scheme in ("http", "https"))
