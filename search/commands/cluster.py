"""`posefront cluster`: what a cluster needs beside `ray up` and `ray down`."""

from pathlib import Path
from typing import Annotated, Any

import typer

from spaces import InputError

app = typer.Typer(
    name="cluster", no_args_is_help=True, help="Checks a cluster's file, closes its ports, and serves its record."
)

File = Annotated[Path, typer.Argument(help="The file that `ray up` takes.")]


@app.command()
def check(file: File = Path("cluster.yaml")) -> None:
    """Says all that is wrong with a cluster's file, and what is weak about it.

    Exit code 0 where nothing is wrong, 1 where something is, 2 where the file cannot be read.
    """
    from rich.console import Console

    from search.cluster.check import check_cluster

    console = Console()
    findings = check_cluster(file)
    for finding in findings:
        style = "bold red" if finding.kind == "error" else "yellow"
        console.print(f"{finding.kind:5}", style=style, end=" ", highlight=False)
        console.print(str(finding), markup=False, highlight=False, soft_wrap=True)
    errors = sum(finding.kind == "error" for finding in findings)
    said = f"{file}: {errors} errors, {len(findings) - errors} warnings"
    console.print(said, markup=False, highlight=False, soft_wrap=True)
    if errors:
        raise typer.Exit(1)


@app.command()
def firewall(
    file: File = Path("cluster.yaml"),
    ssh_from: Annotated[
        list[str] | None,
        typer.Option(help="Address or network that ssh is open to; may be repeated; default: this machine's."),
    ] = None,
) -> None:
    """Makes the cluster's security group: its own nodes, ssh from your address, nothing open to the world.

    Call it before `ray up`, and again from a new address. What is open to the world in the group is closed.
    """
    from search.cluster.file import read
    from search.cluster.firewall import close, my_address

    config: dict[str, Any] = read(file).config
    _need_boto3()
    done = close(config, ssh_from or [my_address()], file)
    print(f"{done.name} ({done.group}): {'made; ' if done.made else ''}ssh from {', '.join(done.ssh) or 'nowhere'}")
    for ports in done.closed:
        print(f"closed to the world: {ports}")


@app.command()
def mlflow(
    folder: Annotated[Path, typer.Argument(help="Where the database is, and the artifacts unless --s3 has them.")],
    s3: Annotated[
        str | None, typer.Option(help="s3://BUCKET/PATH for the artifacts and, every minute, the database.")
    ] = None,
    host: Annotated[str, typer.Option(help="Whom it listens to.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535)] = 5000,
) -> None:
    """Serves MLflow on this machine alone, its record in a folder or on S3."""
    from search.cluster.record import serve

    raise typer.Exit(serve(folder.absolute(), s3, host, port))


def _need_boto3() -> None:
    try:
        import boto3  # noqa: F401
    except ImportError:
        raise InputError("boto3", "is not installed; `pip install -c constraints.txt -e '.[cluster]'`") from None
