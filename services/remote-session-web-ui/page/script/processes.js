// The table of processes.

function cell(className, ...children) {
  return element("td", { className }, ...children);
}

function processRow() {
  return element("tr", {},
    element("th", { scope: "row" }), cell("", element("span", { className: "state" })), cell("n"),
    cell("m", element("span"), element("span", { className: "wide" }), bar()), cell("n wide"), cell("n wide"), cell("n wide"), cell("n"), cell("problem wide"));
}

function showProcesses(state, change) {
  const of = ([used, quota]) => (quota ? `${whole.format(used)} / ${whole.format(quota)}` : "–");
  follow($("processes").tBodies[0], state.processes, (it) => keyOf(state, it), processRow, (row, it) => {
    const [name, status, cpu, memory, handles, threads, dma, restarts, problem] = row.cells;
    put(name, it.name);
    put(status.firstChild, it.state);
    status.firstChild.dataset.state = it.state;
    put(cpu, percent(change.cpu.get(keyOf(state, it)) ?? null));
    put(memory.children[0], it.frames[1] ? pages(it.frames[0]) : "–");
    put(memory.children[1], it.frames[1] ? ` / ${pages(it.frames[1])}` : "");
    setBar(memory.lastChild, ...it.frames);
    put(handles, of(it.handles));
    put(threads, of(it.threads));
    put(dma, it.dma[1] ? `${pages(it.dma[0])} / ${pages(it.dma[1])}` : "–");
    put(restarts, whole.format(it.restarts));
    put(problem, it.problem);
    name.title = it.problem;
  });
}

// The name, which stays when a process is started again; with a number when several have it.
function keyOf(state, process) {
  const same = state.processes.filter((it) => it.name === process.name);
  return same.length === 1 ? process.name : `${process.name} #${same.indexOf(process)}`;
}
