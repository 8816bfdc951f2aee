//! From ranks and orders to boxes and curves, in whole pixels.

use super::{
    Graph, Node,
    layers::{Layers, Slot},
};
use alloc::{vec, vec::Vec};

/// Width of a character of a title and of a detail, at the sizes that the style sheet sets, and rounded up.
const TITLE_CHARACTER: i32 = 9;
const DETAIL_CHARACTER: i32 = 7;
/// Width of a character of a label.
const LABEL_CHARACTER: i32 = 7;
/// Space inside a box on each side, and its line heights.
const PADDING: i32 = 14;
pub(super) const TITLE_HEIGHT: i32 = 20;
pub(super) const DETAIL_HEIGHT: i32 = 16;
/// Least width of a box.
const BOX_WIDTH: i32 = 120;
/// Space between neighbours in a rank, beside an edge that passes, and between ranks.
const GAP: i32 = 28;
const BEND_WIDTH: i32 = 16;
const RANK_GAP: i32 = 92;
/// Space around the picture, and above it for the title.
pub(super) const MARGIN: i32 = 32;
const HEADER: i32 = 56;
/// Space below the picture for the legend.
const FOOTER: i32 = 56;
/// Least width, so that title and legend fit.
const PICTURE_WIDTH: i32 = 640;
/// Rounds in which slots move towards their neighbours.
const ROUNDS: usize = 24;
/// Where on its curve a label may stand, in 1/16, best first.
const LABEL_PLACES: [i32; 7] = [8, 10, 6, 12, 4, 13, 3];

/// A rectangle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Area {
    pub(super) x: i32,
    pub(super) y: i32,
    pub(super) width: i32,
    pub(super) height: i32,
}

impl Area {
    pub(super) fn center(&self) -> i32 {
        self.x + self.width / 2
    }

    pub(super) fn overlaps(&self, other: &Self) -> bool {
        self.x < other.x + other.width
            && other.x < self.x + self.width
            && self.y < other.y + other.height
            && other.y < self.y + self.height
    }
}

/// A point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Point {
    pub(super) x: i32,
    pub(super) y: i32,
}

/// One arrow: points that a smooth curve passes, and the middle of its label.
#[derive(Debug)]
pub(super) struct Curve {
    pub(super) points: Vec<Point>,
    pub(super) label: Point,
}

/// The whole picture; boxes are in the order of the graph's nodes, curves in that of its edges.
pub(super) struct Picture {
    pub(super) width: i32,
    pub(super) height: i32,
    pub(super) boxes: Vec<Area>,
    pub(super) curves: Vec<Curve>,
}

/// Places everything.
pub(super) fn place(graph: &Graph, layers: &Layers) -> Picture {
    let areas = areas(graph, layers);
    let boxes: Vec<Area> = areas.iter().copied().take(graph.nodes.len()).collect();
    let mut curves = curves(layers, &areas);
    place_labels(graph, &boxes, &mut curves);
    let right = areas.iter().map(|area| area.x + area.width).max().unwrap_or(0);
    let bottom = boxes.iter().map(|area| area.y + area.height).max().unwrap_or(HEADER);
    Picture { width: (right + MARGIN).max(PICTURE_WIDTH), height: bottom + FOOTER, boxes, curves }
}

fn size(node: &Node) -> (i32, i32) {
    let title = length(&node.title) * TITLE_CHARACTER;
    let lines = node.details.iter().map(|line| length(line)).chain(node.warning.map(length));
    let width = lines.map(|line| line * DETAIL_CHARACTER).fold(title, i32::max) + 2 * PADDING;
    let details = node.details.len() as i32 + i32::from(node.warning.is_some());
    (width.max(BOX_WIDTH), TITLE_HEIGHT + details * DETAIL_HEIGHT + PADDING)
}

fn length(text: &str) -> i32 {
    text.chars().count() as i32
}

/// The areas of all slots. A bend is a thin one.
fn areas(graph: &Graph, layers: &Layers) -> Vec<Area> {
    let mut areas: Vec<Area> = layers
        .slots
        .iter()
        .map(|slot| {
            let (width, height) = match slot {
                Slot::Node(node) => size(&graph.nodes[*node]),
                Slot::Bend(_) => (BEND_WIDTH, 0),
            };
            Area { x: 0, y: 0, width, height }
        })
        .collect();
    let mut y = HEADER + MARGIN;
    for rank in &layers.ranks {
        let height = rank.iter().map(|&slot| areas[slot].height).max().unwrap_or(0);
        let mut x = 0;
        for &slot in rank {
            areas[slot].y = y;
            areas[slot].x = x;
            x += areas[slot].width + GAP;
            if let Slot::Bend(_) = layers.slots[slot] {
                // The edge passes the whole height of the rank.
                areas[slot].height = height;
            }
        }
        y += height + RANK_GAP;
    }
    spread(layers, &mut areas);
    let left = areas.iter().map(|area| area.x).min().unwrap_or(0);
    areas.iter_mut().for_each(|area| area.x += MARGIN - left);
    areas
}

/// Moves slots towards the middle of their neighbours, rank by rank, and keeps order and gaps.
fn spread(layers: &Layers, areas: &mut [Area]) {
    let mut above = vec![Vec::new(); areas.len()];
    let mut around = vec![Vec::new(); areas.len()];
    for pair in layers.routes.iter().flat_map(|route| route.windows(2)) {
        around[pair[0]].push(pair[1]);
        around[pair[1]].push(pair[0]);
        above[pair[1]].push(pair[0]);
    }
    let mut move_rank = |rank: &[usize], neighbours: &[Vec<usize>]| {
        let wanted: Vec<i32> = rank.iter().map(|&slot| wanted(slot, &neighbours[slot], areas)).collect();
        settle(rank, &wanted, areas);
    };
    for round in 0..ROUNDS {
        let mut ranks: Vec<_> = layers.ranks.iter().collect();
        if round % 2 == 1 {
            ranks.reverse();
        }
        ranks.into_iter().for_each(|rank| move_rank(rank, &around));
    }
    // A chain below a rank that is still on the move lags behind it: the last word is that of who stands above.
    layers.ranks.iter().for_each(|rank| move_rank(rank, &above));
}

fn wanted(slot: usize, neighbours: &[usize], areas: &[Area]) -> i32 {
    if neighbours.is_empty() {
        return areas[slot].center();
    }
    neighbours.iter().map(|&other| areas[other].center()).sum::<i32>() / neighbours.len() as i32
}

/// Puts the slots of a rank as near as possible to where they want to be, in least squares, without changing
/// their order: groups that push each other share the mean of their wishes (pool adjacent violators).
fn settle(rank: &[usize], wanted: &[i32], areas: &mut [Area]) {
    // Offset of each slot's centre if all of them stood side by side.
    let mut offsets = Vec::new();
    let mut edge = 0;
    for &slot in rank {
        offsets.push(edge + areas[slot].width / 2);
        edge += areas[slot].width + GAP;
    }
    // Groups: sum of wishes less offsets, and number of members.
    let mut groups: Vec<(i32, i32)> = Vec::new();
    for (wish, offset) in wanted.iter().zip(&offsets) {
        let mut group = (wish - offset, 1);
        while let Some(&before) = groups.last() {
            if before.0 / before.1 < group.0 / group.1 {
                break;
            }
            group = (group.0 + before.0, group.1 + before.1);
            groups.pop();
        }
        groups.push(group);
    }
    let shifts = groups.iter().flat_map(|&(sum, number)| (0..number).map(move |_| sum / number));
    for ((&slot, offset), shift) in rank.iter().zip(&offsets).zip(shifts) {
        areas[slot].x = offset + shift - areas[slot].width / 2;
    }
}

/// The curves; those that leave or reach one box are spread along its side.
fn curves(layers: &Layers, areas: &[Area]) -> Vec<Curve> {
    let side = |route: &Vec<usize>| (route[0], route[1]);
    let leaving = ports(layers, areas, side);
    let arriving = ports(layers, areas, |route| (route[route.len() - 1], route[route.len() - 2]));
    layers
        .routes
        .iter()
        .enumerate()
        .map(|(index, route)| {
            let from = areas[route[0]];
            let to = areas[route[route.len() - 1]];
            let mut points = vec![Point { x: leaving[index], y: from.y + from.height }];
            for &bend in &route[1..route.len() - 1] {
                let area = areas[bend];
                points.push(Point { x: area.center(), y: area.y });
                points.push(Point { x: area.center(), y: area.y + area.height });
            }
            points.push(Point { x: arriving[index], y: to.y });
            Curve { label: points[0], points }
        })
        .collect()
}

/// Where each route touches the box at one of its ends: `end` gives the box and the next slot of the route.
fn ports(layers: &Layers, areas: &[Area], end: impl Fn(&Vec<usize>) -> (usize, usize)) -> Vec<i32> {
    let mut xs = vec![0; layers.routes.len()];
    for (slot, area) in areas.iter().enumerate() {
        let at_slot = |index: &usize| end(&layers.routes[*index]).0 == slot;
        let mut here: Vec<usize> = (0..layers.routes.len()).filter(at_slot).collect();
        here.sort_by_key(|&index| areas[end(&layers.routes[index]).1].center());
        let count = here.len() as i32;
        for (place, index) in (1..).zip(here) {
            xs[index] = area.x + area.width * place / (count + 1);
        }
    }
    xs
}

/// Puts each label on the first part of its curve, where it covers neither a box nor another label.
fn place_labels(graph: &Graph, boxes: &[Area], curves: &mut [Curve]) {
    let mut taken: Vec<Area> = boxes.to_vec();
    for (edge, curve) in graph.edges.iter().zip(curves) {
        let width = length(&edge.label) * LABEL_CHARACTER + 6;
        let area_at = |place: i32| {
            let middle = on_curve(curve.points[0], curve.points[1], place);
            (middle, Area { x: middle.x - width / 2, y: middle.y - 8, width, height: 16 })
        };
        let free = LABEL_PLACES.iter().map(|&place| area_at(place));
        let chosen = free.clone().find(|(_, area)| !taken.iter().any(|other| other.overlaps(area)));
        let (middle, area) = chosen.unwrap_or_else(|| area_at(LABEL_PLACES[0]));
        taken.push(area);
        curve.label = middle;
    }
}

/// The point of the cubic curve of [`super::svg`] at `place`/16.
fn on_curve(from: Point, to: Point, place: i32) -> Point {
    let middle = i32::midpoint(from.y, to.y);
    let (t, s) = (i64::from(place), i64::from(16 - place));
    let weights = [s * s * s, 3 * s * s * t, 3 * s * t * t, t * t * t];
    let at = |values: [i32; 4]| {
        let sum: i64 = values.iter().zip(weights).map(|(&value, weight)| i64::from(value) * weight).sum();
        (sum / 4096) as i32
    };
    Point { x: at([from.x, from.x, to.x, to.x]), y: at([from.y, middle, middle, to.y]) }
}
