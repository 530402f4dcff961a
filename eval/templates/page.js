"use strict";
// The report's own script: filters and order of the gallery, turntables, and the 3D viewer's buttons and sliders.
const arrived = new Map();
function headFile(name, content) { arrived.set(name, content); } // called by the files in heads/
const find = (selector, within = document) => within.querySelector(selector);
const all = (selector, within = document) => [...within.querySelectorAll(selector)];
const still = matchMedia("(prefers-reduced-motion: reduce)");

// A link to a definition or to a prompt opens what it is folded into.
const unfold = () => {
  const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
  for (let node = target?.parentElement; node; node = node.parentElement) if (node.tagName === "DETAILS") node.open = true;
  target?.scrollIntoView();
};
addEventListener("hashchange", unfold);
unfold();

// Turntables run while one points at an avatar or focuses it, unless motion is unwanted.
for (const video of all(".open video")) {
  const button = video.parentElement;
  const start = () => { if (!still.matches) { video.play().catch(() => {}); button.classList.add("turns"); } };
  const stop = () => { video.pause(); button.classList.remove("turns"); };
  for (const name of ["pointerenter", "focus"]) button.addEventListener(name, start);
  for (const name of ["pointerleave", "blur"]) button.addEventListener(name, stop);
}

// The gallery: which avatars are shown, and in which order.
const tools = document.getElementById("tools"), entries = document.getElementById("entries");
const single = document.getElementById("one-by-one");
const prompts = entries ? [...entries.children].map((node) => {
  const cells = all(".cell", node).map((cell) => ({
    ...cell.dataset, node: cell, sort: JSON.parse(cell.dataset.sort), findings: cell.dataset.findings.split(" ").filter(Boolean),
  }));
  return { node, holder: find(".cells", node), tags: JSON.parse(node.dataset.tags), cells };
}) : [];

function matches(cell, prompt, wanted) {
  const { method, tag, finding, group } = wanted;
  return (!method || cell.method === method) && (!tag || prompt.tags.includes(tag)) && (!group || cell.group === group)
    && (!finding || (finding === "any" ? cell.findings.length > 0 : finding === "none" ? !cell.findings.length && cell.group === "made"
      : cell.findings.includes(finding.slice(1))));
}

// Return a list in order: low ranks and distances and high margins are good; what has no number comes last.
function sorted(list, key, order, value) {
  if (!key) return list;
  const sign = (order === "worst" ? 1 : -1) * (key.startsWith("margin") ? 1 : -1);
  const known = (one) => Number.isFinite(value(one));
  return [...list].sort((a, b) => known(b) - known(a) || (known(a) ? sign * (value(a) - value(b)) : 0));
}

function arrange() {
  const wanted = Object.fromEntries(new FormData(tools)), flat = wanted.layout === "avatars";
  const shown = [];
  for (const prompt of prompts) {
    for (const cell of prompt.cells) {
      cell.node.hidden = !matches(cell, prompt, wanted) || (flat && cell.group === "not asked for");
      if (!cell.node.hidden) shown.push(cell);
    }
    if (!flat) prompt.holder.append(...prompt.cells.map((cell) => cell.node));
    prompt.node.hidden = prompt.cells.every((cell) => cell.node.hidden);
  }
  if (flat) single.replaceChildren(...sorted(shown, wanted.sort, wanted.order, (cell) => cell.sort[wanted.sort]).map((cell) => cell.node));
  const mean = (prompt) => {
    const values = prompt.cells.filter((cell) => !cell.node.hidden).map((cell) => cell.sort[wanted.sort]).filter(Number.isFinite);
    return values.length ? values.reduce((sum, one) => sum + one, 0) / values.length : NaN;
  };
  if (!flat) entries.append(...sorted(prompts, wanted.sort, wanted.order, mean).map((prompt) => prompt.node));
  entries.hidden = flat;
  single.hidden = !flat;
  const total = prompts.flatMap((prompt) => prompt.cells).filter((cell) => cell.group !== "not asked for").length;
  const count = shown.filter((cell) => cell.group !== "not asked for").length;
  find("output", tools).value = `${count} of ${total} avatars`;
}
if (tools) {
  tools.addEventListener("change", arrange);
  tools.addEventListener("submit", (event) => event.preventDefault());
  tools.addEventListener("reset", () => setTimeout(arrange));
  arrange();
}

// Heads come from the page itself, or from scripts beside it: a page on a disk may not read other files.
const decoded = new Map();
function bytesOf(name) {
  if (!decoded.has(name)) {
    decoded.set(name, contentOf(name).then((text) => Uint8Array.from(atob(text), (c) => c.charCodeAt(0))));
    decoded.get(name).catch(() => decoded.delete(name));
  }
  return decoded.get(name);
}
function contentOf(name) {
  const inside = all("script[data-file]").find((node) => node.dataset.file === name);
  if (inside) return Promise.resolve(inside.textContent);
  return new Promise((resolve, reject) => {
    const folder = document.getElementById("viewer").dataset.folder, node = document.createElement("script");
    node.onload = () => (arrived.has(name) ? resolve(arrived.get(name)) : reject(new Error("damaged")));
    node.onerror = () => reject(new Error("missing"));
    node.src = `${folder}/${encodeURIComponent(name)}`;
    document.head.append(node);
  });
}
async function glbOf(cell) {
  const [own, shared] = await Promise.all([bytesOf(cell.head), bytesOf(cell.shared)]);
  return headViewer.join(own, shared);
}
function save(name, bytes) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([bytes], { type: "model/gltf-binary" }));
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60000);
}

// The viewer.
const dialog = document.getElementById("viewer"), canvas = find("canvas", dialog), picture = find(".stage img", dialog);
const said = find(".said", dialog), chooser = document.getElementById("viewer-method"), face = document.getElementById("viewer-face");
const button = (name) => find(`[data-do="${name}"]`, dialog);
const press = (name, on) => button(name).setAttribute("aria-pressed", on);
const REGIONS = [["Brows", /^brow/], ["Eyes", /^eye/], ["Cheeks and nose", /^(cheek|nose)/], ["Jaw", /^jaw/], ["Mouth", /^mouth/], ["Tongue", /^tongue/], ["Other", /./]];
let viewer = null, current = null, asked = 0, opener = null;
window.reportViewer = { get viewer() { return viewer; } };

const avatars = new Map(prompts.flatMap((prompt) => prompt.cells.map((cell) => [cell.place, { cell, prompt }])));
const partOf = (cell) => find(`.avatar[data-place="${cell.place}"]`);

function stop() { viewer?.stop(); press("play", false); }

async function show(cell, prompt) {
  const turn = ++asked, part = partOf(cell), sheet = part && find("img.views", part);
  current = { cell, prompt };
  stop();
  document.getElementById("viewer-title").textContent = find("bdi", prompt.node).textContent;
  const others = prompt.cells.filter((one) => find(".open", one.node));
  chooser.replaceChildren(...others.map((one) => new Option(one.method, one.place, false, one === cell)));
  find(".links", dialog).replaceChildren(...(part ? all(".links > *", part).map((node) => copied(node, cell)) : []));
  picture.src = sheet ? sheet.src : find(".open img", cell.node).src;
  picture.alt = sheet ? sheet.alt : "";
  said.textContent = cell.head ? "Loading …" : "";
  let message = cell.head ? "" : "This avatar has no 3D head in this report.";
  if (cell.head) {
    try {
      const glb = await glbOf(cell);
      if (turn !== asked) return;
      viewer ??= new headViewer.HeadViewer(canvas, readFace);
      await viewer.show(glb);
      if (turn !== asked) return;
      drawFace();
    } catch (error) {
      message = error.message === "missing" ? `The head lies in the folder “${dialog.dataset.folder}”, which is not beside this page.`
        : `No 3D here: ${error.message}`;
    }
  }
  if (turn !== asked) return;
  said.textContent = message;
  const has = Boolean(cell.head) && !message;
  for (const node of all(".needs-head", dialog)) node.hidden = !has;
  for (const node of all(".needs-face", dialog)) node.hidden = !has || !viewer.targets.length;
  view(!has);
}
function view(sheet) {
  picture.hidden = !sheet;
  canvas.hidden = sheet;
  press("views", sheet);
}
function copied(node, cell) {
  const copy = node.cloneNode(true);
  if (copy.classList.contains("save")) copy.addEventListener("click", () => saved(cell));
  return copy;
}
const saved = (cell) => glbOf(cell).then((bytes) => save(`${cell.name}.glb`, bytes)).catch((error) => { said.textContent = `Not saved: ${error.message}`; });

// One slider for each expression, in a part for each region of the face. Sliders stay from head to head.
function drawFace() {
  const names = viewer.targets, key = names.join();
  if (face.dataset.names !== key) {
    face.dataset.names = key;
    face.replaceChildren();
    const left = new Set(names);
    for (const [title, pattern] of REGIONS) {
      const own = [...left].filter((name) => pattern.test(name));
      if (!own.length) continue;
      own.forEach((name) => left.delete(name));
      const part = document.createElement("details"), summary = document.createElement("summary");
      summary.textContent = title;
      part.append(summary, ...own.map(slider));
      part.open = title === "Eyes";
      face.append(part);
    }
  }
  readFace();
}
function slider(name) {
  const label = document.createElement("label"), text = document.createElement("span"), input = document.createElement("input");
  text.textContent = name.replace(/([a-z])([A-Z])/g, "$1 $2").toLowerCase();
  Object.assign(input, { type: "range", min: 0, max: 1, step: 0.01, name });
  input.addEventListener("input", () => { stop(); viewer.setWeight(name, Number(input.value)); });
  label.append(text, input);
  return label;
}
function readFace() { for (const input of all("input", face)) input.value = viewer.weight(input.name); }

const step = (by) => {
  const open = prompts.filter((prompt) => prompt.cells.some((cell) => find(".open", cell.node)));
  const next = open[(open.indexOf(current.prompt) + by + open.length) % open.length];
  const usable = next.cells.filter((cell) => find(".open", cell.node));
  show(usable.find((cell) => cell.method === current.cell.method) ?? usable[0], next);
};
const actions = {
  close: () => dialog.close(),
  previous: () => step(-1),
  next: () => step(1),
  play: () => {
    if (viewer.playing) return stop();
    view(false);
    viewer.play(still.matches ? 0 : 20);
    press("play", true);
  },
  clay: () => { viewer.setClay(!viewer.isClay); press("clay", viewer.isClay); },
  front: () => viewer.frame(),
  views: () => view(picture.hidden),
  own: () => { stop(); viewer.reset(); readFace(); },
  neutral: () => { stop(); viewer.reset(true); readFace(); },
};
dialog.addEventListener("click", (event) => {
  const name = event.target.closest?.("[data-do]")?.dataset.do;
  if (name) actions[name]();
  else if (event.target === dialog) dialog.close();
});
dialog.addEventListener("close", () => { stop(); opener?.focus(); });
chooser.addEventListener("change", () => { const { cell, prompt } = avatars.get(chooser.value); show(cell, prompt); });
canvas.addEventListener("keydown", (event) => {
  const moves = { ArrowLeft: [-10, 0], ArrowRight: [10, 0], ArrowUp: [0, 10], ArrowDown: [0, -10], "+": [0, 0, 1.15], "=": [0, 0, 1.15], "-": [0, 0, 1 / 1.15] };
  if (event.key === "Home") viewer.frame();
  else if (event.key === " ") actions.play();
  else if (moves[event.key]) viewer.orbit(...moves[event.key]);
  else return;
  event.preventDefault();
});
document.addEventListener("click", (event) => {
  const opened = event.target.closest?.(".open"), kept = event.target.closest?.(".save");
  const place = event.target.closest?.("[data-place]")?.dataset.place;
  if (!place || dialog.contains(event.target)) return;
  const { cell, prompt } = avatars.get(place);
  if (kept) saved(cell);
  if (!opened) return;
  opener = opened;
  for (const video of all("video", opened)) video.pause();
  dialog.showModal();
  show(cell, prompt);
});
// Pictures that are not part of the gallery open at their full size.
const sheet = document.getElementById("sheet");
for (const node of all("button[data-sheet]")) {
  node.addEventListener("click", () => {
    const image = find("img", sheet), own = find("img", node);
    image.src = node.dataset.sheet || own.src;
    image.alt = node.getAttribute("aria-label") || own.alt;
    sheet.showModal();
  });
}
sheet.addEventListener("click", () => sheet.close());
