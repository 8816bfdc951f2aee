// Makes and fills elements; writes numbers for people.

const PAGE = 4096;

const $ = (id) => document.getElementById(id);

function put(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

function element(tag, properties, ...children) {
  const node = document.createElement(tag);
  Object.assign(node, properties);
  node.append(...children);
  return node;
}

function drawn(tag, attributes, ...children) {
  const node = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const name in attributes) node.setAttribute(name, attributes[name]);
  node.append(...children);
  return node;
}

// Makes the children of `parent` follow `items`: one node a key, made once, updated each time, in order.
function follow(parent, items, keyOf, make, update) {
  const old = new Map([...parent.children].map((node) => [node.dataset.key, node]));
  items.forEach((item, index) => {
    const key = String(keyOf(item));
    let node = old.get(key);
    if (node) old.delete(key);
    else {
      node = make(item);
      node.dataset.key = key;
    }
    if (parent.children[index] !== node) parent.insertBefore(node, parent.children[index] || null);
    update(node, item);
  });
  old.forEach((node) => node.remove());
}

const whole = new Intl.NumberFormat("en-US");

function bytes(count) {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let unit = 0;
  while (count >= 1000 && unit < units.length - 1) {
    count /= 1024;
    unit += 1;
  }
  return `${unit && count < 100 ? count.toFixed(1) : Math.round(count)} ${units[unit]}`;
}

const pages = (count) => bytes(count * PAGE);
const percent = (share) => (share === null ? "–" : `${(share * 100).toFixed(share < 0.0995 ? 1 : 0)} %`);

function duration(seconds) {
  const two = (number) => String(Math.floor(number)).padStart(2, "0");
  const clock = `${two((seconds / 3600) % 24)}:${two((seconds / 60) % 60)}:${two(seconds % 60)}`;
  return seconds < 86400 ? clock : `${Math.floor(seconds / 86400)} d ${clock}`;
}

// How fast a counter grows a second; null when that cannot be said, as after a restart.
function rate(now, before, seconds) {
  return before === undefined || before === null || now < before || !(seconds > 0) ? null : (now - before) / seconds;
}

function bar() {
  return element("span", { className: "bar" }, element("i"));
}

function setBar(node, part, all) {
  const share = all > 0 ? Math.min(part / all, 1) : 0;
  node.classList.toggle("high", share > 0.9);
  node.firstChild.style.width = `${(share * 100).toFixed(1)}%`;
}
