"""Copies of protobuf messages: no message that was given to us is changed in place."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from google.protobuf.message import Message

__all__ = ["copied", "keep"]

_Message = TypeVar("_Message", bound="Message")


def copied(proto: _Message) -> _Message:
    """A message of its own with the same content."""
    copy = type(proto)()
    copy.CopyFrom(proto)
    return copy


def keep(field: Any, items: Iterable[Any]) -> None:
    """Leave only `items`, in this order, in the repeated field of messages that holds them."""
    copies = [copied(item) for item in items]  # emptying the field would take them with it
    del field[:]
    field.extend(copies)
