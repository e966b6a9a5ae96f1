"""Who listens where, as the kernel says it."""

import os
import socket
import struct
from pathlib import Path

LISTEN = "0A"
"""A socket's state in /proc/net/tcp."""


def family(process: int) -> list[int]:
    """A process and all that it started, and they, as long as those between them live."""
    parents = {int(folder.name): _parent(folder) for folder in Path("/proc").iterdir() if folder.name.isdigit()}
    found = [process]
    for one in found:
        found += [child for child, parent in parents.items() if parent == one]
    return found


def listening(processes: list[int]) -> dict[tuple[str, int], str]:
    """(address, port) of every TCP socket that one of the processes listens on, with the program's name."""
    of_inode = {inode: command_line(process) for process in processes for inode in _sockets(process)}
    found = {}
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            _, local, _, state, *rest = line.split()
            if state == LISTEN and rest[5] in of_inode:
                found[_address(local)] = of_inode[rest[5]]
    return found


def _sockets(process: int) -> set[str]:
    """Inodes of a process's sockets."""
    found = set()
    try:
        for file in os.scandir(f"/proc/{process}/fd"):
            target = os.readlink(file.path)
            if target.startswith("socket:["):
                found.add(target[8:-1])
    except OSError:
        pass
    return found


def command_line(process: int) -> str:
    """What every user of the machine can see of it."""
    try:
        return Path(f"/proc/{process}/cmdline").read_text(errors="replace").replace("\0", " ").strip()
    except OSError:
        return "ended"


def _parent(folder: Path) -> int:
    """The fourth word of `stat`, after a name in brackets that may hold anything."""
    try:
        return int((folder / "stat").read_text(errors="replace").rpartition(")")[2].split()[1])
    except OSError:  # it ended meanwhile
        return 0


def _address(local: str) -> tuple[str, int]:
    """`0100007F:1F90` is 127.0.0.1, 8080: words of four bytes, each in the machine's order."""
    address, port = local.split(":")
    words = bytes.fromhex(address)
    swapped = b"".join(struct.pack("=I", *struct.unpack(">I", words[i : i + 4])) for i in range(0, len(words), 4))
    family = socket.AF_INET if len(words) == 4 else socket.AF_INET6
    return socket.inet_ntop(family, swapped), int(port, 16)
