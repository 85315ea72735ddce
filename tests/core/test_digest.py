"""Digests of JSON, bytes, files and arrays: the same wherever they are made."""

from pathlib import Path

import numpy as np

from rsrl_ray.core.digest import array_digest, bytes_digest, digest, file_digest, short_digest


def test_a_digest_sees_the_content_and_not_the_order_of_its_keys() -> None:
    assert digest({"a": 1, "b": [1, 2]}) == digest({"b": [1, 2], "a": 1})
    assert digest({"a": 1, "b": [1, 2]}) != digest({"a": 1, "b": [2, 1]})
    # 128 bits of BLAKE2b of the JSON text `{"a": 1}`, as `b2sum -l 128` gives them.
    assert digest({"a": 1}) == "6903fb303cd60ccb0a2b9c2592fa773b"


def test_an_array_digest_sees_name_type_shape_and_bytes_and_nothing_else() -> None:
    array = np.arange(6, dtype=np.float32).reshape(2, 3)
    digests = [
        array_digest(arrays)
        for arrays in (
            {"a": array},
            {"b": array},
            {"a": array.astype(np.float64)},
            {"a": array.view(np.int32)},
            {"a": array.reshape(3, 2)},
            {"a": array + 1},
            {"a": array, "b": array},
            {"a": np.zeros((0, 3), dtype=np.float32)},
        )
    ]
    assert len(set(digests)) == len(digests)
    assert array_digest({"a": np.asfortranarray(array)}) == digests[0]
    assert array_digest({"b": array, "a": array}) == digests[6]
    assert array_digest({"kept": np.array([True, True, False, False])}) == "957e30d85a85a5d1894d5680a7f6b81d"


def test_a_file_has_the_digest_of_its_bytes(tmp_path: Path) -> None:
    content = b'{"a": 1}'
    (tmp_path / "a").write_bytes(content)
    assert file_digest(tmp_path / "a") == bytes_digest(content) == digest({"a": 1})
    assert short_digest(content.decode()) == "5b09908e"
