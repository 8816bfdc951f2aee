//! The picture of recovery times: a strip of dots for each kind of fault, on one logarithmic axis, with a mark at the median.

use svg::{
    Document,
    node::element::{Circle, Line, Rectangle, Style, Text, Title},
};

use crate::plot::STYLE;

/// Values of one kind.
pub struct Strip<'a> {
    /// What they are of.
    pub name: &'a str,
    /// The values, above 0.
    pub values: Vec<f64>,
}

/// Where the axis starts and ends, heights of a strip and of what is above and below all.
const LEFT: f64 = 140.0;
const RIGHT: f64 = 840.0;
const STRIP: f64 = 44.0;
const TOP: f64 = 64.0;
const BOTTOM: f64 = 40.0;
const WIDTH: f64 = 880.0;

/// The picture's file.
pub fn svg(title: &str, strips: &[Strip<'_>]) -> String {
    let all = || strips.iter().flat_map(|strip| &strip.values).copied().filter(|value| *value > 0.0);
    let (low, high) = (all().fold(f64::INFINITY, f64::min), all().fold(0.0, f64::max));
    // Whole decades, at least one.
    let (first, last) = if high > 0.0 { (low.log10().floor(), high.log10().ceil()) } else { (-3.0, 0.0) };
    let last = last.max(first + 1.0);
    let place = |value: f64| LEFT + (value.log10() - first) / (last - first) * (RIGHT - LEFT);
    let bottom = TOP + STRIP * strips.len() as f64;
    let mut document = Document::new()
        .set("viewBox", (0, 0, WIDTH, bottom + BOTTOM))
        .set("width", WIDTH)
        .set("height", bottom + BOTTOM)
        .set("role", "img")
        .add(Title::new(title))
        .add(Style::new(STYLE))
        .add(Rectangle::new().set("class", "back").set("width", "100%").set("height", "100%"))
        .add(text("head", "start", 24.0, 38.0, title));
    // A few decades: exact as floating point numbers.
    for decade in (0..=(last - first) as i32).map(|step| first + f64::from(step)) {
        let (value, x) = (10f64.powf(decade), place(10f64.powf(decade)));
        document = document.add(line("whisker", (x, TOP), (x, bottom)).set("stroke-opacity", 0.2)).add(text(
            "detail",
            "middle",
            x,
            bottom + 18.0,
            &format!("{value} s"),
        ));
    }
    for (number, strip) in strips.iter().enumerate() {
        let middle = TOP + STRIP * (number as f64 + 0.5);
        let name = format!("{} ({})", strip.name, strip.values.len());
        document = document.add(text("name", "end", LEFT - 12.0, middle + 4.0, &name));
        for (index, value) in strip.values.iter().enumerate().filter(|(_, value)| **value > 0.0) {
            // Spread, so that equal values do not hide each other.
            let spread = (index * 7 % 13) as f64 / 12.0 - 0.5;
            let dot = Circle::new().set("class", "series-0").set("r", 2.5).set("fill-opacity", 0.4);
            document = document.add(dot.set("cx", place(*value)).set("cy", middle + spread * STRIP * 0.6));
        }
        if let Some(median) = median(&strip.values) {
            let x = place(median);
            document = document.add(line("limit", (x, middle - STRIP * 0.4), (x, middle + STRIP * 0.4)));
        }
    }
    format!("{document}\n")
}

fn text(class: &str, anchor: &str, x: f64, y: f64, words: &str) -> Text {
    Text::new(words).set("class", class).set("text-anchor", anchor).set("x", x).set("y", y)
}

fn line(class: &str, from: (f64, f64), to: (f64, f64)) -> Line {
    Line::new().set("class", class).set("x1", from.0).set("y1", from.1).set("x2", to.0).set("y2", to.1)
}

fn median(values: &[f64]) -> Option<f64> {
    let mut sorted: Vec<_> = values.iter().copied().filter(|value| *value > 0.0).collect();
    sorted.sort_unstable_by(f64::total_cmp);
    sorted.get(sorted.len().checked_sub(1)? / 2).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_value_is_a_dot() {
        let strips =
            [Strip { name: "a<b", values: vec![0.01, 0.1, 1.0] }, Strip { name: "none", values: vec![] }];
        let text = svg("times", &strips);
        assert_eq!(text.matches("<circle").count(), 3);
        assert!(text.contains("a&lt;b (3)") && text.contains("none (0)"), "{text}");
        assert_eq!(median(&[3.0, 1.0, 2.0]), Some(2.0));
        assert!(!svg("empty", &[]).contains("NaN"));
    }
}
