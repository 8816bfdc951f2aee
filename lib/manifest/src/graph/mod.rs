//! The picture of who holds what: processes, the kernel objects, devices and parts of init that they
//! are granted, and an arrow from each holder to what it holds.
//!
//! ```text
//!   Manifest --Graph::new--> Graph --layers--> ranks and orders --place--> boxes --svg--> text
//! ```

mod layers;
mod place;
mod svg;
#[cfg(test)]
mod tests;

use crate::model::{DeviceMatch, DmaMode, Entry, Manifest, Presence, Source};
use alloc::{format, string::String, string::ToString, vec, vec::Vec};

/// Draws a manifest as a standalone SVG that follows the viewer's light or dark colours.
pub fn svg(manifest: &Manifest) -> String {
    let graph = Graph::new(manifest);
    let picture = place::place(&graph, &layers::layers(&graph));
    svg::draw(&graph, &picture)
}

/// What is drawn.
struct Graph {
    name: String,
    nodes: Vec<Node>,
    edges: Vec<Edge>,
}

/// What a node stands for; decides its colours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Process,
    Kernel,
    Device,
    Init,
}

/// One box.
#[derive(Debug)]
struct Node {
    kind: Kind,
    title: String,
    /// Smaller lines under the title.
    details: Vec<String>,
    /// A line that warns.
    warning: Option<&'static str>,
    presence: Presence,
}

/// One arrow, from a holder to what it holds; both are indexes of nodes.
#[derive(Debug)]
struct Edge {
    from: usize,
    to: usize,
    label: String,
}

impl Graph {
    fn new(manifest: &Manifest) -> Self {
        let nodes = manifest.entries.iter().map(Node::process).collect();
        let mut graph = Self { name: manifest.name.clone(), nodes, edges: Vec::new() };
        for (from, entry) in manifest.entries.iter().enumerate() {
            for grant in &entry.grants {
                // A grant of a process that does not exist has no box to point to.
                let Some(to) = graph.held(manifest, &grant.source) else { continue };
                graph.edges.push(Edge { from, to, label: grant.name.clone() });
            }
        }
        graph
    }

    /// The node for what a grant gives. Devices, ports and lines have one each, the rest is shared.
    fn held(&mut self, manifest: &Manifest, source: &Source) -> Option<usize> {
        let node = match source {
            Source::Export(export) => return manifest.position(&export.process),
            Source::Device(device) => Node::device(device),
            Source::Ports(range) => Node::object(Kind::Device, range.to_string(), "I/O ports"),
            Source::IsaInterrupt(line) => Node::object(Kind::Device, format!("ISA line {line}"), "interrupt"),
            Source::Kernel(object) => Node::object(Kind::Kernel, object.to_string(), "kernel"),
            Source::Supervisor(part) => Node::object(Kind::Init, part.to_string(), "init"),
        };
        let shared = matches!(node.kind, Kind::Kernel | Kind::Init);
        let known = self
            .nodes
            .iter()
            .position(|other| shared && other.kind == node.kind && other.title == node.title);
        Some(known.unwrap_or_else(|| {
            self.nodes.push(node);
            self.nodes.len() - 1
        }))
    }
}

impl Node {
    fn process(entry: &Entry) -> Self {
        let quotas = &entry.quotas;
        let mut details = vec![
            format!("priority {} · {}", entry.priority, memory(quotas.frames)),
            format!("{} handles · {}", quotas.handles, plural(quotas.threads, "thread")),
        ];
        if quotas.dma_pages != 0 {
            details.push(format!("{} of DMA", memory(quotas.dma_pages)));
        }
        if entry.binary != entry.name {
            details.push(format!("binary {}", entry.binary));
        }
        Self {
            kind: Kind::Process,
            title: entry.name.clone(),
            details,
            warning: None,
            presence: Presence::Required,
        }
    }

    fn device(device: &DeviceMatch) -> Self {
        let mut details: Vec<String> = Vec::new();
        let words = device.to_string();
        let mut parts = words.split(", ");
        let title = format!("PCI {}", parts.next().unwrap_or_default());
        details.extend(parts.map(String::from));
        if device.presence == Presence::Optional {
            details.push("optional".into());
        }
        let warning = match device.dma {
            DmaMode::None => None,
            DmaMode::Isolated => {
                details.push("DMA behind the IOMMU".into());
                None
            }
            DmaMode::Trusted => Some("DMA trusted"),
        };
        Self { kind: Kind::Device, title, details, warning, presence: device.presence }
    }

    fn object(kind: Kind, title: String, what: &str) -> Self {
        Self { kind, title, details: vec![what.into()], warning: None, presence: Presence::Required }
    }
}

/// Pages of 4 KiB as a size.
fn memory(pages: u32) -> String {
    let kibibytes = u64::from(pages) * 4;
    match kibibytes {
        0..1024 => format!("{kibibytes} KiB"),
        _ if kibibytes % 1024 == 0 => format!("{} MiB", kibibytes / 1024),
        _ => format!("{}.{} MiB", kibibytes / 1024, kibibytes % 1024 * 10 / 1024),
    }
}

fn plural(count: u16, what: &str) -> String {
    if count == 1 { format!("1 {what}") } else { format!("{count} {what}s") }
}
