"""Reader of the geometry of an SVG chart, which tests compare with the figures of the API."""

from dataclasses import dataclass
from typing import Any, Literal

from playwright.async_api import Locator

_READ = """(box) => {
  const numbers = (one, ...names) => names.map((name) => Number(one.getAttribute(name)));
  const part = (mark, name) => mark.matches(name) ? mark : mark.querySelector(name);
  return {
    ticks: [...box.querySelectorAll("[data-tick]")].map((one) =>
      [Number(one.dataset.tick), ...numbers(one, "x1", "y1")]),
    marks: [...box.querySelectorAll("[data-mark]")].map((mark) => {
      const [dot, whisker, bar] = ["[data-dot]", "[data-whisker]", "[data-bar]"].map((name) =>
        part(mark, name));
      const seen = dot ?? bar;
      return [mark.dataset.mark, {
        dot: dot && numbers(dot, "cx", "cy"),
        whisker: whisker && numbers(whisker, "x1", "x2", "y1", "y2"),
        bar: bar && numbers(bar, "x", "width", "y", "height"),
        colours: seen && [getComputedStyle(seen).fill, getComputedStyle(seen).stroke],
      }];
    }),
  };
}"""
NEAR = 0.6
"""Allowed error of a coordinate in pixels, because the SVG has rounded coordinates."""


@dataclass
class Chart:
    """The coordinates of a drawn chart, in pixels.

    Attributes:
        ticks: Value, x and y of each tick of the axis.
        marks: Coordinates of dot, whisker (line of the interval) and bar, by the name of the mark.
    """

    ticks: list[tuple[float, float, float]]
    marks: dict[str, Any]

    def at(self, value: float, axis: Literal["x", "y"]) -> float:
        """Return the coordinate of a value, computed from the first and the last tick."""
        place = 1 if axis == "x" else 2
        first, last = self.ticks[0], self.ticks[-1]
        part = (value - first[0]) / (last[0] - first[0])
        return first[place] + part * (last[place] - first[place])


async def chart_of(box: Locator) -> Chart:
    """Read the first chart inside a page element."""
    read = await box.locator(".chart svg").first.evaluate(_READ)
    return Chart(ticks=[tuple(one) for one in read["ticks"]], marks=dict(read["marks"]))
