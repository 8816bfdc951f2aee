// The network interface, with curves of what passes.

// Points of a curve.
const HISTORY = 60;

const curves = { in: [], out: [] };

function showNetwork(state, change) {
  const it = state.network;
  const shown = it ? [["Received", "in", change.received], ["Sent", "out", change.sent]] : [];
  follow($("rates"), shown, ([title]) => title,
    ([title]) => element("div", {}, element("span", { className: "muted", textContent: `${title} ` }), element("b"),
      drawn("svg", { viewBox: `0 0 ${HISTORY - 1} 34`, preserveAspectRatio: "none", "aria-hidden": "true" }, drawn("path", {}))),
    (node, [, curve, value]) => {
      if (change.fresh) curves[curve].push(value || 0);
      curves[curve].splice(0, curves[curve].length - HISTORY);
      put(node.children[1], value === null ? "–" : `${bytes(value)}/s`);
      const top = Math.max(...curves[curve], 1);
      const start = HISTORY - curves[curve].length;
      const points = curves[curve].map((y, x) => `${start + x} ${(32 - 28 * (y / top)).toFixed(1)}`);
      node.lastChild.firstChild.setAttribute("d", points.length ? `M${start} 36L${points.join("L")}L${HISTORY + 1} ${points.at(-1).split(" ")[1]}V36` : "");
    });
  const errors = it && it.counters.receiveErrors + it.counters.sendErrors + it.counters.droppedFrames;
  const facts = !it ? [] : [
    ["Address", it.address ? `${it.address} (${it.source})` : "none yet"],
    ["Lease", it.leaseSeconds ? `${duration(it.leaseSeconds)} left` : ""],
    ["Routes", it.routes.map(([to, by]) => `${to === "0.0.0.0/0" ? "default" : to} ${by ? `by ${by}` : "on link"}`).join(", ")],
    ["Name servers", it.dnsServers.join(", ")],
    ["Interface", `${it.name} ${it.mac}, MTU ${it.mtu}`],
    ["Link", !it.nicConnected ? "driver is restarting" : it.linkUp ? "up" : "down"],
    ["Sockets", `${it.tcpSockets} TCP, ${it.udpSockets} UDP`],
    ["Received", `${whole.format(it.counters.receivedFrames)} frames, ${bytes(it.counters.receivedBytes)}`],
    ["Sent", `${whole.format(it.counters.sentFrames)} frames, ${bytes(it.counters.sentBytes)}`],
    ["Interrupts", whole.format(it.counters.interrupts)],
    ["Refused", `${whole.format(errors)} frames`],
  ].filter(([, value]) => value);
  follow($("network"), facts, ([title]) => title,
    ([title]) => element("div", {}, element("dt", { textContent: title }), element("dd")),
    (node, [, value]) => put(node.lastChild, value));
}
