// The page: takes a sound, runs the model on its windows, and shows what comes out.

import * as figures from "./figures.js";
import { addWindows, emptyResult, labelWindows, Problem, windowLength } from "./model.js";
import { decode, Microphone, resample, wav } from "./sound.js";

// Longer sounds are cut off here, since browsers hold them in memory.
const LONGEST_S = 600;
const MOST_SAMPLES = 48000 * LONGEST_S;
const LIVE_WINDOWS = 4; // the microphone's newest window is labelled so often per window
const page = Object.fromEntries([...document.querySelectorAll("[id]")].map((part) => [part.id, part]));

/** What the page holds. Tests read it. */
export const state = { settings: null, run: null, name: "", samples: null, result: null, selected: null, busy: 0 };

let microphone = null;

// Messages

function say(text) {
  page.status.textContent = text;
}

function fail(error) {
  const unexpected = error instanceof Problem ? "" : "Something went wrong in this page: ";
  page.error.textContent = `${unexpected}${error.message}`;
  say("");
}

// The model

/** Start the worker. It comes from a blob because such a worker inherits the page's security policy. */
async function startModel(settings) {
  const address = new URL("worker.js", location.href).href;
  const blob = new Blob([`import ${JSON.stringify(address)};`], { type: "text/javascript" });
  const worker = new Worker(URL.createObjectURL(blob), { type: "module" });
  const waiting = new Map();
  let asked = 0;
  worker.onmessage = ({ data: { id, outputs, error, expected } }) => {
    const { resolve, reject } = waiting.get(id);
    waiting.delete(id);
    if (error === undefined) resolve(outputs);
    else reject(expected ? new Problem(error) : new Error(error));
  };
  worker.onerror = () => {
    const problem = new Problem("The model's worker did not start: use a current browser, and serve all files of this folder.");
    waiting.forEach(({ reject }) => reject(problem));
  };
  const ask = (message, transfer = []) =>
    new Promise((resolve, reject) => {
      waiting.set(++asked, { resolve, reject });
      worker.postMessage({ id: asked, ...message }, transfer);
    });
  await ask({ open: { settings, base: location.href } });
  return (waveform, count) => ask({ waveform, count }, [waveform.buffer]);
}

async function start() {
  const response = await fetch("model.json", { cache: "no-cache" }).catch(() => null);
  if (!response?.ok) throw new Problem("model.json is missing beside this page: export the page again.");
  const settings = (state.settings = await response.json());
  fillAbout(settings);
  fillHops(settings);
  state.run = await startModel(settings);
  page.choose.disabled = page.microphone.disabled = false;
  say("Ready.");
  const address = new URLSearchParams(location.search).get("sound");
  if (address) await labelAddress(address);
}

function fillAbout(settings) {
  const { runtime, model } = settings;
  const labels = Object.entries(settings.labels).map(
    ([task, names]) => `${names.length} of ${figures.plain(task)}`,
  );
  const facts = {
    Labels: labels.join(", "),
    Window: `${settings.window_s} s at ${settings.sample_rate} Hz`,
    ...settings.facts,
    Model: `${settings.name}, ${(model.bytes / 1e6).toFixed(1)} MB, by audiostride ${settings.audiostride}`,
    Runtime:
      `ONNX Runtime Web ${runtime.version}, ${(runtime.wasm.bytes / 1e6).toFixed(0)} MB, from ` +
      `${runtime.base === "./" ? "this page's folder" : new URL(runtime.base).host}, checked by its hash`,
  };
  for (const [name, fact] of Object.entries(facts)) {
    page.about.append(figures.element("dt", {}, name), figures.element("dd", {}, fact));
  }
}

function fillHops({ window_s }) {
  for (const share of [1, 2, 4]) {
    const hop = window_s / share;
    page.hop.append(figures.element("option", { value: String(share) }, `${Number(hop.toFixed(3))} s`));
  }
}

const longestSeconds = ({ sample_rate }) => Math.floor(Math.min(LONGEST_S, MOST_SAMPLES / sample_rate));
const hopSamples = () => Math.round(windowLength(state.settings) / Number(page.hop.value));

// Sounds

async function labelAddress(address) {
  const problem = new Problem(`There is no sound ${address} beside this page.`);
  const response = await fetch(address).catch(() => null);
  if (!response?.ok) throw problem;
  const name = new URL(address, location.href).pathname.split("/").at(-1);
  await labelBytes(await response.arrayBuffer(), decodeURIComponent(name));
}

async function labelFile(file) {
  say(`Reading ${file.name} …`);
  const bytes = await file.arrayBuffer().catch(() => {
    throw new Problem(`${file.name} cannot be read: choose a sound file.`);
  });
  await labelBytes(bytes, file.name);
}

async function labelBytes(bytes, name) {
  say(`Decoding ${name} …`);
  const samples = await decode(bytes, state.settings.sample_rate, name);
  if (!samples.length) throw new Problem(`${name} holds no sound: choose another file.`);
  await labelSamples(samples, name);
}

/** Label a whole sound and show it, unless another sound comes in between. */
async function labelSamples(samples, name) {
  const turn = ++state.busy;
  const { settings } = state;
  const longest = longestSeconds(settings);
  const kept = samples.subarray(0, longest * settings.sample_rate);
  Object.assign(state, { samples: kept, name, selected: null });
  const begun = performance.now();
  for await (const part of labelWindows(state.run, settings, kept, hopSamples())) {
    if (turn !== state.busy) return;
    if (part.done < part.count) say(`Labelling ${name}: ${part.done} of ${part.count} windows …`);
    else state.result = part.result;
  }
  showSound();
  const took = (performance.now() - begun) / 1000;
  const minutes = Number((longest / 60).toFixed(1));
  const cutOff = samples.length > kept.length ? ` Only the first ${minutes} minutes were labelled.` : "";
  const windows = state.result.begins.length === 1 ? "1 window" : `${state.result.begins.length} windows`;
  const answer = figures.inWords(settings, figures.logitsAt(state.result, null));
  say(`${windows} labelled in ${took.toFixed(2)} s.${cutOff}`);
  page.announcement.textContent = `${name}: ${answer}`;
}

function showSound() {
  document.body.classList.remove("empty");
  page.result.hidden = false;
  page.name.textContent = state.name;
  URL.revokeObjectURL(page.player.src);
  page.player.src = URL.createObjectURL(wav(state.samples, state.settings.sample_rate));
  page.player.hidden = false;
  drawResult();
  figures.fillTable(page.windows, state.result, state.settings);
  select(null);
}

function drawResult() {
  const available = page.score.clientWidth - gutterWidth();
  const width = figures.draw(page.rows, state.result, state.settings, hopSamples(), available);
  page.track.style.setProperty("--width", `${width}px`);
  page.cursor.setAttribute("aria-valuemin", "1");
  page.cursor.setAttribute("aria-valuemax", String(state.result.begins.length));
}

const gutterWidth = () => parseFloat(getComputedStyle(page.track).getPropertyValue("--gutter"));

// Selection of a window

/** Show the labels of a window, or of the whole sound if `index` is null. */
function select(index, announce = false) {
  const { result, settings } = state;
  state.selected = index;
  page.selection.hidden = page.whole.hidden = index === null;
  const logitsOf = figures.logitsAt(result, index);
  figures.drawAnswers(page.answers, settings, logitsOf);
  const words = figures.inWords(settings, logitsOf);
  if (index === null) {
    page.scope.textContent = "Whole sound";
    page.cursor.setAttribute("aria-valuenow", "1");
    page.cursor.setAttribute("aria-valuetext", `Whole sound: ${words}`);
    return;
  }
  const [begin, end] = figures.windowTimes(result, settings)[index];
  const scope = `${begin.toFixed(2)} to ${figures.seconds(end)}`;
  page.scope.textContent = scope;
  page.cursor.setAttribute("aria-valuenow", String(index + 1));
  page.cursor.setAttribute("aria-valuetext", `${scope}: ${words}`);
  const duration = result.length / settings.sample_rate;
  page.selection.style.left = `${(100 * begin) / duration}%`;
  page.selection.style.width = `${(100 * (end - begin)) / duration}%`;
  if (announce) keepInView(begin / duration, end / duration);
}

/** Scroll the time axis so that a part of it can be seen. */
function keepInView(from, to) {
  const width = page.plane.clientWidth;
  const seen = page.score.clientWidth - gutterWidth();
  if (from * width < page.score.scrollLeft) page.score.scrollLeft = from * width - 16;
  else if (to * width > page.score.scrollLeft + seen) page.score.scrollLeft = to * width - seen + 16;
}

function windowAt(share) {
  const { result } = state;
  const last = result.begins.length - 1;
  const index = result.begins.findIndex((_, i) => share * result.length < figures.shownRange(result, i)[1]);
  return index < 0 ? last : index;
}

function choose(index) {
  select(index, true);
  page.player.currentTime = figures.windowTimes(state.result, state.settings)[index][0];
}

function onKey(event) {
  if (!state.result || microphone) return;
  const last = state.result.begins.length - 1;
  const now = state.selected ?? -1;
  const to = {
    ArrowRight: now + 1,
    ArrowUp: now + 1,
    ArrowLeft: now - 1,
    ArrowDown: now - 1,
    PageUp: now + 10,
    PageDown: now - 10,
    Home: 0,
    End: last,
  }[event.key];
  if (to !== undefined) choose(Math.max(0, Math.min(last, to)));
  else if (event.key === "Escape") select(null);
  else return;
  event.preventDefault();
}

function followPlayer() {
  const playing = !page.player.paused && !page.player.ended;
  const share = page.player.currentTime / page.player.duration;
  page.playhead.hidden = !playing;
  if (!playing || microphone) return;
  page.playhead.style.left = `${100 * share}%`;
  const index = windowAt(share);
  if (index !== state.selected) select(index, true);
  requestAnimationFrame(followPlayer);
}

// The microphone

async function useMicrophone() {
  const { settings } = state;
  page.microphone.disabled = true; // while the browser asks
  try {
    microphone = await Microphone.start();
  } finally {
    page.microphone.disabled = false;
  }
  state.busy++;
  page.microphone.textContent = "Stop";
  page.choose.disabled = true;
  document.body.classList.add("live");
  document.body.classList.remove("empty");
  page.player.pause();
  page.player.hidden = page.selection.hidden = page.whole.hidden = true;
  page.windows.replaceChildren();
  page.result.hidden = false;
  page.name.textContent = "Microphone";
  page.rows.replaceChildren();
  page.answers.replaceChildren();
  say("Listening. Press Stop to see the whole sound.");
  try {
    await labelLive(settings);
  } finally {
    const { length, rate } = microphone;
    const samples = microphone.between(0, length / rate);
    microphone.stop();
    microphone = null;
    page.microphone.textContent = "Use the microphone";
    page.choose.disabled = false;
    document.body.classList.remove("live");
    if (length) await labelSamples(await resample(samples, rate, settings.sample_rate), "Microphone");
    else page.result.hidden = true;
  }
}

/** Label the newest window again and again, and draw each full window, until the microphone is closed. */
async function labelLive(settings) {
  const { window_s, sample_rate } = settings;
  const label = async (begin_s) => {
    const part = microphone.between(begin_s, begin_s + window_s);
    const samples = new Float32Array(windowLength(settings));
    samples.set((await resample(part, microphone.rate, sample_rate)).subarray(0, samples.length));
    return state.run(samples, 1);
  };
  let heard = "";
  let drawn = 0;
  state.result = null;
  for (let next = window_s; next <= longestSeconds(settings); ) {
    page.scope.textContent = `Listening, ${Math.floor(microphone.seconds)} s`;
    await microphone.until(next);
    if (!microphone.open) break;
    const full = microphone.seconds >= (drawn + 1) * window_s;
    const outputs = await label(full ? drawn * window_s : microphone.seconds - window_s);
    if (full) {
      drawn++;
      growResult(settings, drawn, outputs);
      drawResult();
      page.score.scrollLeft = page.score.scrollWidth;
    }
    const logitsOf = (task) => outputs[settings.outputs[task]];
    figures.drawAnswers(page.answers, settings, logitsOf);
    heard = announce(heard, logitsOf);
    next = Math.max(next + window_s / LIVE_WINDOWS, microphone.seconds);
  }
}

/** Add a full window of the microphone to the result. */
function growResult(settings, count, outputs) {
  const window = windowLength(settings);
  const grown = emptyResult(settings, count * window);
  const before = state.result;
  if (before) {
    Object.assign(grown, { begins: before.begins, logits: before.logits });
    for (const [name, values] of Object.entries(before.spectrograms)) grown.spectrograms[name].set(values);
  }
  addWindows(grown, settings, [(count - 1) * window], outputs);
  state.result = grown;
}

/** Announce the labels to screen readers when they change. */
function announce(before, logitsOf) {
  const labels = figures.inWords(state.settings, logitsOf, false);
  if (labels !== before) page.announcement.textContent = labels;
  return labels;
}

// What users do

/** Return a listener that shows the error of an action. */
const safely =
  (action) =>
  async (...args) => {
    page.error.textContent = "";
    try {
      await action(...args);
    } catch (error) {
      fail(error);
    }
  };

page.choose.addEventListener("click", () => page.file.click());
page.file.addEventListener(
  "change",
  safely(async () => {
    const [file] = page.file.files;
    page.file.value = "";
    if (file) await openFile(file);
  }),
);
page.microphone.addEventListener(
  "click",
  safely(async () => (microphone ? microphone.stop() : await useMicrophone())),
);
page.hop.addEventListener(
  "change",
  safely(async () => {
    if (state.samples && !microphone) await labelSamples(state.samples, state.name);
  }),
);
page.whole.addEventListener("click", () => {
  select(null);
  page.cursor.focus();
});
page.cursor.addEventListener("keydown", onKey);
page.cursor.addEventListener("click", (event) => {
  if (state.result && !microphone) choose(windowAt(event.offsetX / page.cursor.clientWidth));
});
page.player.addEventListener("play", followPlayer);
page.copy.addEventListener(
  "click",
  safely(async () => {
    try {
      await navigator.clipboard.writeText(figures.csv(state.result, state.settings));
    } catch {
      throw new Problem("The browser does not let this page copy: use Save as CSV.");
    }
    say("Copied the table.");
  }),
);
page.save.addEventListener("click", () => {
  const address = URL.createObjectURL(new Blob([figures.csv(state.result, state.settings)], { type: "text/csv" }));
  figures.element("a", { href: address, download: `${state.name}.csv` }).click();
  setTimeout(() => URL.revokeObjectURL(address), 1000);
});

/** Label a file; a microphone that listens is closed first, and its recording is left. */
async function openFile(file) {
  if (!state.run) throw new Problem("The model is not loaded yet: wait a moment.");
  if (microphone) throw new Problem("The microphone is on: press Stop first.");
  await labelFile(file);
}

let dragged = 0;
const isFile = (event) => event.dataTransfer?.types.includes("Files");
const showDrop = (change) => {
  dragged = Math.max(0, dragged + change);
  document.body.classList.toggle("dragging", dragged > 0);
};
addEventListener("dragenter", (event) => isFile(event) && showDrop(1));
addEventListener("dragleave", (event) => isFile(event) && showDrop(-1));
addEventListener("dragover", (event) => isFile(event) && event.preventDefault());
addEventListener(
  "drop",
  safely(async (event) => {
    if (!isFile(event)) return;
    event.preventDefault();
    showDrop(-Infinity);
    await openFile(event.dataTransfer.files[0]);
  }),
);

let resizing;
new ResizeObserver(() => {
  cancelAnimationFrame(resizing);
  resizing = requestAnimationFrame(() => {
    if (!state.result || page.result.hidden) return;
    drawResult();
  });
}).observe(page.score);

/** Fulfilled when the model is ready and a sound in the address is labelled. */
export const ready = safely(start)();
