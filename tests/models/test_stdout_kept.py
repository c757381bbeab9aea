from __future__ import annotations

import os

import pytest

from onnxvis.models.stdout_kept import stdout_kept


def fail_loudly() -> None:
    with stdout_kept():
        print("of Python")
        os.write(1, b"of C++\n")
        raise ValueError("odd")


def test_nothing_reaches_stdout_while_it_is_kept(capfd: pytest.CaptureFixture[str]) -> None:
    print("before")
    with pytest.raises(ValueError, match="odd"):
        fail_loudly()
    print("after")
    os.write(1, b"at the end\n")
    said = capfd.readouterr()
    assert sorted(said.out.split("\n")) == ["", "after", "at the end", "before"]
    assert said.err == "of Python\n"
