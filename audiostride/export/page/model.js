// The model: loads ONNX Runtime Web and runs windows of sound through it. Needs no page: it also runs in a worker.

const WINDOWS_AT_ONCE = 8;

/** An error that says in one sentence what is wrong and what to do. */
export class Problem extends Error {}

/** Fetch a file, and refuse it if it has another hash. */
async function fetchChecked({ file, integrity }, base, problem) {
  let response;
  try {
    response = await fetch(new URL(file, base), { integrity, cache: "no-cache" });
  } catch {
    throw new Problem(problem);
  }
  if (!response.ok) throw new Problem(problem);
  return response.arrayBuffer();
}

/** Open the model that the settings in model.json describe; `base` is the address of the page. */
export async function openModel(settings, base) {
  if (typeof WebAssembly === "undefined") {
    throw new Problem("This browser has no WebAssembly, which runs the model: use a current browser.");
  }
  const { runtime } = settings;
  const source = new URL(runtime.base, base);
  const missing =
    `ONNX Runtime Web ${runtime.version} could not be loaded from ${source.host}, or is not the expected file: ` +
    "check the connection, or make this page with --runtime.";
  const changed = `The model ${settings.model.file} is missing or was changed: export the page again.`;
  const [module, wasm, model] = await Promise.all([
    fetchChecked(runtime.module, source, missing),
    fetchChecked(runtime.wasm, source, missing),
    fetchChecked(settings.model, base, changed),
  ]);
  const ort = await importModule(module);
  ort.env.wasm.wasmBinary = wasm;
  ort.env.wasm.numThreads = 1; // more threads need headers that static servers do not send
  try {
    return new Model(ort, await ort.InferenceSession.create(new Uint8Array(model)), settings);
  } catch (error) {
    throw new Problem(`The model could not be started (${error.message}): use a current browser.`);
  }
}

async function importModule(bytes) {
  const address = URL.createObjectURL(new Blob([bytes], { type: "text/javascript" }));
  try {
    return await import(address);
  } finally {
    URL.revokeObjectURL(address);
  }
}

class Model {
  constructor(ort, session, settings) {
    Object.assign(this, { ort, session, settings });
  }

  /** Run windows (count · samples) and return each output as one array, logits and spectrograms alike. */
  async run(waveform, count) {
    const input = new this.ort.Tensor("float32", waveform, [count, waveform.length / count]);
    const outputs = await this.session.run({ waveform: input });
    return Object.fromEntries(Object.entries(outputs).map(([name, tensor]) => [name, tensor.data]));
  }
}

/**
 * Return where windows begin, in samples, as `audiostride predict` places them.
 *
 * Windows without overlap: as many as fit, rounded, at least one, centred on the sound. With overlap (`--hop`): from the
 * beginning, and the last one ends with the sound; a sound shorter than a window lies in its middle.
 */
export function windowBegins(length, window, hop) {
  if (hop === window || length <= window) {
    const count = Math.max(1, Math.floor((length + Math.floor(window / 2)) / window));
    const first = Math.floor((length - count * window) / 2);
    return Array.from({ length: count }, (_, index) => first + index * window);
  }
  const begins = [];
  for (let begin = 0; begin + window < length; begin += hop) begins.push(begin);
  return [...begins, length - window];
}

/** Cut windows from a sound; silence continues it on both sides. */
export function cut(samples, begins, window) {
  const cutOut = new Float32Array(begins.length * window);
  begins.forEach((begin, index) => {
    const part = samples.subarray(Math.max(0, begin), Math.max(0, begin + window));
    cutOut.set(part, index * window + Math.max(0, -begin));
  });
  return cutOut;
}

/** Return the length of the model's windows in samples. */
export const windowLength = (settings) => Math.round(settings.window_s * settings.sample_rate);

export function softmax(logits) {
  const highest = Math.max(...logits);
  const exponentials = Array.from(logits, (logit) => Math.exp(logit - highest));
  const sum = exponentials.reduce((total, value) => total + value);
  return exponentials.map((value) => value / sum);
}

/** Return the labels of a task with their probabilities, the most probable one first. */
export function ranked(labels, logits) {
  const probabilities = softmax(logits);
  return labels
    .map((label, index) => ({ label, probability: probabilities[index] }))
    .sort((a, b) => b.probability - a.probability);
}

/**
 * Label a sound window by window.
 *
 * `run` is that of a model. Yields the result so far after each batch of windows: `begins` in samples, `logits` from
 * task to one array per window, and the spectrograms that the model gives, (frames · channels) over the whole sound.
 */
export async function* labelWindows(run, settings, samples, hop) {
  const window = windowLength(settings);
  const begins = windowBegins(samples.length, window, hop);
  const result = emptyResult(settings, samples.length);
  for (let first = 0; first < begins.length; first += WINDOWS_AT_ONCE) {
    const batch = begins.slice(first, first + WINDOWS_AT_ONCE);
    addWindows(result, settings, batch, await run(cut(samples, batch, window), batch.length));
    yield { result, done: result.begins.length, count: begins.length };
  }
}

export function emptyResult(settings, length) {
  const { frame_samples, centres_hz, captions } = settings.spectrograms;
  const frames = Math.ceil(length / frame_samples);
  const spectrogram = () => new Float32Array(frames * centres_hz.length).fill(-Infinity);
  return {
    length,
    window: windowLength(settings),
    begins: [],
    logits: Object.fromEntries(Object.keys(settings.labels).map((task) => [task, []])),
    spectrograms: Object.fromEntries(Object.keys(captions).map((name) => [name, spectrogram()])),
  };
}

/** Add the outputs of a batch of windows to a result. */
export function addWindows(result, settings, begins, outputs) {
  const { frame_samples, centres_hz } = settings.spectrograms;
  begins.forEach((begin, index) => {
    result.begins.push(begin);
    const part = (name) => {
      const size = outputs[name].length / begins.length;
      return outputs[name].subarray(index * size, (index + 1) * size);
    };
    for (const [task, name] of Object.entries(settings.outputs)) result.logits[task].push(part(name).slice());
    for (const [name, whole] of Object.entries(result.spectrograms)) {
      const values = part(name);
      const offset = Math.round(begin / frame_samples) * centres_hz.length;
      const skipped = Math.max(0, -offset);
      whole.set(values.subarray(skipped, Math.max(skipped, whole.length - offset)), Math.max(0, offset));
    }
  });
}

/** Return the logits of a task for the whole sound: the mean over its windows. */
export function meanLogits(logits) {
  return logits[0].map((_, label) => logits.reduce((sum, window) => sum + window[label], 0) / logits.length);
}
