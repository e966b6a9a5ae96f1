from hypothesis import given
from hypothesis import strategies as st

from spaces.wording import MOST, one_line


@given(st.text(st.sampled_from(["x", " ", "\n", "\x00", "\U0001e150", "é"]), max_size=4 * MOST))
def test_what_is_said_is_one_line_that_can_be_printed_and_is_not_long(text):
    line = one_line(text)
    assert line.isprintable() and "\n" not in line
    assert len(line) <= MOST + len(" ... ") + 1


def test_what_is_escaped_counts_as_long_as_it_is_said():
    line = one_line("a" * 1000 + "\U0001e150" * 100 + "z")
    assert len(line) < MOST + 10 and line.startswith("aaa") and line.endswith("z")
