// The crashes that init remembers, the newest first. The page is not shown registers, stacks and messages: they may hold secrets.

function crashView(it, open) {
  const when = `${duration(it.atMicroseconds / 1e6)}, ${(it.livedMicroseconds / 1e6).toFixed(1)} s after its start`;
  return element("details", { open },
    element("summary", {}, element("b", { textContent: it.process }), ` ${it.cause} `, element("span", { className: "muted", textContent: when })),
    listOf("Code", [[it.instruction, ...it.trace].join(" ← ")]),
    listOf("It held", [it.held.map(([kind, count]) => `${count} ${kind}`).join(", ") || "nothing"]),
    callsOf(it));
}

// Its calls: the last ones of each thread, then those that were in flight.
function callsOf(it) {
  const rows = it.lastCalls.flatMap((last) => [
    last.received && [`thread ${last.thread} received last`, last.received, last.answered ? "answered" : "not answered"],
    last.made && [`thread ${last.thread} made last`, last.made, ""],
  ]).filter(Boolean);
  for (const call of it.inFlight) {
    rows.push([`in flight, ${call.kind}`, call.method, call.process && `${call.kind === "made" ? "to" : "by"} ${call.process}`]);
  }
  if (!rows.length) return listOf("Calls", []);
  const line = (cells, tag) => element("tr", {}, ...cells.map((textContent) => element(tag, { textContent })));
  return element("div", { className: "scroll" }, element("table", {},
    element("thead", {}, line(["Call", "Method", ""], "th")),
    element("tbody", {}, ...rows.map((cells) => line(cells, "td")))));
}

function showCrashes(state) {
  $("crashes").hidden = !state.crashes.length;
  const newest = state.crashes.at(-1);
  follow($("crash-list"), [...state.crashes].reverse(), (it) => it.number, (it) => crashView(it, it === newest), () => {});
}
