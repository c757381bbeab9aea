"""Reading the text of a cfg, and refusing what is none."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from onnxvis.errors import ModelError
from onnxvis.models.darknet.cfg import Section, parse_cfg, read_cfg


def test_sections_in_order_with_darknets_numbers() -> None:
    text = "# one\n[net]\nwidth = 4 16 # two\r\n\n[conv]\n filters=8\nfilters=9\n;three\n[yolo]\nanchors = 1,2,  3, 4"
    net, first, second = parse_cfg(text, "x.cfg")
    assert (net.kind, net.number, net.line, net.options) == ("net", -1, 2, {"width": "416"})
    # The short name means the long one, and of two values the first counts.
    assert (first.kind, first.number, first.line, first.options) == ("convolutional", 0, 5, {"filters": "8"})
    assert (second.kind, second.number, second.numbers("anchors")) == ("yolo", 1, (1.0, 2.0, 3.0, 4.0))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "x.cfg has no sections: it is no cfg of Darknet"),
        ("# nothing", "x.cfg has no sections"),
        ("width=3", r"x.cfg, line 1: a section such as \[net\] was expected, not 'width=3'"),
        ("[net]\nwidth", "x.cfg, line 2: `key=value` was expected, not 'width'"),
        ("[net]\n=3", "x.cfg, line 2: `key=value` was expected"),
        ("[net\nwidth=3", r"x.cfg, line 1: '\[net' is no section; they look like"),
        ("[]", "is no section"),
        ("[a b!]", "is no section"),
        ("[convolutional]\n[net]", r"x.cfg: the first section must be \[net\], not \[convolutional\]"),
        ("[net]\n" + "[cost]\n" * 4097, "x.cfg has more than 4,096 sections"),
        ("\x00\x1b[31m", r"line 1: a section such as \[net\] was expected, not '\\x00\\x1b\[31m'"),
    ],
)
def test_what_is_no_cfg(text: str, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        parse_cfg(text, "x.cfg")


def section(**options: str) -> Section:
    return Section("x.cfg", 37, "convolutional", 412, options)


def test_numbers_of_a_section() -> None:
    given = section(a="3", b="-1,2,", c="1.5e2", d="+7")
    assert (given.integer("a"), given.integer("d"), given.integer("x", 5)) == (3, 7, 5)
    assert (given.integers("b", -1, 2), given.integers("x", 0, 1)) == ((-1, 2), ())
    assert (given.number_of("c", 0), given.number_of("x", 0.5)) == (150.0, 0.5)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("", "has a=, which is no whole number"),
        ("1.5", "has a=1.5, which is no whole number"),
        ("0x10", "no whole number"),
        ("٣", "no whole number"),
        ("99999999999999999999999", "no whole number"),
        ("-1", "has a=-1; it can be 0 to 65536"),
        ("65537", "has a=65537; it can be 0 to 65536"),
    ],
)
def test_a_number_that_is_none(value: str, message: str) -> None:
    with pytest.raises(ModelError, match=rf"^x.cfg, line 412: section 37 \[convolutional\] {message}|{message}"):
        section(a=value).integer("a")


@pytest.mark.parametrize("value", ["", "nan", "inf", "1e999", "1,2", "0x1", "-1e10"])
def test_a_real_number_that_is_none(value: str) -> None:
    with pytest.raises(ModelError, match="which is no number from -1,000,000,000 to 1,000,000,000"):
        section(a=value).number_of("a", 1)


def test_what_is_missing_or_too_long() -> None:
    with pytest.raises(ModelError, match=r"^x.cfg, line 412: section 37 \[convolutional\] lacks filters$"):
        section().integer("filters")
    with pytest.raises(ModelError, match="has 5,000 items in a"):
        section(a="1," * 4999).integers("a", 0, 1)
    with pytest.raises(ModelError, match=r"^x.cfg, line 1: \[net\] lacks width$"):
        parse_cfg("[net]", "x.cfg")[0].integer("width")


def test_what_is_not_supported_is_named_unless_it_is_off() -> None:
    section(xnor="0", tree="none").without("xnor", "tree", "other")
    with pytest.raises(ModelError, match="has xnor=1, which is not supported"):
        section(xnor="1").without("xnor")


def test_files(tmp_path: Path) -> None:
    path = tmp_path / "x.cfg"
    path.write_bytes(b"[net]\nname=\xff\n")
    assert read_cfg(path)[0].options == {"name": "\ufffd"}
    with pytest.raises(ModelError, match=r"there is no file .*missing\.cfg"):
        read_cfg(tmp_path / "missing.cfg")
    with pytest.raises(ModelError, match="is not a file"):
        read_cfg(tmp_path)
    path.write_bytes(b"#" * ((4 << 20) + 1))
    with pytest.raises(ModelError, match=r"x\.cfg is larger than 4 MiB"):
        read_cfg(path)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ModelError, match="is not a file"):
        read_cfg(tmp_path / "pipe")


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read(tmp_path: Path) -> None:
    path = tmp_path / "x.cfg"
    path.write_text("[net]")
    path.chmod(0)
    with pytest.raises(ModelError, match="cannot read"):
        read_cfg(path)
