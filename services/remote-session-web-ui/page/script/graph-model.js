// The graph: what is in it.

// Kernel objects that are worth a node. The rest (calls, timers, threads ...) is a process's own plumbing.
const NAMED = {
  pciInventory: "PciInventory", kernelLog: "KernelLog", systemInfo: "SystemInfo", power: "Power",
  processManager: "ProcessManager", ioPortManager: "IoPortManager", legacyInterruptManager: "LegacyInterruptManager",
  clock: "Clock",
};
const plain = (name) => name.replace(/[^a-z0-9]/gi, "").toLowerCase();
const DEVICE_PARTS = { deviceMmio: "registers", interrupt: "interrupt", dmaPool: "DMA pool" };

const partsOf = new Map();

// Nodes by id and edges by "from to"; the order follows the manifest, so that a picture of the same system is the same.
function graphOf(state) {
  const nodes = new Map();
  const edges = new Map();
  const names = state.processes.map((it) => keyOf(state, it));
  const idOf = (name) => `process ${name}`;
  const root = names[0] === "init" ? idOf("init") : null;

  function node(id, kind, title) {
    if (!nodes.has(id)) nodes.set(id, { id, kind, lines: [title], parts: new Map() });
    return nodes.get(id);
  }
  function edge(from, to, label, live) {
    const key = `${from} ${to}`;
    if (from === to) return null;
    if (!edges.has(key)) edges.set(key, { key, from, to, labels: new Set(), live: false, shared: 0 });
    const it = edges.get(key);
    if (label) it.labels.add(label);
    it.live ||= live;
    return it;
  }
  const object = (title) => node(`kernel ${plain(title)}`, "kernel", title);
  function device(address) {
    const it = node(`device ${address}`, "device", address);
    const info = state.devices.find((other) => other.address === address);
    if (info && it.lines.length === 1) it.lines.push(className(info), deviceId(info));
    return it;
  }

  state.processes.forEach((it, index) => {
    node(idOf(names[index]), "process", it.name).process = it;
  });
  state.processes.forEach((it, index) => {
    const from = idOf(names[index]);
    for (const [name, giver, what] of it.grants) {
      // Everyone has these two: a log writer, and the supervisor.
      if (name === "log" || what === "LogWriter" || (name === "supervisor" && giver === "init")) continue;
      const address = /^PciFunction .*?(([0-9a-f]{4}:)?[0-9a-f]{2}:[0-9a-f]{2}\.[0-7])/.exec(what);
      if (address) edge(from, device(address[1]).id, name, false);
      else if (giver === "kernel") edge(from, object(what).id, plain(name) === plain(what) ? "" : name, false);
      else if (nodes.has(idOf(giver))) edge(from, idOf(giver), name, false);
    }
  });
  state.processes.forEach((it, index) => {
    const from = idOf(names[index]);
    const own = [];
    for (const [kind, target, count] of it.holds) {
      if (kind === "facet" && typeof target === "number") {
        // The supervisor's own facet is one that everyone has.
        const known = edges.get(`${from} ${idOf(names[target])}`);
        if (known) known.live = true;
        else if (idOf(names[target]) !== root) edge(from, idOf(names[target]), count > 1 ? `×${count}` : "", true);
      } else if (kind === "pciFunction" && typeof target === "string") {
        edge(from, device(target).id, "", true);
        own.push(device(target));
      } else if (NAMED[kind]) {
        edge(from, object(NAMED[kind]).id, "", true);
      } else if (kind === "ioPort" || kind === "interrupt" || kind === "logWriter") {
        for (const other of edges.values()) if (other.from === from && /^kernel (ioport|ports|isa|interrupt)/.test(other.to)) other.live = true;
      }
    }
    if (from !== root && own.length === 1) {
      for (const [kind, , count] of it.holds) if (DEVICE_PARTS[kind]) own[0].parts.set(DEVICE_PARTS[kind], count);
    }
  });
  for (const [one, two, count] of state.shared) {
    const [a, b] = [idOf(names[one]), idOf(names[two])];
    if (a === root || b === root) continue;
    const it = edges.get(`${a} ${b}`) || edges.get(`${b} ${a}`) || edge(a, b, "", true);
    it.shared = count;
  }
  for (const it of nodes.values()) {
    // Between two runs of its driver a device keeps the line that it had.
    if (it.parts.size) partsOf.set(it.id, it.parts);
    else it.parts = partsOf.get(it.id) || it.parts;
    if (it.parts.size) it.lines.push([...it.parts].map(([part, count]) => (count > 1 ? `${part} ×${count}` : part)).join(", "));
  }
  // What init handed out it holds as well: those edges are drawn only while it is pointed at.
  for (const it of edges.values()) {
    it.root = it.from === root && [...edges.values()].some((other) => other.to === it.to && other.from !== root);
  }
  if (root) for (const it of nodes.values()) if (it.kind === "process" && it.id !== root) {
    const known = edges.get(`${root} ${it.id}`);
    if (!known) Object.assign(edge(root, it.id, "", true), { root: true });
  }
  gather(nodes, edges);
  return { nodes, edges };
}

// Kernel objects with the same single holder share one node.
function gather(nodes, edges) {
  const groups = new Map();
  for (const it of [...nodes.values()].filter((it) => it.kind === "kernel")) {
    const held = [...edges.values()].filter((edge) => edge.to === it.id && !edge.root);
    if (held.length !== 1) continue;
    const [edge] = held;
    const group = groups.get(edge.from);
    if (!group) {
      groups.set(edge.from, { node: it, edge });
      continue;
    }
    group.node.lines.push(it.lines[0]);
    group.edge.live ||= edge.live;
    group.edge.labels.clear();
    nodes.delete(it.id);
    for (const [key, other] of edges) if (other.to === it.id) edges.delete(key);
  }
}
