"""Do the commands put the same pinned software on every node, and open nothing?"""

import re
from collections.abc import Iterator
from importlib.metadata import version
from os.path import exists, isdir, isfile  # which say no where pathlib raises, as for a name too long
from pathlib import Path

from search.cluster.file import ClusterFile, words
from search.cluster.findings import Finding, error, warn

SETUP = ("setup_commands", "head_setup_commands", "worker_setup_commands")
STARTS = {"head_start_ray_commands": "--head", "worker_start_ray_commands": "--address"}
TOKEN = "~/.ray/auth_token"
_PIN = re.compile(r"(?<![\w.-])ray(?:\[[\w,]+\])?\s*==\s*([\w.]+)")
_WHEEL = re.compile(r"ray-wheels|/ray-[\w.]+\.whl|\bnightly\b|\blatest\b")
_TAG = re.compile(r"rayproject/ray(?:-ml)?:(\d+\.\d+\.\d+)")
_SECRET = re.compile(r"AKIA[0-9A-Z]{16}|hf_[A-Za-z0-9]{30,}|aws_secret_access_key|-----BEGIN [A-Z ]*PRIVATE KEY")


def check_setup(file: ClusterFile) -> Iterator[Finding]:
    yield from _check_presence(file)
    yield from _check_pins(file)
    yield from _check_ray(file)
    yield from _check_doors(file)
    yield from _check_token(file)
    yield from _check_mounts(file)


def _check_presence(file: ClusterFile) -> Iterator[Finding]:
    """What Ray fills in for AWS, where a file says nothing, is no good."""
    if file.provider.get("type") == "external":
        return  # then it fills in nothing, which is an error of its own
    if file.on_aws and not file.config.get("setup_commands"):
        yield error("setup_commands", "is missing: Ray installs a nightly build of itself; install a pinned one")
    for key, option in STARTS.items():
        if not file.config.get(key) and file.on_aws:
            yield error(key, f"is missing: Ray's own has no token and an open dashboard; `ray start {option} ...`")


def _check_pins(file: ClusterFile) -> Iterator[Finding]:
    for where, command in file.commands():
        if match := _WHEEL.search(command):
            yield error(where, f"{match[0]!r} is another version every day; pin it")
        for line in re.split(r"&&|\|\||;", command):
            if " install " not in line:
                continue
            if re.search(r"\bpip3?\b", line):
                loose = _loose(line.split(" install ", 1)[1])
                if loose and not re.search(r"(?:^|\s)(?:-c|--constraint|-r|--requirement)[ =]", line):
                    yield error(where, f"{', '.join(loose)} unpinned: nodes that start later differ; ==, or -c FILE")
            elif re.search(r"\bapt(?:-get)?\b", line):
                loose = [w for w in _packages(line.split(" install ", 1)[1]) if "=" not in w]
                if loose:
                    yield warn(where, f"{', '.join(loose)} unpinned; apt-get takes NAME=VERSION")
    image = file.docker_image
    if image and (":" not in image.rsplit("/", 1)[-1] or re.search(r":(latest|nightly)", image)):
        yield error("docker.image", f"{image!r} is another image every day; a version as its tag")


def _packages(rest: str) -> list[str]:
    """What is to be installed: no options, nor the values of those that have one."""
    found, skip = [], False
    for word in words(rest):
        if skip or word.startswith("-"):
            skip = word in ("-c", "-r", "-i", "--constraint", "--requirement", "--index-url", "-o")
        else:
            found.append(word)
    return found


def _loose(rest: str) -> list[str]:
    """Packages without a version, folders of code apart."""
    return [word for word in _packages(rest) if "==" not in word and not re.match(r"[.~/$]|\w+://", word)]


def _check_ray(file: ClusterFile) -> Iterator[Finding]:
    """Ray on the nodes must be the version that calls `ray up`: head and driver speak to each other."""
    here, found = version("ray"), dict(_ray_versions(file))
    for where, there in found.items():
        if there != here:
            yield error(where, f"Ray {there} on the nodes, {here} here: they must be the same")
    if not found:
        yield error("setup_commands", f"nothing says which Ray the nodes get: ray=={here}, or -c with a file that does")


def _ray_versions(file: ClusterFile) -> Iterator[tuple[str, str]]:
    for where, command in file.commands(*SETUP):
        for match in _PIN.finditer(command):
            yield where, match[1]
        for constraints in re.findall(r"(?:-c|--constraint|-r|--requirement)[ =](\S+)", command):
            path = _mounted(file, constraints)
            text = path.read_text(encoding="utf-8") if path is not None else ""
            if match := re.search(r"^ray==(\S+)", text, re.MULTILINE):
                yield f"file_mounts ({constraints})", match[1]
    if match := _TAG.search(file.docker_image):
        yield "docker.image", match[1]


def _mounted(file: ClusterFile, remote: str) -> Path | None:
    """The local file that is at a path of the nodes."""
    for target, local in file.mounts.items():
        path = file.local(local)
        if remote.strip("'\"") == target and isfile(path):
            return path
        below = remote.strip("'\"").removeprefix(target.rstrip("/") + "/")
        if below != remote.strip("'\"") and isfile(path / below):
            return path / below
    return None


def _check_doors(file: ClusterFile) -> Iterator[Finding]:
    for where, command in file.commands():
        for match in re.finditer(r"(--dashboard-host|--host|--bind)[ =](0\.0\.0\.0|::|\*)", command):
            yield error(where, f"{match[0]!r} listens to all; 127.0.0.1, and a port forwarded by ssh")
    if not file.on_aws:
        return
    group = file.provider.get("security_group")
    rules = group.get("IpPermissions") if isinstance(group, dict) else None
    for number, rule in enumerate(rules if isinstance(rules, list) else ()):
        ranges = str(rule.get("IpRanges", "")) + str(rule.get("Ipv6Ranges", "")) if isinstance(rule, dict) else ""
        if "0.0.0.0/0" in ranges or "::/0" in ranges:
            ports = f"{rule.get('FromPort', 'all')}-{rule.get('ToPort', 'all')}"
            yield error(
                f"provider.security_group.IpPermissions[{number}]",
                f"ports {ports} are open to the world; none, and forward them by ssh (`ray attach -p`)",
            )
    if not any("cluster firewall" in command for _, command in file.commands("head_setup_commands")):
        yield warn(
            "provider.security_group",
            "Ray opens ssh to the world in a group that it makes; `posefront cluster firewall` in head_setup_commands",
        )


def _check_token(file: ClusterFile) -> Iterator[Finding]:
    for key, option in STARTS.items():
        starts = [(where, command) for where, command in file.commands(key) if "ray start" in command]
        if file.config.get(key) and not any(option in command for _, command in starts):
            yield error(key, f"never calls `ray start {option} ...`: Ray does not run there")
        for where, command in starts:
            if "RAY_AUTH_MODE=token" not in command:
                yield error(where, "no token: whoever reaches the port runs code; RAY_AUTH_MODE=token before ray start")
        if key.startswith("head") and starts and not any("--autoscaling-config" in command for _, command in starts):
            yield error(key, "no worker ever starts; --autoscaling-config=~/ray_bootstrap_config.yaml")
    if file.config.get("docker"):
        return
    if TOKEN not in file.mounts:
        yield error("file_mounts", f"{TOKEN} is missing: without the token nodes refuse each other; {TOKEN}: {TOKEN}")
    elif not isfile(file.local(file.mounts[TOKEN])):
        yield error(f"file_mounts.{TOKEN}", "is not here; `RAY_AUTH_MODE=token ray get-auth-token --generate` makes it")


def _check_mounts(file: ClusterFile) -> Iterator[Finding]:
    for remote, local in file.mounts.items():
        path = file.local(local)
        if remote != TOKEN and not exists(path):
            yield error(f"file_mounts.{remote}", f"{local} is not here, and `ray up` would stop at it")
        elif isdir(path) and any(exists(path / name) for name in (".venv", "venv", ".git")):
            yield warn(f"file_mounts.{remote}", f"{local} has an environment or a history; name what the nodes need")
    if match := _SECRET.search(file.text):
        line = file.text.count("\n", 0, match.start()) + 1
        yield error(f"line {line}", "looks like a secret, which does not belong in a file that is shared")
