// The log's tail.

const LOG_LINES = 160;

const log = { epoch: null, next: 0, following: true };

async function readLog() {
  const part = await ask(`/api/log?after=${log.next}`);
  const box = $("log");
  if (log.epoch !== part.epoch) {
    const again = log.epoch !== null && log.next !== 0;
    log.epoch = part.epoch;
    log.next = 0;
    box.replaceChildren();
    if (again) return readLog();
  }
  log.next = part.next;
  if (!part.lines.length) return;
  for (const line of part.lines) {
    box.append(element("div", { textContent: line, className: /\b(panic|fault|error|failed)\b/i.test(line) ? "strong" : "" }));
  }
  while (box.childElementCount > LOG_LINES) box.firstChild.remove();
  if (log.following) box.scrollTop = box.scrollHeight;
}

$("log").addEventListener("scroll", () => {
  const box = $("log");
  log.following = box.scrollTop + box.clientHeight >= box.scrollHeight - 8;
  $("follow").hidden = log.following;
});

$("follow").addEventListener("click", () => {
  $("log").scrollTop = $("log").scrollHeight;
});
