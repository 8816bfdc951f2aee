// Asks the system once a second, and says when it does not answer.

// Milliseconds between two looks, and at most between two tries while the system does not answer.
const PERIOD = 1000;
const LONGEST_PAUSE = 5000;

let current = null;
let lastChange = null;
let lastAnswer = performance.now();
let failures = 0;
let nextTry = 0;
let timer = 0;

async function ask(path) {
  const response = await fetch(path, { cache: "no-store", credentials: "omit", signal: AbortSignal.timeout(4000) });
  if (!response.ok) throw new Error(`${path} answered ${response.status}`);
  return response.json();
}

const PARTS = { "system-info": "summary", status: "processes", network: "network", pci: "devices", "kernel-log": "log" };

function showNotes(state) {
  for (const what in PARTS) {
    const note = $(`note-${PARTS[what]}`);
    const why = state.absent.filter((it) => it.what === what).map((it) => `${what}: ${it.why}`);
    if (what === "status" && state.truncated.length) why.push(`The lists are cut: ${state.truncated.join(", ")}.`);
    note.hidden = !why.length;
    put(note, why.join(" "));
  }
}

async function look() {
  clearTimeout(timer);
  let pause = PERIOD;
  try {
    const state = await ask("/api/state");
    lastChange = changes(state, current);
    current = state;
    showSummary(state, lastChange);
    showNotes(state);
    showGraph(state, lastChange);
    showProcesses(state, lastChange);
    showCrashes(state);
    showNetwork(state, lastChange);
    showDevices(state);
    await readLog();
    lastAnswer = performance.now();
    failures = 0;
  } catch (error) {
    console.warn(String(error));
    failures += 1;
    pause = Math.min(PERIOD * 1.5 ** (failures - 1), LONGEST_PAUSE);
  }
  nextTry = performance.now() + pause;
  showConnection();
  timer = setTimeout(look, document.hidden ? Math.max(pause, LONGEST_PAUSE) : pause);
}

function showConnection() {
  const box = $("connection");
  const silent = Math.round((performance.now() - lastAnswer) / 1000);
  const lost = failures > 0 && silent > 1;
  const soon = Math.max(Math.ceil((nextTry - performance.now()) / 1000), 0);
  box.dataset.state = lost ? "lost" : current ? "live" : "waiting";
  $("page").classList.toggle("stale", lost && current !== null);
  put(box, lost ? `no answer for ${silent} s, ${soon ? `trying again in ${soon} s` : "trying again"}` : current ? "live" : "connecting");
}

setInterval(showConnection, 1000);
document.addEventListener("visibilitychange", () => {
  if (!document.hidden) look();
});
look();
