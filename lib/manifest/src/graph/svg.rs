//! The picture as text.

use super::{
    Graph, Kind, Node,
    place::{Area, Curve, DETAIL_HEIGHT, MARGIN, Picture, Point, TITLE_HEIGHT},
};
use crate::model::Presence;
use alloc::string::String;
use core::fmt::{self, Write};

/// Colours and type, for light and dark viewers.
const STYLE: &str = "
  svg { --back: #fbfbfd; --text: #1b1f27; --soft: #69707d; --line: #c9ced8; --panel: #ffffff;
        --process: #2f6fde; --kernel: #69707d; --device: #c2660a; --init: #7a4fd0; --warning: #b3261e;
        background: var(--back); font-family: ui-sans-serif, system-ui, 'Segoe UI', 'DejaVu Sans', sans-serif; }
  @media (prefers-color-scheme: dark) {
    svg { --back: #12151b; --text: #e7eaf0; --soft: #98a1b0; --line: #3a4250; --panel: #1b2029;
          --process: #7aa7ff; --kernel: #98a1b0; --device: #f0a04b; --init: #b79cff; --warning: #ff8a80; } }
  .back { fill: var(--back); }
  .process { --kind: var(--process); } .kernel { --kind: var(--kernel); }
  .device { --kind: var(--device); } .init { --kind: var(--init); }
  .box { fill: var(--panel); stroke: var(--kind); stroke-width: 1.5; }
  .optional .box { stroke-dasharray: 5 4; }
  .band { fill: var(--kind); }
  .title { fill: var(--text); font-size: 14px; font-weight: 600; text-anchor: middle; }
  .detail { fill: var(--soft); font-size: 11px; text-anchor: middle; }
  .warning { fill: var(--warning); font-size: 11px; font-weight: 600; text-anchor: middle; }
  .edge { fill: none; stroke: var(--kind); stroke-width: 1.5; opacity: .8; }
  .tip { fill: var(--kind); }
  .label { fill: var(--text); stroke: var(--back); stroke-width: 4px; paint-order: stroke; font-size: 11px;
           text-anchor: middle; dominant-baseline: central; }
  .head { fill: var(--text); font-size: 18px; font-weight: 650; }
  .note { fill: var(--soft); font-size: 12px; }
";

/// The legend: kinds and what they are called.
const LEGEND: [(Kind, &str); 4] = [
    (Kind::Process, "process"),
    (Kind::Kernel, "kernel object"),
    (Kind::Device, "device"),
    (Kind::Init, "offered by init"),
];

/// Draws the picture.
pub(super) fn draw(graph: &Graph, picture: &Picture) -> String {
    let mut out = String::new();
    // Writing to a String cannot fail.
    let _ = write(&mut out, graph, picture);
    out
}

fn write(out: &mut String, graph: &Graph, picture: &Picture) -> fmt::Result {
    let (width, height) = (picture.width, picture.height);
    let name = Escaped(&graph.name);
    writeln!(
        out,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" role=\"img\" viewBox=\"0 0 {width} {height}\" \
         width=\"{width}\" height=\"{height}\">"
    )?;
    writeln!(out, "<title>Who holds what in the manifest {name}</title>\n<style>{STYLE}</style>")?;
    writeln!(out, "<rect class=\"back\" width=\"100%\" height=\"100%\"/>")?;
    writeln!(out, "<text class=\"head\" x=\"{MARGIN}\" y=\"40\">Who holds what: {name}</text>")?;
    let note =
        "An arrow points from the holder to what it holds. Every process also holds log and supervisor.";
    writeln!(out, "<text class=\"note\" x=\"{MARGIN}\" y=\"62\">{note}</text>")?;
    for (edge, curve) in graph.edges.iter().zip(&picture.curves) {
        write_curve(out, class(graph.nodes[edge.to].kind), curve)?;
    }
    for (node, area) in graph.nodes.iter().zip(&picture.boxes) {
        write_node(out, node, *area)?;
    }
    for (edge, curve) in graph.edges.iter().zip(&picture.curves) {
        let Point { x, y } = curve.label;
        writeln!(out, "<text class=\"label\" x=\"{x}\" y=\"{y}\">{}</text>", Escaped(&edge.label))?;
    }
    write_legend(out, height - 24)?;
    out.write_str("</svg>\n")
}

fn class(kind: Kind) -> &'static str {
    match kind {
        Kind::Process => "process",
        Kind::Kernel => "kernel",
        Kind::Device => "device",
        Kind::Init => "init",
    }
}

/// A smooth curve through all points that leaves and arrives upright, and an arrow tip.
fn write_curve(out: &mut String, class: &str, curve: &Curve) -> fmt::Result {
    let Some(end) = curve.points.last() else { return Ok(()) };
    write!(
        out,
        "<g class=\"{class}\"><path class=\"edge\" d=\"M{} {}",
        curve.points[0].x, curve.points[0].y
    )?;
    for pair in curve.points.windows(2) {
        let (from, to) = (pair[0], pair[1]);
        let middle = i32::midpoint(from.y, to.y);
        write!(out, " C{} {middle} {} {middle} {} {}", from.x, to.x, to.x, to.y)?;
    }
    let Point { x, y } = *end;
    writeln!(out, "\"/><path class=\"tip\" d=\"M{x} {y}l-4.5 -9h9z\"/></g>")
}

fn write_node(out: &mut String, node: &Node, area: Area) -> fmt::Result {
    let Area { x, y, width, height } = area;
    let optional = if node.presence == Presence::Optional { " optional" } else { "" };
    let class = class(node.kind);
    let title = Escaped(&node.title);
    writeln!(out, "<g class=\"node {class}{optional}\" data-kind=\"{class}\" data-name=\"{title}\">")?;
    writeln!(
        out,
        "<rect class=\"box\" x=\"{x}\" y=\"{y}\" width=\"{width}\" height=\"{height}\" rx=\"8\"/>"
    )?;
    writeln!(
        out,
        "<rect class=\"band\" x=\"{x}\" y=\"{}\" width=\"4\" height=\"{}\" rx=\"2\"/>",
        y + 8,
        height - 16
    )?;
    let center = area.center();
    let mut line = y + 8 + TITLE_HEIGHT - 4;
    writeln!(out, "<text class=\"title\" x=\"{center}\" y=\"{line}\">{title}</text>")?;
    for detail in &node.details {
        line += DETAIL_HEIGHT;
        writeln!(out, "<text class=\"detail\" x=\"{center}\" y=\"{line}\">{}</text>", Escaped(detail))?;
    }
    if let Some(warning) = node.warning {
        line += DETAIL_HEIGHT;
        writeln!(out, "<text class=\"warning\" x=\"{center}\" y=\"{line}\">{warning}</text>")?;
    }
    writeln!(out, "</g>")
}

fn write_legend(out: &mut String, y: i32) -> fmt::Result {
    let mut x = MARGIN;
    for (kind, text) in LEGEND {
        let class = class(kind);
        writeln!(
            out,
            "<g class=\"{class}\"><rect class=\"band\" x=\"{x}\" y=\"{}\" width=\"12\" height=\"12\" rx=\"3\"/>\
             <text class=\"note\" x=\"{}\" y=\"{y}\">{text}</text></g>",
            y - 10,
            x + 18
        )?;
        x += 18 + 8 * text.len() as i32 + 16;
    }
    Ok(())
}

/// Text as XML character data or an attribute value.
struct Escaped<'a>(&'a str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for character in self.0.chars() {
            match character {
                '&' => formatter.write_str("&amp;")?,
                '<' => formatter.write_str("&lt;")?,
                '>' => formatter.write_str("&gt;")?,
                '"' => formatter.write_str("&quot;")?,
                // XML 1.0 has no way to write most control characters.
                control if control.is_control() => formatter.write_char('\u{fffd}')?,
                other => formatter.write_char(other)?,
            }
        }
        Ok(())
    }
}
