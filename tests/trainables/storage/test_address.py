import pytest
from hypothesis import given
from hypothesis import strategies as st

from spaces import InputError
from trainables.storage import Address, parse_address


@pytest.mark.parametrize(
    ("text", "address", "said"),
    [
        ("s3://bucket/a/b/", Address("s3", "bucket/a/b"), "s3://bucket/a/b"),
        ("s3://bucket", Address("s3", "bucket"), "s3://bucket"),
        ("file:///srv/with%20space", Address("file", "/srv/with space"), "file:///srv/with%20space"),
        ("/srv/runs/", Address("file", "/srv/runs"), "file:///srv/runs"),
    ],
)
def test_addresses(text, address, said):
    assert parse_address(text) == address and str(address) == said
    assert parse_address(str(address)) == address
    assert parse_address(str(address / "small")) == address / "small"


def test_parts_of_an_s3_address():
    assert (Address("s3", "bucket/a/b").bucket, Address("s3", "bucket/a/b").prefix) == ("bucket", "a/b")
    assert Address("s3", "bucket").prefix == ""


@pytest.mark.parametrize(
    "text",
    ["", "s3:/bucket", "s3://", "s3:///prefix", "s3://Bucket/x", "s3://bucket/a/../b", "s3://b/x", "gs://bucket/x",
     "http://127.0.0.1/x", "file://host/x", "s3://[bucket/x", "://x"],
)  # fmt: skip
def test_what_is_no_address_is_one_line(text):
    with pytest.raises(InputError, match=r"^--storage: ") as caught:
        parse_address(text)
    assert ("\n" not in str(caught.value) and "should be" in str(caught.value)) or "has" in str(caught.value)


@pytest.mark.parametrize("text", ["s3://KEY:SECRET@bucket/x", "s3://bucket/x?secret_key=SECRET", "s3://b/x#SECRET"])
def test_credentials_in_an_address_are_refused_and_not_repeated(text):
    with pytest.raises(InputError, match="without credentials") as caught:
        parse_address(text)
    assert "SECRET" not in str(caught.value)


@given(st.text(max_size=40), st.sampled_from(["", "s3://", "file://", "s3://bucket/"]))
def test_any_text_is_an_address_or_one_line(text, head):
    try:
        address = parse_address(head + text)
    except InputError as error:
        assert "\n" not in str(error)
    else:
        assert address.root and not address.root.endswith("//")
