from __future__ import annotations

import numpy as np
import pytest

from rnnexport.artifact.checksum import BLANK, found_seal, seal_of, sealed, with_seal

DATA = b"weights\x00\xff" * 50 + f'{{"goldens": "ab", "seal": "{BLANK}", "z": 1}}'.encode() + b"rest" * 9


def is_sealed(data):
    return found_seal(data) == seal_of([("", data)])


def test_a_sealed_file_is_as_long_and_says_so():
    whole = sealed(DATA)
    assert len(whole) == len(DATA)
    assert is_sealed(whole)
    assert sealed(whole) == whole
    assert not is_sealed(DATA)
    assert found_seal(whole) == seal_of([("", DATA)])


def test_any_bit_that_is_changed_breaks_the_seal():
    whole = sealed(DATA)
    for at in np.random.default_rng(3).integers(0, len(whole), 200):
        changed = bytearray(whole)
        changed[at] ^= 1 << int(at) % 8
        assert not is_sealed(bytes(changed))
    assert not is_sealed(whole[:-1])
    assert not is_sealed(whole + b"x")


@pytest.mark.parametrize("data", [b"", b"no place", DATA + DATA, b'"seal": "00'])
def test_without_one_place_there_is_no_seal(data):
    assert not is_sealed(data)
    with pytest.raises(ValueError, match="no place"):
        with_seal(data, BLANK)


def test_the_parts_of_a_folder_count_with_their_names_and_order():
    parts = [("a", b"1"), ("b", b"2")]
    assert seal_of(parts) == seal_of(parts)
    assert (
        len({seal_of(parts), seal_of(parts[::-1]), seal_of([("a", b"1"), ("c", b"2")]), seal_of([("a", b"12")])}) == 4
    )


def test_only_the_part_that_holds_the_seal_has_a_place_for_it():
    other = b'"seal": "' + b"a" * 64
    changed = b'"seal": "' + b"b" * 64
    assert seal_of([("p", DATA), ("q", other)], "p") != seal_of([("p", DATA), ("q", changed)], "p")
