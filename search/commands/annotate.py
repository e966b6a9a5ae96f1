"""`posefront annotate`."""

from typing import Annotated

import typer


def annotate(
    subject: Annotated[str, typer.Argument(help="The subject's folder.")],
    port: Annotated[int, typer.Option(min=0, max=65535, help="Of the page; 0 takes a free one.")] = 0,
    check: Annotated[bool, typer.Option("--check", help="Serve the page once to see that it works, and end.")] = False,
    browser: Annotated[bool, typer.Option(help="Open the page in the browser.")] = True,
) -> None:
    """Serves a page, to this machine alone, on which the joints are dragged to where they are; saves as you go."""
    import threading
    import urllib.request
    import webbrowser

    from trainables.prepare.annotation import Annotation
    from trainables.prepare.server import AnnotationServer

    with AnnotationServer(Annotation(subject), port) as server:
        if check:
            threading.Thread(target=server.serve_forever, daemon=True).start()
            for path in ("", "state", "picture/0"):
                urllib.request.urlopen(server.address + path, timeout=30).read()
            server.shutdown()
            print(f"{subject}: {len(server.annotation.pictures)} pictures can be annotated")
            return
        print(f"{server.address}\nCtrl-C ends it; all changes are saved as they are made.", flush=True)
        if browser:
            webbrowser.open(server.address)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            print()
