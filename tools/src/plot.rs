//! Plots as SVG: groups of horizontal bars with their values written beside them, for light and dark viewers.
//!
//! ```text
//!   Title
//!   note                                  [] capOS  [] Linux  | limit
//!
//!   name of a group     ############|-|      12,000        |
//!   detail              ##################|---|  18,000
//! ```

use svg::{
    Document,
    node::element::{Group as Layer, Line, Rectangle, Style, Text, Title},
};

/// Width of the picture.
const WIDTH: f64 = 880.0;
/// Space at all sides.
const MARGIN: f64 = 24.0;
/// Where bars start.
const LEFT: f64 = 300.0;
/// Where the longest bar ends; its value stands behind it.
const RIGHT: f64 = 700.0;
/// Where the first group starts.
const TOP: f64 = 102.0;
/// Height of a bar, and of a bar with the gap below it.
const BAR: f64 = 11.0;
const BAR_STEP: f64 = 15.0;
/// Least height of a group, for its two lines of text, and the gap between groups.
const GROUP: f64 = 30.0;
const GROUP_GAP: f64 = 14.0;
/// Half the height of a whisker's end.
const CAP: f64 = 3.0;

/// Colours and type. The classes `series-0` and on are the bars.
pub const STYLE: &str = "
  svg { --back: #fbfbfd; --text: #1b1f27; --soft: #69707d; --whisker: #1b1f27; --limit: #b3261e;
        --series-0: #2f6fde; --series-1: #b9c0cc; --series-2: #c2660a; --series-3: #7a4fd0; --over: #d9483f;
        background: var(--back); font-family: ui-sans-serif, system-ui, 'Segoe UI', 'DejaVu Sans', sans-serif; }
  @media (prefers-color-scheme: dark) {
    svg { --back: #12151b; --text: #e7eaf0; --soft: #98a1b0; --whisker: #e7eaf0; --limit: #ff8a80;
          --series-0: #7aa7ff; --series-1: #565f6e; --series-2: #f0a04b; --series-3: #b79cff; --over: #f0625a; } }
  .back { fill: var(--back); }
  .series-0 { fill: var(--series-0); } .series-1 { fill: var(--series-1); }
  .series-2 { fill: var(--series-2); } .series-3 { fill: var(--series-3); }
  .over { fill: var(--over); }
  .head { fill: var(--text); font-size: 18px; font-weight: 650; }
  .note, .detail, .key { fill: var(--soft); font-size: 12px; }
  .detail { font-size: 11px; }
  .name { fill: var(--text); font-size: 13px; }
  .value { fill: var(--text); font-size: 11px; font-variant-numeric: tabular-nums; }
  .whisker { stroke: var(--whisker); stroke-width: 1.2; }
  .limit { stroke: var(--limit); stroke-width: 2; }
";

/// A picture of bars.
#[derive(Clone, Debug)]
pub struct Plot {
    /// What it shows.
    pub title: String,
    /// How to read it.
    pub note: String,
    /// What the bars of each group are, from the top.
    pub series: Vec<String>,
    /// How long bars are.
    pub scale: Scale,
    /// The groups, from the top.
    pub groups: Vec<Group>,
}

/// How long bars are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scale {
    /// The longest bar, whisker or limit of each group fills the width.
    EachGroup,
    /// That of the whole plot does.
    Shared,
}

/// Bars that belong together.
#[derive(Clone, Debug)]
pub struct Group {
    /// What was measured.
    pub name: String,
    /// More about it, in small letters.
    pub detail: String,
    /// One bar for each series.
    pub bars: Vec<Bar>,
    /// The most that the first series may be.
    pub limit: Option<f64>,
}

/// One bar.
#[derive(Clone, Debug)]
pub enum Bar {
    /// A value from 0.
    Value {
        /// Its length.
        value: f64,
        /// The least and the most that the value stands for.
        range: Option<(f64, f64)>,
        /// The value in words.
        label: String,
    },
    /// Words in place of a bar.
    Words(String),
}

impl Bar {
    /// How far it reaches with its whisker.
    fn reach(&self) -> f64 {
        match self {
            Self::Value { value, range, .. } => range.map_or(*value, |(_, most)| most.max(*value)),
            Self::Words(_) => 0.0,
        }
    }
}

impl Group {
    fn reach(&self) -> f64 {
        self.bars.iter().map(Bar::reach).chain(self.limit).fold(0.0, f64::max)
    }

    fn height(&self) -> f64 {
        (self.bars.len() as f64 * BAR_STEP).max(GROUP)
    }
}

impl Plot {
    /// The picture's file.
    pub fn svg(&self) -> String {
        let rows: f64 = self.groups.iter().map(|group| group.height() + GROUP_GAP).sum();
        let height = TOP + rows + MARGIN - GROUP_GAP;
        let mut document = Document::new()
            .set("viewBox", (0, 0, WIDTH, height))
            .set("width", WIDTH)
            .set("height", height)
            .set("role", "img")
            .add(Title::new(self.title.clone()))
            .add(Style::new(STYLE))
            .add(Rectangle::new().set("class", "back").set("width", "100%").set("height", "100%"))
            .add(text("head", MARGIN, 38.0, &self.title))
            .add(text("note", MARGIN, 58.0, &self.note))
            .add(self.legend());
        let shared = self.groups.iter().map(Group::reach).fold(0.0, f64::max);
        let mut top = TOP;
        for group in &self.groups {
            let reach = if self.scale == Scale::Shared { shared } else { group.reach() };
            // A group of zeroes has bars without length.
            let unit = if reach > 0.0 { (RIGHT - LEFT) / reach } else { 0.0 };
            document = document.add(group.draw(top, unit));
            top += group.height() + GROUP_GAP;
        }
        format!("{document}\n")
    }

    fn legend(&self) -> Layer {
        let (mut layer, mut x) = (Layer::new(), MARGIN);
        for (index, name) in self.series.iter().enumerate() {
            let key = Rectangle::new().set("class", series(index)).set("rx", 3);
            layer = layer.add(key.set("x", x).set("y", 69).set("width", 11).set("height", 11)).add(text(
                "key",
                x + 17.0,
                79.0,
                name,
            ));
            x += 17.0 + 7.5 * name.chars().count() as f64 + 14.0;
        }
        if self.groups.iter().any(|group| group.limit.is_some()) {
            layer = layer.add(line("limit", (x, 67.0), (x, 82.0))).add(text("key", x + 8.0, 79.0, "limit"));
        }
        layer
    }
}

impl Group {
    fn draw(&self, top: f64, unit: f64) -> Layer {
        let mut layer = Layer::new().add(text("name", MARGIN, top + 12.0, &self.name)).add(text(
            "detail",
            MARGIN,
            top + 26.0,
            &self.detail,
        ));
        let limit = self.limit.map(|limit| LEFT + limit * unit);
        for (index, bar) in self.bars.iter().enumerate() {
            let y = top + index as f64 * BAR_STEP + (self.height() - self.bars.len() as f64 * BAR_STEP) / 2.0;
            let over = index == 0 && self.limit.is_some_and(|limit| bar.is_over(limit));
            layer = bar.draw(layer, y, unit, if over { "over" } else { series(index) }, limit);
        }
        match limit {
            Some(x) => layer.add(line("limit", (x, top - 2.0), (x, top + self.height() - 1.0))),
            None => layer,
        }
    }
}

impl Bar {
    fn is_over(&self, limit: f64) -> bool {
        matches!(self, Self::Value { value, .. } if *value > limit)
    }

    /// Adds the bar at `y`. Its text keeps clear of the limit's line, if that is at `limit`.
    fn draw(&self, layer: Layer, y: f64, unit: f64, class: &'static str, limit: Option<f64>) -> Layer {
        let (middle, base) = (y + BAR / 2.0, y + BAR - 1.5);
        let (value, range, label) = match self {
            Self::Words(words) => return layer.add(text("detail", LEFT + 4.0, base, words)),
            Self::Value { value, range, label } => (*value, *range, label),
        };
        let bar = Rectangle::new().set("class", class).set("rx", 2);
        let mut layer = layer
            .add(bar.set("x", LEFT).set("y", y).set("width", (value * unit).max(1.0)).set("height", BAR));
        if let Some((least, most)) = range.filter(|(least, most)| least < most) {
            let (from, to) = (LEFT + least * unit, LEFT + most * unit);
            layer = layer
                .add(line("whisker", (from, middle), (to, middle)))
                .add(line("whisker", (from, middle - CAP), (from, middle + CAP)))
                .add(line("whisker", (to, middle - CAP), (to, middle + CAP)));
        }
        let mut x = LEFT + self.reach() * unit + 7.0;
        let width = 6.3 * label.chars().count() as f64;
        if let Some(limit) = limit
            && (x - 4.0..x + width + 4.0).contains(&limit)
        {
            x = limit + 7.0;
        }
        layer.add(text("value", x, base, label))
    }
}

/// The class of a series' bars; there are four colours.
fn series(index: usize) -> &'static str {
    ["series-0", "series-1", "series-2", "series-3"][index % 4]
}

fn text(class: &str, x: f64, y: f64, words: &str) -> Text {
    Text::new(words).set("class", class).set("x", x).set("y", y)
}

fn line(class: &str, from: (f64, f64), to: (f64, f64)) -> Line {
    Line::new().set("class", class).set("x1", from.0).set("y1", from.1).set("x2", to.0).set("y2", to.1)
}

/// A number as plots and tables write it: its digits in threes, and one place behind the point below 100 if it has any.
pub fn number(value: f64) -> String {
    let places = if value.abs() < 100.0 && value.fract() != 0.0 { 1 } else { 0 };
    let text = format!("{value:.places$}");
    let (whole, rest) =
        text.split_once('.').map_or((text.as_str(), None), |(whole, rest)| (whole, Some(rest)));
    let (sign, digits) = whole.strip_prefix('-').map_or(("", whole), |digits| ("-", digits));
    let mut grouped = String::from(sign);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    rest.map_or(grouped.clone(), |rest| format!("{grouped}.{rest}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bar(value: f64) -> Bar {
        Bar::Value { value, range: Some((value / 2.0, value * 2.0)), label: number(value) }
    }

    fn plot() -> Plot {
        let group = |name: &str, values: [f64; 2], limit| Group {
            name: name.into(),
            detail: "a & b".into(),
            bars: values.map(bar).to_vec(),
            limit,
        };
        Plot {
            title: "One < two".into(),
            note: String::new(),
            series: vec!["here".into(), "there".into()],
            scale: Scale::EachGroup,
            groups: vec![group("first", [10.0, 20.0], Some(5.0)), group("second", [0.0, 0.0], None)],
        }
    }

    #[test]
    fn what_is_over_its_limit_looks_so() {
        assert!(plot().svg().contains("class=\"over\""));
        let mut plot = plot();
        plot.groups[0].limit = Some(10.0);
        assert!(!plot.svg().contains("class=\"over\""));
    }

    #[test]
    fn the_longest_whisker_fills_the_width() {
        let text = plot().svg();
        assert!(text.contains(&format!("x1=\"{RIGHT}\"")), "{text}");
        assert!(!text.contains("NaN") && !text.contains("inf"), "{text}");
    }

    #[test]
    fn text_cannot_become_markup() {
        let text = plot().svg();
        assert!(text.contains("One &lt; two") && text.contains("a &amp; b"), "{text}");
    }

    #[test]
    fn numbers_are_grouped() {
        assert_eq!(number(1_374_000_000.0), "1,374,000,000");
        assert_eq!(
            (number(999.0), number(12.34), number(-1234.5)),
            ("999".into(), "12.3".into(), "-1,234".into())
        );
    }
}
