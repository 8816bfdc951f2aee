// What changed from one look to the next.

function changes(state, before) {
  const uptime = state.summary && state.summary.uptimeMicroseconds;
  const seconds = before && before.summary && uptime ? (uptime - before.summary.uptimeMicroseconds) / 1e6 : 0;
  const change = { fresh: !before || seconds > 0, cpu: new Map(), busy: null, received: null, sent: null };
  for (const it of state.processes) {
    const old = before && before.processes.find((other) => other.id === it.id && other.name === it.name);
    if (it.id && it.cpu !== null && old && old.cpu !== null) {
      const share = rate(it.cpu, old.cpu, seconds);
      change.cpu.set(keyOf(state, it), share === null ? null : share / 1e6);
    }
  }
  const idle = state.processors.map((it, index) => rate(it.idleMicroseconds, before?.processors[index]?.idleMicroseconds, seconds));
  if (idle.length && !idle.includes(null)) {
    change.busy = Math.min(Math.max(1 - idle.reduce((sum, it) => sum + it, 0) / 1e6 / idle.length, 0), 1);
  }
  if (state.network) {
    const [now, old] = [state.network.counters, before?.network?.counters];
    change.received = rate(now.receivedBytes, old?.receivedBytes, seconds);
    change.sent = rate(now.sentBytes, old?.sentBytes, seconds);
  }
  return change;
}
