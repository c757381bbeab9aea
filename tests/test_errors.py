"""Every error is one of ours and carries the exit code that scripts rely on."""

from __future__ import annotations

import pytest

from onnxvis import errors


@pytest.mark.parametrize("name", errors.__all__)
def test_exit_codes(name: str) -> None:
    kind = getattr(errors, name)
    assert issubclass(kind, errors.OnnxvisError)
    assert kind("text").exit_code == 2
    assert str(kind("text")) == "text"
