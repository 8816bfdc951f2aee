//! The layout keeps its promises on manifests of many shapes.

use super::{Graph, layers, place, svg};
use crate::model::{
    DeviceMatch, DmaMode, Entry, Export, Grant, KernelObject, Manifest, Presence, Quotas, RestartKind,
    RestartPolicy, Source,
};

fn entry(name: &str, grants: Vec<Grant>) -> Entry {
    Entry {
        name: name.into(),
        binary: name.into(),
        arguments: Vec::new(),
        priority: 10,
        quotas: Quotas { frames: 512, handles: 64, threads: 1, dma_pages: 0 },
        grants,
        exports: vec!["x".into()],
        restart: RestartPolicy {
            kind: RestartKind::Always,
            maximum: 10,
            window_seconds: 60,
            back_off_milliseconds: 10,
        },
        heartbeat_milliseconds: 0,
    }
}

fn export(process: &str) -> Grant {
    Grant {
        name: format!("to-{process}"),
        source: Source::Export(Export {
            process: process.into(),
            name: "x".into(),
            presence: Presence::Required,
            fate: crate::Fate::LivesOn,
        }),
    }
}

fn clock() -> Grant {
    Grant { name: "clock".into(), source: Source::Kernel(KernelObject::Clock) }
}

fn device() -> Grant {
    let device = DeviceMatch {
        vendor: Some(0x1af4),
        devices: vec![0x1000],
        class: None,
        index: 0,
        presence: Presence::Optional,
        dma: DmaMode::Trusted,
    };
    Grant { name: "device".into(), source: Source::Device(device) }
}

fn manifest(entries: Vec<Entry>) -> Manifest {
    Manifest { name: "m".into(), entries }
}

/// Every process holds the next ones, so that edges span many ranks.
fn ladder(count: usize) -> Manifest {
    let names: Vec<String> = (0..count).map(|index| format!("process-{index}")).collect();
    let grants = |index: usize| {
        let below = names.iter().skip(index + 1).step_by(index % 3 + 1);
        below.map(|name| export(name)).chain([clock()]).collect()
    };
    manifest(names.iter().enumerate().map(|(index, name)| entry(name, grants(index))).collect())
}

#[test]
fn boxes_never_overlap_and_stay_inside() {
    for count in [1, 2, 5, 12] {
        let graph = Graph::new(&ladder(count));
        let picture = place::place(&graph, &layers::layers(&graph));
        for (index, area) in picture.boxes.iter().enumerate() {
            assert!(area.x >= 0 && area.x + area.width <= picture.width, "{area:?}");
            assert!(area.y >= 0 && area.y + area.height <= picture.height, "{area:?}");
            assert!(!picture.boxes[index + 1..].iter().any(|other| other.overlaps(area)), "{area:?}");
        }
    }
}

#[test]
fn every_arrow_points_down_and_meets_its_boxes() {
    let graph = Graph::new(&ladder(8));
    let picture = place::place(&graph, &layers::layers(&graph));
    assert_eq!(picture.curves.len(), graph.edges.len());
    for (edge, curve) in graph.edges.iter().zip(&picture.curves) {
        let (from, to) = (picture.boxes[edge.from], picture.boxes[edge.to]);
        let (first, last) = (curve.points[0], curve.points[curve.points.len() - 1]);
        assert!((from.x..=from.x + from.width).contains(&first.x) && first.y == from.y + from.height);
        assert!((to.x..=to.x + to.width).contains(&last.x) && last.y == to.y);
        assert!(curve.points.is_sorted_by_key(|point| point.y));
    }
}

#[test]
fn a_crossing_that_can_be_avoided_is() {
    let graph = Graph::new(&manifest(vec![
        entry("a", vec![export("d")]),
        entry("b", vec![export("c")]),
        entry("c", vec![]),
        entry("d", vec![]),
    ]));
    let picture = place::place(&graph, &layers::layers(&graph));
    let x = |node: usize| picture.boxes[node].center();
    assert_eq!(x(0) < x(1), x(3) < x(2));
}

#[test]
fn kernel_objects_are_shared_and_devices_are_not() {
    let graph =
        Graph::new(&manifest(vec![entry("a", vec![clock(), device()]), entry("b", vec![clock(), device()])]));
    assert_eq!(graph.nodes.len(), 2 + 1 + 2);
    assert_eq!(graph.edges.len(), 4);
}

#[test]
fn the_picture_names_every_process_and_grant() {
    let text = svg(&manifest(vec![entry("a", vec![export("b"), device()]), entry("b", vec![clock()])]));
    for part in ["data-name=\"a\"", "data-name=\"b\"", ">to-b<", ">device<", ">clock<", ">DMA trusted<"] {
        assert!(text.contains(part), "{part} in {text}");
    }
}

#[test]
fn hostile_names_are_escaped_and_a_cycle_is_still_drawn() {
    let text = svg(&manifest(vec![entry("<&\">", vec![export("b")]), entry("b", vec![export("<&\">")])]));
    assert!(text.contains("data-name=\"&lt;&amp;&quot;&gt;\""));
    assert!(text.ends_with("</svg>\n"));
}
