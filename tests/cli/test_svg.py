"""Drawings are whole XML, in which no text of the user is a tag."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree

from trax.cli.panels import Line, Panel, Scale
from trax.cli.svg import drawing, figure, safe

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
        "svg", "style", "rect", "text", "tspan", "line", "title", "polyline",
    }  # fmt: skip
    assert "<script" not in text
    assert text.replace("\n", "").isprintable()
    assert "http" not in text.replace("http://www.w3.org/2000/svg", "")
    lines = [one.get("points") for one in root.iter() if one.tag.endswith("polyline")]
    assert lines[0] == "0.0,178.0 1000.0,0.0"
    assert len(lines) == 4


def test_a_caption_is_cut_in_a_file_and_whole_in_a_page() -> None:
    lines = [Line(f"run-{number}", [(1, 1.0)]) for number in range(40)]
    panel = Panel("loss", lines, [], [], Scale(1, 1, "step"), Scale(1, 1), ["a note"])
    shown = ElementTree.fromstring(drawing([panel])).findall(".//{*}tspan")
    assert [one.text for one in shown[:2]] == ["loss", "run-0"]
    assert sum(len(one.text or "") + 2 for one in shown) <= 102
    page = ElementTree.fromstring(figure(panel)).findall("./figcaption/span")
    assert [one.text for one in page] == ["loss", *(line.label for line in lines), "a note"]
    bare = ElementTree.fromstring(figure(panel, is_named=False)).findall("./figcaption/span")
    assert [one.text for one in bare] == ["loss", "a note"]


def test_texts_are_escaped_and_visible() -> None:
    assert safe('<a href="x">') == "&lt;a href=&quot;x&quot;&gt;"
    assert safe("\x1b").isprintable()
