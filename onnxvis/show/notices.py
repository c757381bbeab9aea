"""What the reader of a report should know before believing it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from onnxvis.files import one_line
from onnxvis.measure.predictions import class_scores
from onnxvis.run.inputs import Skipped
from onnxvis.run.labels import Labels
from onnxvis.run.reading import Reading
from onnxvis.show.page import InputCard, Notice
from onnxvis.show.text import shape

if TYPE_CHECKING:
    from onnxvis.graph.load import Model

__all__ = ["finding_notices", "input_notices"]


def input_notices(
    model: Model, inputs: Sequence[str | Path], reading: Reading, skipped: list[Skipped], left: str
) -> list[Notice]:
    """On what was fed: no picture taken or given, files passed over, inputs `left` out (a sentence or '')."""
    notices = []
    ports = ", ".join(f"{one_line(t.name, 60)} {t.dtype} {shape(t.shape)}" for t in model.inputs)
    if reading.preprocessing is None:
        text = f"Its inputs are {ports}. So there are no feature maps to show; its weights and layers are below."
        notices.append(Notice(text, "info", "This model takes no picture"))
    elif not inputs:
        text = "No picture was given, so only weights and layers are shown. Add one: onnxvis report MODEL PHOTO"
        notices.append(Notice(text))
    if left:
        notices.append(Notice(left))
    if skipped:
        named = "; ".join(item.reason for item in skipped[:5])
        notices.append(Notice(f"{len(skipped)} files could not be read and were passed over: {named}", "warning"))
    return notices


def finding_notices(cards: Sequence[InputCard], labels: Labels | None, outputs: Mapping[str, Any]) -> list[Notice]:
    """On what was found: outputs that are not finite, dead channels, labels that do not fit."""
    notices = []
    odd = {(output.name, output.note) for card in cards for output in card.outputs if "NaN" in output.note}
    if odd:
        listed = "; ".join(f"{one_line(name, 60)}: {note}" for name, note in sorted(odd))
        notices.append(Notice(listed, "warning", "Outputs that are not finite"))
    dead = [text for card in cards if (text := _dead(card))]
    if dead:
        notices.append(Notice(f"Channels that stay constant: {'; '.join(dead)}.", "info", "Dead channels"))
    classes = [found.classes for value in outputs.values() if (found := class_scores(value))]
    note = labels.note(classes[0]) if labels and len(classes) == 1 else None
    return [*notices, Notice(note, "warning", "Labels")] if note else notices


def _dead(card: InputCard) -> str:
    shown = [stage for stage in card.stages if stage.statistics is not None and stage.part != "heads"]
    counts = {stage.name: int(stage.statistics.dead.sum()) for stage in shown if stage.statistics is not None}
    listed = ", ".join(f"{count} in {one_line(name, 60)}" for name, count in counts.items() if count)
    return f"{listed} (on {one_line(card.name)})" if listed else ""
