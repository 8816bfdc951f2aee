// The machine and its kernel: one tile a fact.

function tile(title, value, detail, share, weak) {
  return { title, value, detail, share, weak };
}

function showSummary(state, change) {
  const it = state.summary;
  const weak = it && (it.dmaMode === "direct" || it.dmaMode === "");
  const used = it ? it.memoryFrames - it.freeFrames : 0;
  const [clock, how = ""] = it ? it.clockSource.split(" (") : [];
  put($("version"), it ? [it.version, it.commit.slice(0, 12)].filter(Boolean).join(" · ") : "");
  const tiles = !it ? [] : [
    tile("Up", duration(it.uptimeMicroseconds / 1e6), it.manifest && `manifest ${it.manifest}`),
    tile("Processors", String(it.processors), change.busy === null ? it.machine : `${percent(change.busy)} busy`, change.busy),
    tile("Memory", pages(used), `of ${pages(it.memoryFrames)}, kernel ${pages(it.kernelFrames)}`, used / it.memoryFrames),
    tile("Machine", it.machine, it.bootLoader && `by ${it.bootLoader}`),
    tile("Clock", clock, [how.slice(0, -1), it.clockEvent && `wakes by ${it.clockEvent}`].filter(Boolean).join(", ")),
    weak
      ? tile("Device DMA", "weaker mode", "no IOMMU: drivers with DMA are trusted", null, true)
      : tile("Device DMA", it.dmaMode, "devices reach only their own"),
  ];
  follow($("summary"), tiles, (it) => it.title,
    (it) => element("div", {}, element("dt", { textContent: it.title }), element("dd"), element("dd"), bar()),
    (node, it) => {
      node.classList.toggle("weak", Boolean(it.weak));
      put(node.children[1], it.value || "–");
      put(node.children[2], it.detail || "");
      node.children[3].hidden = typeof it.share !== "number";
      if (typeof it.share === "number") setBar(node.children[3], it.share, 1);
    });
}
