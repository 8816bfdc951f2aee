//! Ranks from top to bottom, and the order inside each: who holds stands above what it holds, with few
//! crossings [Sugiyama, Tagawa, Toda 1981].

use super::Graph;
use alloc::{vec, vec::Vec};

/// Sweeps over all ranks that look for an order with fewer crossings.
const SWEEPS: usize = 12;

/// A place in a rank.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Slot {
    /// A node of the graph.
    Node(usize),
    /// Where an edge that spans several ranks passes through one of them.
    Bend(usize),
}

/// The slots by number, and the ranks as lists of slot numbers from left to right.
pub(super) struct Layers {
    pub(super) slots: Vec<Slot>,
    pub(super) ranks: Vec<Vec<usize>>,
    /// For each edge the slots it passes, from its holder on.
    pub(super) routes: Vec<Vec<usize>>,
}

/// Gives every node a rank and a place in it.
pub(super) fn layers(graph: &Graph) -> Layers {
    let mut layers = slots(graph, &node_ranks(graph));
    reduce_crossings(&mut layers);
    layers
}

/// Longest way down from a holder that nobody holds. A cycle, which no checked manifest has, stops the
/// search after as many rounds as there are nodes.
fn node_ranks(graph: &Graph) -> Vec<usize> {
    let mut ranks = vec![0; graph.nodes.len()];
    for _ in 0..graph.nodes.len() {
        let mut moved = false;
        for edge in &graph.edges {
            let below = (ranks[edge.from] + 1).min(graph.nodes.len() - 1);
            if ranks[edge.to] < below {
                ranks[edge.to] = below;
                moved = true;
            }
        }
        if !moved {
            break;
        }
    }
    ranks
}

fn slots(graph: &Graph, node_ranks: &[usize]) -> Layers {
    let depth = node_ranks.iter().max().map_or(0, |deepest| deepest + 1);
    let mut layers = Layers {
        slots: (0..graph.nodes.len()).map(Slot::Node).collect(),
        ranks: vec![Vec::new(); depth],
        routes: Vec::new(),
    };
    for (node, &rank) in node_ranks.iter().enumerate() {
        layers.ranks[rank].push(node);
    }
    for (index, edge) in graph.edges.iter().enumerate() {
        let mut route = vec![edge.from];
        for rank in node_ranks[edge.from] + 1..node_ranks[edge.to] {
            layers.ranks[rank].push(layers.slots.len());
            route.push(layers.slots.len());
            layers.slots.push(Slot::Bend(index));
        }
        route.push(edge.to);
        layers.routes.push(route);
    }
    layers
}

/// Orders each rank by the middle of its neighbours in the rank before, down and up in turn, and keeps the best.
fn reduce_crossings(layers: &mut Layers) {
    let mut best = (crossings(layers), layers.ranks.clone());
    for sweep in 0..SWEEPS {
        let count = layers.ranks.len();
        let downwards = sweep % 2 == 0;
        for step in 1..count {
            let rank = if downwards { step } else { count - 1 - step };
            let fixed = if downwards { rank - 1 } else { rank + 1 };
            sort_rank(layers, rank, fixed);
        }
        let now = crossings(layers);
        if now < best.0 {
            best = (now, layers.ranks.clone());
        }
    }
    layers.ranks = best.1;
}

/// Position of each slot inside its rank.
fn positions(layers: &Layers) -> Vec<usize> {
    let mut positions = vec![0; layers.slots.len()];
    for rank in &layers.ranks {
        for (position, &slot) in rank.iter().enumerate() {
            positions[slot] = position;
        }
    }
    positions
}

fn sort_rank(layers: &mut Layers, rank: usize, fixed: usize) {
    let positions = positions(layers);
    // Sum and number of the positions of the neighbours in the fixed rank.
    let mut middles = vec![(0, 0); layers.slots.len()];
    for (upper, lower) in links(layers) {
        for (slot, neighbour) in [(upper, lower), (lower, upper)] {
            if layers.ranks[fixed].contains(&neighbour) {
                middles[slot].0 += positions[neighbour] * 1024;
                middles[slot].1 += 1;
            }
        }
    }
    // Who has no neighbour there keeps its place.
    let key = |&slot: &usize| match middles[slot] {
        (_, 0) => positions[slot] * 1024,
        (sum, number) => sum / number,
    };
    layers.ranks[rank].sort_by_key(key);
}

/// The parts of all routes between one rank and the next.
fn links(layers: &Layers) -> impl Iterator<Item = (usize, usize)> {
    layers.routes.iter().flat_map(|route| route.windows(2).map(|pair| (pair[0], pair[1])))
}

fn crossings(layers: &Layers) -> usize {
    let positions = positions(layers);
    let mut rank_of = vec![0; layers.slots.len()];
    for (rank, slots) in layers.ranks.iter().enumerate() {
        slots.iter().for_each(|&slot| rank_of[slot] = rank);
    }
    let links: Vec<_> = links(layers).map(|(a, b)| (rank_of[a], positions[a], positions[b])).collect();
    let crosses = |a: &(usize, usize, usize), b: &(usize, usize, usize)| {
        a.0 == b.0 && (a.1 < b.1 && a.2 > b.2 || a.1 > b.1 && a.2 < b.2)
    };
    links
        .iter()
        .enumerate()
        .map(|(index, a)| links[index + 1..].iter().filter(|b| crosses(a, b)).count())
        .sum()
}
