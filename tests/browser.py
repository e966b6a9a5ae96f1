"""A headless Chromium for tests of pages: opened, looked into, pointed at, clicked, and photographed.

It is spoken to in the Chrome DevTools Protocol (https://chromedevtools.github.io/devtools-protocol) over a pair of
pipes, `--remote-debugging-pipe`: no driver, no library, and no port that another process could reach.
"""

import base64
import json
import os
import select
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType
from typing import Any

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome")
PATIENCE = 60.0
"""Seconds that an answer may take, on a machine that does other things too."""
FLAGS = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars",
    "--no-first-run", "--disable-extensions", "--disable-background-networking", "--disable-component-update",
    # a page in a sandboxed frame stays in its page's process, so that one session sees all frames
    "--disable-site-isolation-trials", "--disable-features=IsolateSandboxedIframes,Translate,OptimizationHints",
)  # fmt: skip


def chromium() -> str | None:
    """Where it is, if it is."""
    return next((path for path in map(shutil.which, NAMES) if path), None)


needs_chromium = pytest.mark.skipif(chromium() is None, reason=f"none of {', '.join(NAMES)} is installed")
"""Marks a test that opens pages."""


class BrowserError(AssertionError):
    """The browser refused, the page's script raised, or nothing came in time."""


class Browser:
    """One page. A context manager: leaving it ends the browser's processes.

    Coordinates are CSS pixels from the window's upper left corner, also over frames in the page.
    """

    def __init__(self, width: int = 1280, height: int = 900, network: bool = True) -> None:
        """`network=False` takes it away: files and what they contain are all that there is."""
        program = chromium()
        if program is None:
            raise BrowserError(f"none of {', '.join(NAMES)} is installed")
        self.requests: list[str] = []
        """The address of everything the page asked for since `open`, in order; the page itself first."""
        self.errors: list[str] = []
        """What the page's scripts raised or wrote to the console as an error since `open`."""
        self._folder = TemporaryDirectory(prefix="browser-", ignore_cleanup_errors=True)
        self._answers: dict[int, dict[str, Any]] = {}
        self._contexts: dict[str, int] = {}
        """The script context of each frame, by the frame's id."""
        self._loaded, self._count, self._rest = False, 0, b""
        ours_in, theirs_out = os.pipe()
        theirs_in, ours_out = os.pipe()
        pipes = f'exec "$0" "$@" 3<&{theirs_in} 4>&{theirs_out}'
        command = ["bash", "-c", pipes, program, *FLAGS, "--remote-debugging-pipe"]
        command += [f"--user-data-dir={self._folder.name}", f"--window-size={width},{height}", "about:blank"]
        self._process = subprocess.Popen(
            command, pass_fds=(theirs_in, theirs_out), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        os.close(theirs_in)
        os.close(theirs_out)
        self._in, self._out = ours_in, ours_out
        self._session = ""
        try:
            pages = self._call("Target.getTargets")["targetInfos"]
            page = next(each["targetId"] for each in pages if each["type"] == "page")
            self._session = self._call("Target.attachToTarget", targetId=page, flatten=True)["sessionId"]
            for domain in ("Page", "Runtime", "Network"):
                self._call(f"{domain}.enable")
            if not network:
                nothing = {"latency": 0, "downloadThroughput": -1, "uploadThroughput": -1}
                self._call("Network.emulateNetworkConditions", offline=True, **nothing)
            self.resize(width, height)
        except BaseException:
            self.close()
            raise

    def open(self, url: str | Path, seconds: float = PATIENCE) -> float:
        """Goes there and waits for the page's load event; seconds that it took. A path is a file of this machine."""
        address = url.absolute().as_uri() if isinstance(url, Path) else url
        self.requests.clear()
        self.errors.clear()
        self._loaded, began = False, time.monotonic()
        answer = self._call("Page.navigate", url=address)
        if "errorText" in answer:
            raise BrowserError(f"{address}: {answer['errorText']}")
        if "loaderId" in answer:  # else only what is behind the `#` has changed
            self._until(lambda: self._loaded, seconds, f"{address} to load")
        return time.monotonic() - began

    def measure(self) -> None:
        """From now on `worked` counts, in pages that are opened after this."""
        self._call("Performance.enable", timeDomain="threadTicks")

    def worked(self) -> float:
        """Processor seconds of the page's main thread, however much else the machine has to do."""
        metrics = {each["name"]: each["value"] for each in self._call("Performance.getMetrics")["metrics"]}
        return float(metrics["TaskDuration"])

    def evaluate(self, script: str, frame: int = 0) -> Any:
        """The value of a JavaScript expression, a promise's when it is there, as JSON has it.

        `frame` counts the page's frames in the order of the page: 0 is the page, 1 the first frame in it. BrowserError
        for what the script raises.
        """
        self._settle()
        ids = list(_frames(self._call("Page.getFrameTree")["frameTree"]))
        if frame >= len(ids) or ids[frame] not in self._contexts:
            raise BrowserError(f"there is no frame {frame}; the page has {len(ids)}")
        arguments = {"expression": script, "awaitPromise": True, "returnByValue": True}
        answer = self._call("Runtime.evaluate", contextId=self._contexts[ids[frame]], **arguments)
        if "exceptionDetails" in answer:
            raise BrowserError(f"{script}: {_raised(answer['exceptionDetails'])}")
        return answer["result"].get("value")

    def wait_for(self, script: str, seconds: float = PATIENCE, frame: int = 0) -> Any:
        """The value of the expression once it is truthy; what it raises until then does not count."""
        last: object = None

        def there() -> bool:
            nonlocal last
            try:
                last = self.evaluate(script, frame)
            except BrowserError as error:
                last = error
                return False
            return bool(last)

        self._until(there, seconds, script, lambda: f"; last: {last!s:.300}", every=0.1)
        return last

    def hover(self, x: float, y: float) -> None:
        """Moves the pointer there, by way of a place beside it: a pointer that did not move enters nothing."""
        for at in ((x - 3, y - 3), (x, y)):
            self._call("Input.dispatchMouseEvent", type="mouseMoved", x=at[0], y=at[1])

    def click(self, x: float, y: float) -> None:
        """Presses and releases the left button there."""
        self.hover(x, y)
        for kind in ("mousePressed", "mouseReleased"):
            self._call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    def place_of(self, selector: str, frame: int = 0) -> tuple[float, float]:
        """The middle of the first element that a CSS selector finds, scrolled to; to hover over and click.

        In a frame the coordinates are the frame's own, to be added to where the frame is.
        """
        found = self.wait_for(
            f"(() => {{ const e = document.querySelector({json.dumps(selector)}); if (!e) return null;"
            "e.scrollIntoView({block: 'center', inline: 'center'}); const r = e.getBoundingClientRect();"
            "return [r.x + r.width / 2, r.y + r.height / 2]; })()",
            frame=frame,
        )
        return found[0], found[1]

    def resize(self, width: int, height: int, scale: float = 1.0, phone: bool = False) -> None:
        """Of the window, in CSS pixels; `scale` device pixels each; `phone` as phones lay pages out."""
        size = {"width": width, "height": height, "deviceScaleFactor": scale, "mobile": phone}
        self._call("Emulation.setDeviceMetricsOverride", **size)

    def screenshot(self, path: Path, width: int | None = None, height: int | None = None) -> Path:
        """What the window shows, as a PNG; in a window of another size if one is given, which it keeps."""
        if width is not None and height is not None:
            self.resize(width, height)
            self.evaluate("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(() => done(1))))")
        path.write_bytes(base64.b64decode(self._call("Page.captureScreenshot", format="png")["data"]))
        return path

    def print(self, path: Path) -> Path:
        """The page as it would be printed on A4, as a PDF."""
        paper = {"paperWidth": 8.27, "paperHeight": 11.69, "printBackground": False}
        path.write_bytes(base64.b64decode(self._call("Page.printToPDF", **paper)["data"]))
        return path

    def close(self) -> None:
        """Ends the browser; again does nothing."""
        if self._process.poll() is None:
            try:
                os.write(self._out, b'{"id": 0, "method": "Browser.close"}\0')
                self._process.wait(10)
            except (OSError, subprocess.TimeoutExpired):
                self._process.kill()
                self._process.wait()
        for pipe in (self._in, self._out):
            if pipe >= 0:
                os.close(pipe)
        self._in = self._out = -1
        self._folder.cleanup()

    def __enter__(self) -> "Browser":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def _call(self, method: str, **parameters: Any) -> dict[str, Any]:
        self._count += 1
        number = self._count
        message: dict[str, Any] = {"id": number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        rest = memoryview(json.dumps(message).encode() + b"\0")
        while rest:
            rest = rest[os.write(self._out, rest) :]
        self._until(lambda: number in self._answers, PATIENCE, method)
        answer = self._answers.pop(number)
        if "error" in answer:
            raise BrowserError(f"{method}: {answer['error']['message']}")
        return answer["result"]

    def _until(self, ready: Any, seconds: float, what: str, more: Any = lambda: "", every: float = 1.0) -> None:
        """Takes messages in until something is so."""
        until = time.monotonic() + seconds
        while not ready():
            left = until - time.monotonic()
            if left <= 0:
                raise BrowserError(f"waited {seconds:.0f} s for {what}{more()}")
            self._settle(min(left, every))

    def _settle(self, seconds: float = 0.0) -> None:
        """Takes in what has come, or waits so long for something."""
        while select.select([self._in], [], [], seconds)[0]:
            data = os.read(self._in, 1 << 20)
            if not data:
                raise BrowserError("the browser has ended")
            *messages, self._rest = (self._rest + data).split(b"\0")
            for message in messages:
                self._take(json.loads(message))
            seconds = 0.0

    def _take(self, message: dict[str, Any]) -> None:
        if "id" in message:
            self._answers[message["id"]] = message
            return
        said = message.get("params", {})
        match message["method"]:
            case "Page.loadEventFired":
                self._loaded = True
            case "Network.requestWillBeSent":
                self.requests.append(said["request"]["url"])
            case "Runtime.executionContextCreated" if said["context"]["auxData"].get("isDefault"):
                self._contexts[said["context"]["auxData"]["frameId"]] = said["context"]["id"]
            case "Runtime.executionContextsCleared":
                self._contexts.clear()
            case "Runtime.executionContextDestroyed":
                gone = said["executionContextId"]
                self._contexts = {frame: each for frame, each in self._contexts.items() if each != gone}
            case "Runtime.exceptionThrown":
                self.errors.append(_raised(said["exceptionDetails"]))
            case "Runtime.consoleAPICalled" if said["type"] == "error":
                self.errors.append(" ".join(str(each.get("value", "")) for each in said["args"]))


def _frames(tree: dict[str, Any]) -> Iterator[str]:
    """Frame ids, the page's first, then those in it as they come."""
    yield tree["frame"]["id"]
    for child in tree.get("childFrames", ()):
        yield from _frames(child)


def _raised(details: dict[str, Any]) -> str:
    thrown = details.get("exception", {})
    return thrown.get("description") or str(thrown.get("value", details.get("text", "")))
