import pickle

from hypothesis import given
from hypothesis import strategies as st

from spaces import InputError
from spaces.wording import MOST, one_line


@given(st.text(st.sampled_from(["x", " ", "\n", "\x00", "\U0001e150", "é"]), max_size=4 * MOST))
def test_what_is_said_is_one_line_that_can_be_printed_and_is_not_long(text):
    line = one_line(text)
    assert line.isprintable() and "\n" not in line
    assert len(line) <= MOST + len(" ... ") + 1


def test_what_is_escaped_counts_as_long_as_it_is_said():
    line = one_line("a" * 1000 + "\U0001e150" * 100 + "z")
    assert len(line) < MOST + 10 and line.startswith("aaa") and line.endswith("z")


def test_a_mistake_that_another_process_finds_arrives_as_it_was_said():
    found = pickle.loads(pickle.dumps(InputError("space.yaml", "eta 0 should be over 1")))
    assert type(found) is InputError and str(found) == "space.yaml: eta 0 should be over 1"
