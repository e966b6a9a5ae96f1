"""What a job runs on the cluster: `python -m search.cluster.received DIGEST sweep SPACE ...`, in a parcel's folder.

The job's folder goes when the job ends, and a sweep may be resumed years later: so the files that were sent are put
into the cluster's home first.
"""

import os
import shutil
import sys
import tempfile
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

from search import cli
from search.cluster.parcel import MARK, SENT
from spaces import InputError


def home_of(arguments: Sequence[str]) -> Path:
    """The home that a command is given or finds. InputError where there is none: the job's own folder will go."""
    given = next((value for option, value in pairwise(arguments) if option == "--home"), None)
    home = given or os.environ.get("POSEFRONT_HOME")
    if not home:
        ways = "give a folder on the cluster that all its nodes see, or set POSEFRONT_HOME before `ray start`"
        raise InputError("--home", f"is needed here: {ways}")
    return Path(home).absolute()


def keep(sent: Path, home: Path, digest: str) -> Path:
    """The files that came, below the home, where equal ones may be already."""
    kept = home / SENT / digest
    if not kept.is_dir():
        kept.parent.mkdir(parents=True, exist_ok=True)
        partial = Path(tempfile.mkdtemp(dir=kept.parent))
        shutil.copytree(sent, partial, dirs_exist_ok=True)
        partial.chmod(0o755)
        try:
            partial.rename(kept)
        except OSError:  # another job was first
            shutil.rmtree(partial)
    return kept


def main(digest: str, arguments: Sequence[str]) -> None:
    try:
        home = home_of(arguments)
        if any(argument.startswith(MARK) for argument in arguments):
            kept = keep(Path(SENT), home, digest)
            arguments = [str(kept / a.removeprefix(MARK)) if a.startswith(MARK) else a for a in arguments]
    except InputError as error:
        sys.exit(_told(error))
    except OSError as error:
        sys.exit(_told(InputError("--home", f"{error.filename} cannot be written on the cluster ({error.strerror})")))
    sys.argv = ["posefront", *arguments]
    cli.main()


def _told(error: InputError) -> int:
    print(error, file=sys.stderr)
    return 2


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
