// The graph: the picture.

const graph = { key: "", model: null, views: new Map(), chosen: null, pointed: null };

function shorten(text, most) {
  return text.length > most ? `${text.slice(0, most - 1)}…` : text;
}

function labelOf(edge) {
  const labels = [...edge.labels];
  return shorten(labels.length > 2 ? `${labels[0]} and ${labels.length - 1} more` : labels.join(", "), 26);
}

function drawNode(it) {
  const box = drawn("g", {
    class: `node ${it.kind}`, transform: `translate(${(it.x - it.w / 2).toFixed(1)} ${(it.y - it.h / 2).toFixed(1)})`, tabindex: "0",
    role: it.kind === "process" ? "button" : "img", "aria-label": `${it.kind} ${it.lines.join(", ")}`, "data-name": it.lines[0],
  }, drawn("rect", { width: it.w, height: it.h, rx: it.kind === "process" ? 7 : Math.min(it.h / 2, 17) }));
  const left = it.kind === "process";
  it.lines.forEach((line, index) => {
    box.append(drawn("text", {
      class: index || it.kind === "kernel" ? (it.kind === "kernel" ? "" : "sub") : "name",
      x: left ? 28 : it.w / 2, y: left ? 21 : 20 + 17 * index, "text-anchor": left ? "start" : "middle",
    }, shorten(line, left ? 36 : 48)));
  });
  if (left) box.append(drawn("circle", { cx: 16, cy: 16.5, r: 4 }), drawn("text", { class: "sub", x: 28, y: 38 }));
  for (const event of ["pointerenter", "focus"]) box.addEventListener(event, () => light(it.id));
  for (const event of ["pointerleave", "blur"]) box.addEventListener(event, () => light(null));
  box.addEventListener("click", () => choose(it));
  box.addEventListener("keydown", (event) => {
    if (event.key === "Enter" || event.key === " ") {
      event.preventDefault();
      choose(it);
    } else if (event.key === "Escape") choose(null);
  });
  return box;
}

function drawGraph(model, width) {
  const plan = layOut(model, width);
  const picture = $("graph");
  picture.setAttribute("width", plan.width);
  picture.setAttribute("height", plan.height);
  picture.replaceChildren(drawn("defs", {},
    drawn("marker", { id: "arrow", viewBox: "0 0 8 8", refX: 7, refY: 4, markerWidth: 7, markerHeight: 7, orient: "auto-start-reverse" },
      drawn("path", { id: "tip", d: "M0 .8 7.5 4 0 7.2z" }))));
  graph.views.clear();
  const under = drawn("g", {});
  const over = drawn("g", {});
  picture.append(under, over);
  const edges = [...model.edges.values()];
  for (const it of edges) {
    if (it.root) {
      it.way = [model.nodes.get(it.from), model.nodes.get(it.to)];
      it.flip = plan.down ? it.way[0].y > it.way[1].y : it.way[0].x > it.way[1].x;
      if (it.flip) it.way.reverse();
    }
    it.route = route(it, plan.down);
    const view = drawn("g", { class: "edge" });
    if (it.shared) view.append(drawn("path", { class: "band", d: it.route.d }));
    view.append(drawn("path", { d: it.route.d, [it.flip ? "marker-start" : "marker-end"]: "url(#arrow)" }));
    under.append(view);
    graph.views.set(it.key, view);
  }
  const taken = plan.layers.flat().filter((it) => !it.via).map((it) => [it.x - it.w / 2, it.y - it.h / 2, it.x + it.w / 2, it.y + it.h / 2]);
  for (const it of edges) if (!it.root) label(it, edges, taken, plan.width);
  for (const it of model.nodes.values()) {
    const view = drawNode(it);
    over.append(view);
    graph.views.set(it.id, view);
  }
}

// Writes an edge's label where it covers least of other labels, nodes and edges.
function label(it, edges, taken, width) {
  const text = [labelOf(it), it.shared ? `shared memory${it.shared > 1 ? ` ×${it.shared}` : ""}` : ""].filter(Boolean);
  if (!text.length) return;
  const half = Math.max(...text.map((line) => widthOf(line, "11.5px"))) / 2 + 2;
  const spots = it.route.spots.map(([x, y]) => [Math.min(Math.max(x, half), width - half), y]);
  const box = ([x, y]) => [x - half, y - 8 * text.length, x + half, y + 8 * text.length];
  const cost = (spot) => {
    const [l, t, r, b] = box(spot);
    const covered = taken.reduce((sum, [l2, t2, r2, b2]) =>
      sum + Math.max(Math.min(r, r2) - Math.max(l, l2), 0) * Math.max(Math.min(b, b2) - Math.max(t, t2), 0), 0);
    const crossed = edges.reduce((sum, other) => sum + (other === it || other.root ? 0 :
      other.route.spots.filter(([x, y]) => x > l && x < r && y > t && y < b).length), 0);
    return covered + 30 * crossed;
  };
  const costs = spots.map(cost);
  const spot = spots[costs.indexOf(Math.min(...costs))];
  taken.push(box(spot));
  text.forEach((line, index) => graph.views.get(it.key).append(drawn("text", {
    x: spot[0].toFixed(1), y: (spot[1] + 4 + 15 * (index - (text.length - 1) / 2)).toFixed(1),
  }, line)));
}

function showGraph(state, change) {
  const model = graphOf(state);
  const width = Math.max($("graph-box").clientWidth, 280);
  const key = JSON.stringify([width, [...model.nodes.values()].map((it) => [it.id, it.lines]),
    [...model.edges.values()].map((it) => [it.key, it.root, [...it.labels], it.shared])]);
  if (key !== graph.key) {
    graph.key = key;
    drawGraph(model, width);
  }
  graph.model = model;
  const edges = [...model.edges.values()];
  $("legend-dead").hidden = edges.every((it) => it.live || it.root);
  $("legend-shared").hidden = edges.every((it) => !it.shared);
  for (const it of edges) {
    graph.views.get(it.key).setAttribute("class", `edge${it.live ? "" : " dead"}${it.root ? " root" : ""}`);
  }
  for (const it of model.nodes.values()) {
    if (!it.process) continue;
    const view = graph.views.get(it.id);
    const { process } = it;
    const cpu = change.cpu.get(keyOf(state, process)) ?? null;
    const running = process.state === "running" && process.frames[1];
    view.dataset.state = process.state;
    put(view.lastChild, running ? `${pages(process.frames[0])}${cpu === null ? "" : ` · ${percent(cpu)}`}` : process.state);
  }
  light(graph.pointed);
  showDetail(state);
}

// Points out a node, or else the chosen one: its edges, and what is at their other ends.
function light(pointed) {
  graph.pointed = pointed;
  const id = pointed || graph.chosen;
  const on = new Set();
  if (id && graph.model?.nodes.has(id)) {
    on.add(id);
    for (const it of graph.model.edges.values()) {
      if (it.from === id || it.to === id && !it.root) on.add(it.key).add(it.from).add(it.to);
    }
  }
  $("graph").classList.toggle("lit", on.size > 0);
  graph.views.forEach((view, key) => {
    view.classList.toggle("on", on.has(key));
    view.classList.toggle("chosen", key === graph.chosen);
  });
}

function choose(node) {
  graph.chosen = node && node.id !== graph.chosen && node.kind === "process" ? node.id : null;
  light(graph.pointed);
  showDetail(current);
}

function listOf(title, items) {
  const list = element("ul");
  for (const item of items.length ? items : ["nothing"]) list.append(element("li", { textContent: item }));
  return element("div", {}, element("h3", { textContent: title }), list);
}

// What the chosen process was granted, offers, and holds at this moment.
function showDetail(state) {
  const box = $("detail");
  const process = graph.chosen && graph.model.nodes.get(graph.chosen)?.process;
  if (!process) {
    box.replaceChildren();
    box.dataset.key = "";
    return;
  }
  const crashes = state.crashes.filter((it) => it.process === process.name).reverse();
  const key = JSON.stringify([process.name, process.grants, process.exports, process.holds, crashes]);
  if (box.dataset.key === key) return;
  box.dataset.key = key;
  const name = (target) => (typeof target === "number" ? state.processes[target]?.name : target);
  const spaced = (kind) => kind.replace(/[A-Z]/g, (letter) => ` ${letter.toLowerCase()}`);
  box.replaceChildren(
    listOf(`${process.name} was granted`, process.grants.map(([grant, from, what]) => `${grant}: ${what} from ${from}`)),
    listOf("It offers", process.exports),
    listOf("It holds now", process.holds.map(([kind, target, count]) =>
      `${spaced(kind)}${target === null ? "" : kind === "facet" ? ` of ${name(target)}` : ` ${name(target)}`}${count > 1 ? ` ×${count}` : ""}`)));
  if (crashes.length) box.append(listOf("It crashed", crashes.map((it) => `at ${duration(it.atMicroseconds / 1e6)}: ${it.cause}`)));
}

addEventListener("resize", () => {
  if (current) showGraph(current, lastChange);
});
