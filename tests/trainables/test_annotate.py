"""The page on which joints are marked: what it keeps, and whom it answers."""

import http.client
import io
import json
import shutil
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from search import cli
from spaces import InputError
from tests.tiny import SIZE
from tests.trainables.test_subject import change_card, change_line
from trainables.prepare.annotation import Annotation
from trainables.prepare.server import AnnotationServer
from trainables.skeleton import PUPPET_13, region
from trainables.subject import Subject


@pytest.fixture
def folder(tiny_subject: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_subject, tmp_path / "subject"))


@pytest.fixture
def server(folder: Path) -> Iterator[AnnotationServer]:
    with AnnotationServer(Annotation(folder)) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def ask(
    server: AnnotationServer,
    method: str,
    path: str,
    body: bytes = b"",
    host: str | None = None,
    word: str | None = None,
) -> tuple[int, bytes]:
    """Status and content."""
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=20)
    headers = {"Host": host or f"127.0.0.1:{server.server_port}"}
    connection.request(method, f"/{server.word if word is None else word}/{path}", body, headers)
    answer = connection.getresponse()
    content = answer.read()
    connection.close()
    return answer.status, content


def lines(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "metadata.jsonl").read_text().splitlines()]


def png(mask: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(mask).save(file, format="PNG")
    return file.getvalue()


def test_the_page_needs_nothing_from_elsewhere(server: AnnotationServer) -> None:
    status, content = ask(server, "GET", "")
    page = content.decode()
    assert status == 200 and "<svg" in page
    links = [piece for piece in page.split('"') if "://" in piece]
    assert links == ["http://www.w3.org/2000/svg"]  # a name, not an address


def test_the_state_says_joints_limbs_and_pictures(server: AnnotationServer, folder: Path) -> None:
    state = json.loads(ask(server, "GET", "state")[1])
    assert state["joints"] == list(PUPPET_13.joints) and len(state["colours"]) == len(PUPPET_13.limbs)
    assert [picture["file"] for picture in state["pictures"]] == ["0.png", "1.png", "2.png"]
    assert state["pictures"][1]["keypoints"] == lines(folder)[1]["keypoints"]
    assert [state["pictures"][0][key] for key in ("width", "height", "mask")] == [SIZE, SIZE, True]
    shown = np.array(Image.open(io.BytesIO(ask(server, "GET", "picture/2")[1])))
    assert (shown == Subject.load(folder).pictures[2].pixels).all()


def test_joints_are_kept_at_once_and_nothing_else_changes(server: AnnotationServer, folder: Path) -> None:
    change_line(folder, 2, text="a sks robot that was named meanwhile", author="somebody")
    before = lines(folder)
    keypoints = [[n + 0.123, 2 * n, int(n != 5)] for n in range(13)]
    assert ask(server, "PUT", "keypoints/1", json.dumps(keypoints).encode()) == (204, b"")
    after = lines(folder)
    assert after[1]["keypoints"][3] == [3.12, 6, 1] and after[1]["keypoints"][5][2] == 0
    assert after[0] == before[0] and after[2] == before[2]
    assert {**after[1], "keypoints": None} == {**before[1], "keypoints": None}
    assert Subject.load(folder).pictures[1].keypoints[3].tolist() == [3.12, 6, 1]
    assert json.loads(ask(server, "GET", "state")[1])["pictures"][1]["keypoints"][4] == [4.123, 8, 1]
    assert ask(server, "PUT", "keypoints/1", b"null")[0] == 204
    assert "keypoints" not in lines(folder)[1] and not list(folder.glob(".*partial"))


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"[", "should be JSON"),
        (b"[[1, 2, 1]]", "shape (1, 3) should be (13, 3)"),
        (b'"x"', "should be a list of [x, y, visible]"),
        (json.dumps([[1, 2, 1]] * 12 + [[33, 2, 1]]).encode(), "leg1_ankle is outside the 32 x 32 pixels"),
        (json.dumps([[1, 2, 1]] * 12 + [[float("nan"), 2, 1]]).encode(), "all finite"),
        (json.dumps([[1, 2, 1]] * 12 + [[1, 2, 3]]).encode(), "visible should be 1, or 0"),
    ],
)
def test_joints_that_cannot_be_are_refused_in_one_line(server, folder, body, said) -> None:
    before = (folder / "metadata.jsonl").read_bytes()
    status, content = ask(server, "PUT", "keypoints/0", body)
    assert status == 400 and said in content.decode() and "\n" not in content.decode()
    assert (folder / "metadata.jsonl").read_bytes() == before


def test_a_mask_is_painted_taken_from_the_joints_and_taken_away(server: AnnotationServer, folder: Path) -> None:
    mask = np.zeros((SIZE, SIZE), dtype=bool)
    mask[4:20, 8:12] = True
    assert ask(server, "PUT", "mask/0", png(mask))[0] == 204
    assert lines(folder)[0]["mask"] == "masks/0.png"
    assert (Subject.load(folder).pictures[0].mask == mask).all()
    assert (np.array(Image.open(io.BytesIO(ask(server, "GET", "mask/0")[1]))) == mask).all()
    assert ask(server, "PUT", "mask-of-joints/0")[0] == 204
    picture = Subject.load(folder).pictures[0]
    assert (picture.mask == region(picture.keypoints, SIZE, PUPPET_13)).all()
    assert ask(server, "DELETE", "mask/0")[0] == 204
    assert "mask" not in lines(folder)[0] and ask(server, "GET", "mask/0") == (204, b"")


def test_a_mask_that_cannot_be_is_refused(server: AnnotationServer, folder: Path) -> None:
    for body, said in (
        (b"x", "should be a PNG"),
        (png(np.ones((SIZE, SIZE - 1), dtype=bool)), "is 31 x 32 pixels, its picture is 32 x 32"),
        (png(np.zeros((SIZE, SIZE), dtype=bool)), "black all over"),
    ):
        status, content = ask(server, "PUT", "mask/0", body)
        assert status == 400 and said in content.decode()
    assert lines(folder)[0]["mask"] == "0-mask.png"
    ask(server, "PUT", "keypoints/0", b"null")
    status, content = ask(server, "PUT", "mask-of-joints/0")
    assert status == 400 and "has no joints yet" in content.decode()


def test_only_who_has_the_address_is_answered(server: AnnotationServer, folder: Path) -> None:
    before = (folder / "metadata.jsonl").read_bytes()
    assert server.server_address[0] == "127.0.0.1" and len(server.word) >= 20
    for refused in (
        ask(server, "GET", "state", word="x"),
        ask(server, "GET", "state", word=""),
        ask(server, "GET", "state", host="evil.example:80"),  # a name of somebody else's that leads here
        ask(server, "PUT", "keypoints/0", b"null", word="x"),
        ask(server, "GET", "../../../../etc/passwd"),
        ask(server, "GET", "picture/3"),
        ask(server, "GET", "picture/-1"),
        ask(server, "GET", "picture"),
        ask(server, "PUT", "state", b"{}"),
    ):
        assert refused == (404, b"not here")
    assert (folder / "metadata.jsonl").read_bytes() == before


def test_a_file_that_was_spoiled_meanwhile_is_left_alone(server: AnnotationServer, folder: Path) -> None:
    path = folder / "metadata.jsonl"
    path.write_text("{\n" + path.read_text())
    status, content = ask(server, "PUT", "keypoints/0", b"null")
    assert status == 400 and b"nothing was saved" in content and path.read_text().startswith("{\n")
    path.write_text("")
    status, content = ask(server, "PUT", "keypoints/0", b"null")
    assert status == 400 and b"no longer has a line for 0.png" in content


def test_many_changes_at_once_are_all_kept(server: AnnotationServer, folder: Path) -> None:
    def mark(number: int) -> None:
        for x in range(10):
            body = json.dumps([[x, number, 1]] * 13).encode()
            assert ask(server, "PUT", f"keypoints/{number}", body)[0] == 204

    threads = [threading.Thread(target=mark, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [line["keypoints"][0] for line in lines(folder)] == [[9, number, 1] for number in range(3)]


def test_what_cannot_be_annotated_is_explained(folder: Path) -> None:
    with pytest.raises(InputError, match="is a shipped subject; copy its folder"):
        Annotation("puppets/robot")
    change_card(folder, skeleton=None)
    with pytest.raises(InputError, match=r"subject.yaml: skeleton: is missing"):
        Annotation(folder)


def test_the_command_can_check_itself(folder: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    monkeypatch.setattr(sys, "argv", ["posefront", "annotate", str(folder), "--check"])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert not ended.value.code and "3 pictures can be annotated" in capsys.readouterr().out


def test_numbers_without_end_are_answered(server: AnnotationServer) -> None:
    assert ask(server, "GET", f"picture/{'9' * 5000}")[0] == 404
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=20)
    connection.putrequest("PUT", f"/{server.word}/mask/0")
    connection.putheader("Content-Length", "9" * 5000)
    connection.endheaders()
    assert connection.getresponse().status == 413
    connection.close()
