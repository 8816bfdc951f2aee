// The graph: where everything goes.

const pen = document.createElement("canvas").getContext("2d");

function widthOf(text, font) {
  pen.font = `${font} ${getComputedStyle(document.body).fontFamily}`;
  return pen.measureText(text).width;
}

function measure(it) {
  const [first, ...rest] = it.lines;
  const widths = [widthOf(first, "600 13px") + (it.kind === "process" ? 40 : 26), ...rest.map((line) => widthOf(line, "11.5px") + 26)];
  it.w = Math.min(Math.max(...widths, it.kind === "process" ? 132 : 96), 320);
  it.h = it.kind === "process" ? 50 : 14 + 17 * it.lines.length;
}

// Layers by the longest way from a holder, order inside a layer by the neighbours' places, then positions. `along` is the
// direction that edges run in: right on a wide screen, down on a narrow one.
function layOut({ nodes, edges }, width) {
  const down = width < 700;
  const list = [...nodes.values()];
  const lines = [...edges.values()].filter((it) => !it.root);
  list.forEach(measure);
  const out = new Map(list.map((it) => [it.id, []]));
  lines.forEach((it) => out.get(it.from).push(it));

  // Longest ways; an edge that would close a circle does not count.
  const mark = new Map();
  const order = [];
  (function visit(ids) {
    for (const id of ids) {
      if (mark.has(id)) continue;
      mark.set(id, "open");
      for (const it of out.get(id)) {
        it.back = mark.get(it.to) === "open";
        if (!it.back) visit([it.to]);
      }
      mark.set(id, "done");
      order.unshift(id);
    }
  })(list.map((it) => it.id));
  list.forEach((it) => (it.layer = 0));
  for (const id of order) {
    for (const it of out.get(id)) {
      if (!it.back) nodes.get(it.to).layer = Math.max(nodes.get(it.to).layer, nodes.get(id).layer + 1);
    }
  }

  // Layers that are too long for the screen are broken into several.
  let layers = [];
  for (const it of list) (layers[it.layer] ||= []).push(it);
  if (down) {
    layers = layers.flatMap((layer) => {
      const rows = [[]];
      let used = 0;
      for (const it of layer) {
        if (used && used + it.w > width - 48) {
          rows.push([]);
          used = 0;
        }
        rows.at(-1).push(it);
        used += it.w + 20;
      }
      return rows;
    });
  }
  layers.forEach((layer, index) => layer.forEach((it) => (it.layer = index)));

  // Long edges get a place in each layer that they pass.
  for (const it of lines) {
    let [a, b] = [nodes.get(it.from), nodes.get(it.to)];
    it.flip = a.layer > b.layer;
    if (it.flip) [a, b] = [b, a];
    it.way = [a];
    for (let layer = a.layer + 1; layer < b.layer; layer += 1) {
      const place = { layer, w: 4, h: down ? 4 : 22, via: true };
      layers[layer].push(place);
      it.way.push(place);
    }
    it.way.push(b);
  }
  const near = new Map(layers.flat().map((it) => [it, { up: [], down: [] }]));
  for (const it of lines) {
    for (let i = 1; i < it.way.length; i += 1) {
      near.get(it.way[i - 1]).down.push(it.way[i]);
      near.get(it.way[i]).up.push(it.way[i - 1]);
    }
  }
  const mean = (items, of) => items.reduce((sum, it) => sum + of(it), 0) / items.length;
  sortLayers(layers, near, mean);

  // Across: everyone is pulled towards its neighbours and keeps its distance.
  const size = (it) => (down ? it.w : it.h);
  const gap = down ? 16 : 18;
  const spread = (layer) => {
    const room = (i) => (size(layer[i - 1]) + size(layer[i])) / 2 + (layer[i].via || layer[i - 1].via ? gap / 2 : gap);
    const low = [];
    const high = [];
    layer.forEach((it, i) => (low[i] = i ? Math.max(it.wish, low[i - 1] + room(i)) : it.wish));
    for (let i = layer.length - 1; i >= 0; i -= 1) {
      high[i] = i < layer.length - 1 ? Math.min(layer[i].wish, high[i + 1] - room(i + 1)) : layer[i].wish;
    }
    layer.forEach((it, i) => (it.across = (low[i] + high[i]) / 2));
    // On a narrow screen a layer must not leave it, if it fits at all.
    const most = down ? width / 2 - 8 : Infinity;
    for (let i = layer.length - 1; i >= 0; i -= 1) {
      layer[i].across = Math.min(layer[i].across, i < layer.length - 1 ? layer[i + 1].across - room(i + 1) : most - size(layer[i]) / 2);
    }
    for (let i = 0; i < layer.length; i += 1) {
      layer[i].across = Math.max(layer[i].across, i ? layer[i - 1].across + room(i) : size(layer[i]) / 2 - most);
    }
  };
  for (const layer of layers) {
    layer.forEach((it) => (it.wish = 0));
    spread(layer);
  }
  for (let sweep = 0; sweep < 24; sweep += 1) {
    for (const layer of sweep % 2 ? [...layers].reverse() : layers) {
      layer.forEach((it) => {
        const all = [...near.get(it).up, ...near.get(it).down];
        it.wish = all.length ? mean(all, (other) => other.across) : it.across;
      });
      spread(layer);
    }
  }
  const low = Math.min(...layers.flat().map((it) => it.across - size(it) / 2));
  const high = Math.max(...layers.flat().map((it) => it.across + size(it) / 2));
  const margin = 6;
  const shift = margin - low + (down ? Math.max(0, (width - (high - low) - 2 * margin) / 2) : 0);

  // Along: layer after layer, with what room there is between them.
  const thick = layers.map((layer) => Math.max(...layer.map((it) => (it.via ? 0 : down ? it.h : it.w))));
  const total = thick.reduce((sum, it) => sum + it, 0);
  const busy = thick.map((_, index) => Math.sqrt(lines.filter((it) =>
    it.way.some((a, i) => it.way[i + 1] && a.layer === index)).length + 1)).slice(0, -1);
  const spare = Math.min(width - 2 * margin - total, 230 * busy.length);
  const between = busy.map((it) => (down ? 40 + 6 * it : Math.max(spare * it / busy.reduce((sum, other) => sum + other, 0), 64)));
  const used = total + between.reduce((sum, it) => sum + it, 0) + 2 * margin;
  let along = margin + (down ? 0 : Math.max(0, (width - used) / 2));
  layers.forEach((layer, index) => {
    for (const it of layer) {
      const middle = along + thick[index] / 2;
      [it.x, it.y] = down ? [it.across + shift, middle] : [middle, it.across + shift];
    }
    along += thick[index] + (between[index] || 0);
  });
  const length = along + margin;
  const breadth = high - low + 2 * margin;
  return { down, lines, layers, width: down ? Math.max(width, breadth) : Math.max(width, length), height: down ? length : breadth };
}

// Puts each layer into an order with few crossings: by the means of the neighbours' places, up and down, then by
// exchanging neighbours while that helps.
function sortLayers(layers, near, mean) {
  const place = (layer) => layer.forEach((it, index) => (it.rank = (index + 0.5) / layer.length));
  const crossings = (a, b) => {
    let count = 0;
    for (const side of ["up", "down"]) {
      for (const x of near.get(a)[side]) for (const y of near.get(b)[side]) count += x.rank > y.rank ? 1 : 0;
    }
    return count;
  };
  const total = () => layers.reduce((sum, layer) => sum + layer.reduce((all, it, i) =>
    all + layer.slice(i + 1).reduce((part, other) => part + crossings(it, other), 0), 0), 0);
  layers.forEach(place);
  let best = { count: total(), orders: layers.map((layer) => [...layer]) };
  for (let sweep = 0; sweep < 16 && best.count; sweep += 1) {
    const side = sweep % 2 ? "down" : "up";
    for (const layer of sweep % 2 ? [...layers].reverse() : layers) {
      layer.forEach((it) => (it.wish = near.get(it)[side].length ? mean(near.get(it)[side], (other) => other.rank) : it.rank));
      layer.sort((a, b) => a.wish - b.wish);
      place(layer);
      for (let i = 1; i < layer.length; i += 1) {
        if (crossings(layer[i], layer[i - 1]) < crossings(layer[i - 1], layer[i])) {
          [layer[i - 1], layer[i]] = [layer[i], layer[i - 1]];
          place(layer);
        }
      }
    }
    const count = total();
    if (count < best.count) best = { count, orders: layers.map((layer) => [...layer]) };
  }
  layers.forEach((layer, index) => layer.splice(0, layer.length, ...best.orders[index]));
}

// A smooth way through the places of an edge, and the points where a label may stand.
function route(edge, down) {
  const at = edge.way.map((it, index) => {
    const last = edge.way.length - 1;
    const half = it.via ? 0 : (down ? it.h : it.w) / 2;
    const before = { x: down ? it.x : it.x - half, y: down ? it.y - half : it.y };
    const after = { x: down ? it.x : it.x + half, y: down ? it.y + half : it.y };
    return index === 0 ? [after] : index === last ? [before] : [it];
  }).flat();
  let d = `M${at[0].x} ${at[0].y}`;
  const spots = [];
  for (let i = 1; i < at.length; i += 1) {
    const [a, b] = [at[i - 1], at[i]];
    const bend = down ? [a.x, (a.y + b.y) / 2, b.x, (a.y + b.y) / 2] : [(a.x + b.x) / 2, a.y, (a.x + b.x) / 2, b.y];
    d += `C${bend.join(" ")} ${b.x} ${b.y}`;
    for (const t of [0.6, 0.52, 0.68, 0.44, 0.76, 0.36, 0.28, 0.84, 0.2]) {
      const s = 1 - t;
      const mix = (p0, p1, p2, p3) => s * s * s * p0 + 3 * s * s * t * p1 + 3 * s * t * t * p2 + t * t * t * p3;
      spots.push([mix(a.x, bend[0], bend[2], b.x), mix(a.y, bend[1], bend[3], b.y)]);
    }
  }
  return { d, spots };
}
