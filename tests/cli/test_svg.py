"""Drawings are whole XML, in which no text of the user is a tag."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree

from trax.cli.panels import Line, Panel, Scale
from trax.cli.svg import drawing, safe

ODD = "<script>alert('1')</script> & \x1b[2J \u202e日本\x00"


def test_a_drawing_is_xml_and_names_are_text() -> None:
    panels = [
        Panel(ODD, [Line(ODD, [(1, 1.0), (2, 3.0)]), Line("b", [(1, 2.0)])], [1.5], [2],
              Scale(1, 2, "step"), Scale(1, 3), [ODD])
        for _ in range(2)
    ]  # fmt: skip
    text = drawing(panels)
    root = ElementTree.fromstring(text)
    assert {element.tag.rpartition("}")[2] for element in root.iter()} == {
        "svg", "style", "rect", "g", "text", "tspan", "line", "title", "polyline",
    }  # fmt: skip
    assert "<script" not in text
    assert text.replace("\n", "").isprintable()
    assert "http" not in text.replace("http://www.w3.org/2000/svg", "")
    lines = [one.get("points") for one in root.iter() if one.tag.endswith("polyline")]
    assert lines[0] == "74.0,208.0 748.0,30.0"
    assert len(lines) == 4


def test_texts_are_escaped_and_visible() -> None:
    assert safe('<a href="x">') == "&lt;a href=&quot;x&quot;&gt;"
    assert safe("\x1b").isprintable()
