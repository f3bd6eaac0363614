// Figures over time: spectrograms on canvases, and one lane of labels per task. All share a time axis.

import { meanLogits, ranked } from "./model.js";

// Every sixteenth colour of matplotlib's "magma", as in the other figures of audiostride.
const MAGMA = `000004 0a0822 1d1147 36106b 51127c 6a1c81 832681 9c2e7f b73779 d0416f e75263 f56b5c fc8961 fea772 fec488
  fde2a3 fcfdbf`.split(/\s+/);
const COLOURS = Array.from({ length: 256 }, (_, level) => {
  const place = (level / 255) * (MAGMA.length - 1);
  const [low, high] = [MAGMA[Math.floor(place)], MAGMA[Math.ceil(place)]];
  const at = (colour, channel) => parseInt(colour.slice(2 * channel, 2 * channel + 2), 16);
  return [0, 1, 2].map((c) => at(low, c) + (at(high, c) - at(low, c)) * (place % 1));
});
// Range of the colours below the loudest frame, and the lowest level that counts as loud.
const RANGE_DB = 80;
const QUIET_DB = -20;
// Normalised energy has colours from 0 to what one value in a hundred exceeds, but at least to this.
const QUIET_NORMALISED = 0.1;
const BRIGHT = 0.99;
const MOST_SORTED = 65536;
const DB = 10 / Math.LN10;
const TICKS_HZ = Array.from({ length: 11 }, (_, octave) => 125 * 2 ** octave);
const TICK_DISTANCE = 0.085; // of the height of a spectrogram
const TICKS_S = [0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 30, 60, 120];
const MOST_COLUMNS = 16384; // browsers limit the width of a canvas
const LEAST_PIXELS = 72; // width of a window

/** Return an element with properties; text never becomes HTML. */
export function element(tag, properties = {}, ...children) {
  const { style = {}, ...rest } = properties;
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(rest)) {
    if (name in made) made[name] = value;
    else made.setAttribute(name, value);
  }
  for (const [name, value] of Object.entries(style)) made.style.setProperty(name, value);
  made.append(...children);
  return made;
}

export const percent = (probability) => `${(100 * probability).toFixed(probability > 0.9995 ? 0 : 1)} %`;
export const seconds = (value) => `${value.toFixed(value >= 100 ? 1 : 2)} s`;
export const plain = (name) => name.replaceAll("_", " ");

/** Return the begin and end of the windows of a result in seconds, inside the sound. */
export function windowTimes(result, settings) {
  return result.begins.map((begin) =>
    [begin, begin + result.window].map((edge) => Math.min(Math.max(edge, 0), result.length) / settings.sample_rate),
  );
}

/** Draw a result into `rows` and return the width of the time axis in pixels. */
export function draw(rows, result, settings, hop, available) {
  const duration = result.length / settings.sample_rate;
  const width = Math.max(available, Math.ceil((duration / (hop / settings.sample_rate)) * LEAST_PIXELS));
  const { captions, centres_hz } = settings.spectrograms;
  const range = colourRange(Object.values(result.spectrograms), settings.spectrograms);
  const spectrograms = Object.entries(result.spectrograms).map(([name, values]) =>
    row(captions[name], spectrogram(name, values, settings.spectrograms, range), frequencyAxis(centres_hz)),
  );
  const lanes = Object.entries(settings.labels).map(([task, labels]) =>
    row(plain(task), lane(labels, result, result.logits[task]), shareAxis()),
  );
  rows.replaceChildren(...spectrograms, timeAxis(duration, width), ...lanes);
  return width;
}

function loudest(values) {
  let highest = -Infinity;
  for (const value of values) if (value > highest) highest = value;
  return highest;
}

/** Return the value below which a share of the values lies, from a sample of them. */
function quantile(values, share) {
  const step = Math.ceil(values.length / MOST_SORTED);
  const sorted = values.filter((value, index) => index % step === 0 && value > -Infinity).sort();
  return sorted[Math.floor(share * (sorted.length - 1))] ?? 0;
}

/** Return the values of the darkest and of the brightest colour. */
function colourRange(spectrograms, { offset }) {
  if (offset === null) return [0, Math.max(QUIET_NORMALISED, quantile(spectrograms[0], BRIGHT))];
  const highest = Math.max(QUIET_DB, DB * Math.max(...spectrograms.map(loudest))) / DB;
  return [Math.max(highest - RANGE_DB / DB, Math.log(offset)), highest];
}

function row(caption, plot, axis = "") {
  return element(
    "div",
    { className: "row" },
    element("p", { className: "caption" }, element("span", {}, caption)),
    element("div", { className: "gutter" }, axis),
    plot,
  );
}

function spectrogram(name, values, { captions, centres_hz, axis }, [bottom, top]) {
  const channels = centres_hz.length;
  const frames = values.length / channels;
  const columns = Math.min(frames, MOST_COLUMNS);
  const canvas = element("canvas", {
    className: "plot",
    width: columns,
    height: channels,
    role: "img",
    "aria-label": `${captions[name]}, on ${axis}`,
  });
  const image = new ImageData(columns, channels);
  for (let column = 0; column < columns; column++) {
    const from = Math.floor((column * frames) / columns);
    const to = Math.max(from + 1, Math.floor(((column + 1) * frames) / columns));
    for (let channel = 0; channel < channels; channel++) {
      let value = -Infinity;
      for (let frame = from; frame < to; frame++) value = Math.max(value, values[frame * channels + channel]);
      if (value === -Infinity) continue; // not labelled yet
      const level = Math.round((255 * (value - bottom)) / (top - bottom));
      const colour = COLOURS[Math.max(0, Math.min(255, level))];
      image.data.set([...colour, 255], 4 * ((channels - 1 - channel) * columns + column));
    }
  }
  canvas.getContext("2d").putImageData(image, 0, 0);
  return canvas;
}

function frequencyAxis(centres_hz) {
  const ticks = frequencyTicks(centres_hz).map(({ hertz, height }) =>
    element("span", { style: { bottom: `${100 * height}%` } }, hertz < 1000 ? `${hertz}` : `${hertz / 1000} k`),
  );
  return element("div", { className: "hertz", ariaHidden: "true" }, element("i", {}, "Hz"), ...ticks);
}

/** Return frequencies to name on an axis of channels, and their heights from 0 to 1; close ones are left out. */
function frequencyTicks(centres_hz) {
  const ticks = [];
  let free = 1 - TICK_DISTANCE; // the name of the unit is at the top
  for (const hertz of TICKS_HZ.toReversed()) {
    const above = centres_hz.findIndex((centre) => centre >= hertz);
    if (above < 1) continue;
    const [low, high] = centres_hz.slice(above - 1, above + 1);
    // The image reaches half a channel beyond the centres of the outermost ones.
    const height = (above - 0.5 + (hertz - low) / (high - low)) / centres_hz.length;
    if (height > free) continue;
    ticks.push({ hertz, height });
    free = height - TICK_DISTANCE;
  }
  return ticks;
}

const shareAxis = () =>
  element("div", { className: "shares", ariaHidden: "true" }, element("span", {}, "100 %"), element("span", {}, "0"));

function timeAxis(duration, width) {
  const step = TICKS_S.find((candidate) => (candidate / duration) * width >= 60) ?? 300;
  const ticks = [];
  for (let tick = 0; tick * step <= duration; tick++) {
    const place = (tick * step) / duration;
    const last = place * width > width - 20;
    ticks.push(
      element(
        "span",
        { className: last ? "last" : tick ? "" : "first", style: { left: `${100 * place}%` } },
        `${Number((tick * step).toFixed(1))}${tick ? "" : " s"}`,
      ),
    );
  }
  return element(
    "div",
    { className: "row seconds", ariaHidden: "true" },
    element("div", { className: "gutter" }),
    element("div", { className: "plot" }, ...ticks),
  );
}

/** Make the lane of a task: windows with the same label become one block, above their probabilities. */
function lane(labels, result, logits) {
  const best = logits.map((window) => ranked(labels, window)[0]);
  const blocks = [];
  best.forEach((window, index) => {
    const [begin, end] = shownRange(result, index);
    const previous = blocks.at(-1);
    if (previous?.label === window.label) Object.assign(previous, { end, sum: previous.sum + window.probability });
    else blocks.push({ label: window.label, begin, end, sum: window.probability, first: index });
    blocks.at(-1).count = index + 1 - blocks.at(-1).first;
  });
  const place = (value) => `${(100 * value) / result.length}%`;
  const bars = best.map(({ probability }, index) => {
    const [begin, end] = shownRange(result, index);
    const style = { left: place(begin), width: place(end - begin), height: `${100 * probability}%` };
    return element("i", { style });
  });
  return element(
    "div",
    { className: "plot lane", ariaHidden: "true" },
    element("div", { className: "bars" }, ...bars),
    ...blocks.map(({ label, begin, end, sum, count }) =>
      element(
        "div",
        {
          className: sum / count < 0.5 ? "block unsure" : "block",
          title: `${plain(label)}, ${percent(sum / count)}`,
          style: { left: place(begin), width: place(end - begin) },
        },
        element("span", { translate: false }, plain(label)),
      ),
    ),
  );
}

/** Return the part of the time axis that stands for a window, up to halfway to its neighbours, in samples. */
export function shownRange({ begins, window, length }, index) {
  const halfway = (i) => (begins[i] + begins[i + 1] + window) / 2;
  return [
    index ? halfway(index - 1) : Math.max(0, begins[0]),
    index < begins.length - 1 ? halfway(index) : Math.min(length, begins[index] + window),
  ];
}

/** Draw the most probable labels of each task: fewer if there are many tasks. */
export function drawAnswers(place, settings, logitsOf) {
  const most = Object.keys(settings.labels).length > 2 ? 3 : 5;
  const cards = Object.entries(settings.labels).map(([task, labels]) => {
    const order = ranked(labels, logitsOf(task)).slice(0, most);
    const items = order.map(({ label, probability }, index) =>
      element(
        "li",
        { className: index ? "" : "best" },
        element("span", { className: "label", translate: false }, plain(label)),
        element("span", { className: "percent" }, percent(probability)),
        element("span", { className: "bar", ariaHidden: "true", style: { "--share": probability } }),
      ),
    );
    return element("section", { className: "card" }, element("h4", {}, plain(task)), element("ol", {}, ...items));
  });
  place.replaceChildren(...cards);
}

/** Return all windows as CSV: begin, end, and the probability of every label. */
export function csv(result, settings) {
  const cell = (text) => (/[",\n\r]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text);
  const tasks = Object.entries(settings.labels);
  const head = tasks.flatMap(([task, labels]) => labels.map((label) => cell(`${task}: ${label}`)));
  const lines = windowTimes(result, settings).map(([begin, end], index) => {
    const probabilities = tasks.flatMap(([task, labels]) => {
      const order = new Map(ranked(labels, result.logits[task][index]).map((r) => [r.label, r.probability]));
      return labels.map((label) => order.get(label).toFixed(6));
    });
    return [begin.toFixed(3), end.toFixed(3), ...probabilities].join(",");
  });
  return [["begin_s", "end_s", ...head].join(","), ...lines, ""].join("\n");
}

/** Fill the table of windows: times, and the label of each task with its probability. */
export function fillTable(table, result, settings) {
  const tasks = Object.entries(settings.labels);
  const heads = ["begin", "end", ...tasks.flatMap(([task]) => [plain(task), "probability"])];
  const head = element("tr", {}, ...heads.map((text) => element("th", { scope: "col" }, text)));
  const body = windowTimes(result, settings).map(([begin, end], index) =>
    element(
      "tr",
      {},
      element("td", { className: "number" }, seconds(begin)),
      element("td", { className: "number" }, seconds(end)),
      ...tasks.flatMap(([task, labels]) => {
        const [{ label, probability }] = ranked(labels, result.logits[task][index]);
        return [
          element("td", { translate: false }, plain(label)),
          element("td", { className: "number" }, percent(probability)),
        ];
      }),
    ),
  );
  table.replaceChildren(
    element("caption", {}, "The most probable label of each window"),
    element("thead", {}, head),
    element("tbody", {}, ...body),
  );
}

/** Return the most probable label of each task in words, with its probability if it is asked for. */
export function inWords(settings, logitsOf, withProbability = true) {
  return Object.entries(settings.labels)
    .map(([task, labels]) => {
      const [{ label, probability }] = ranked(labels, logitsOf(task));
      const answer = withProbability ? `${plain(label)}, ${percent(probability)}` : plain(label);
      return Object.keys(settings.labels).length > 1 ? `${plain(task)}: ${answer}` : answer;
    })
    .join("; ");
}

/** Return a function from task to the logits of one window, or of the whole sound if `index` is null. */
export function logitsAt(result, index) {
  return (task) => (index === null ? meanLogits(result.logits[task]) : result.logits[task][index]);
}
