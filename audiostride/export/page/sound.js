// Sound: decodes files, resamples, records the microphone, and writes WAV files.

import { Problem } from "./model.js";

// All browsers process sound at this rate in Hz and above. Lower rates are whole fractions of one that they do.
const LOWEST_RATE = 8000;
// Zero crossings on each side of the low-pass that takes every so many samples.
const CROSSINGS = 16;

/** Decode a sound file of any kind that the browser knows to mono samples at `rate`. */
export async function decode(bytes, rate, name) {
  const factor = Math.ceil(LOWEST_RATE / rate);
  const context = offlineContext(1, factor * rate);
  try {
    return decimate(mono(await context.decodeAudioData(bytes)), factor);
  } catch {
    throw new Problem(`This browser cannot decode ${name}: choose a WAV, FLAC, MP3 or Ogg file.`);
  }
}

function offlineContext(length, rate) {
  try {
    return new OfflineAudioContext(1, length, rate);
  } catch {
    throw new Problem(`This browser does not process sound at the model's ${rate} Hz: use another one, such as Chrome.`);
  }
}

/** Low-pass samples by a windowed sinc, and take every `factor`-th one. */
export function decimate(samples, factor) {
  if (factor === 1) return samples;
  const reach = CROSSINGS * factor;
  const taps = Array.from({ length: 2 * reach + 1 }, (_, tap) => {
    const place = (tap - reach) / factor;
    const sinc = place ? Math.sin(Math.PI * place) / (Math.PI * place) : 1;
    return (sinc * Math.cos((Math.PI * place) / (2 * CROSSINGS)) ** 2) / factor;
  });
  const decimated = new Float32Array(Math.ceil(samples.length / factor));
  for (let index = 0; index < decimated.length; index++) {
    const first = index * factor - reach;
    let sum = 0;
    for (let tap = Math.max(0, -first); tap < taps.length && first + tap < samples.length; tap++) {
      sum += taps[tap] * samples[first + tap];
    }
    decimated[index] = sum;
  }
  return decimated;
}

function mono(buffer) {
  const samples = buffer.getChannelData(0).slice();
  for (let channel = 1; channel < buffer.numberOfChannels; channel++) {
    buffer.getChannelData(channel).forEach((value, index) => (samples[index] += value));
  }
  return buffer.numberOfChannels > 1 ? samples.map((value) => value / buffer.numberOfChannels) : samples;
}

/** Return mono samples at another rate. */
export async function resample(samples, from, to) {
  if (from === to || !samples.length) return samples;
  const factor = Math.ceil(LOWEST_RATE / to);
  const context = offlineContext(Math.max(1, Math.round((samples.length * factor * to) / from)), factor * to);
  const source = context.createBufferSource();
  source.buffer = new AudioBuffer({ length: samples.length, sampleRate: from });
  source.buffer.copyToChannel(samples, 0);
  source.connect(context.destination);
  source.start();
  return decimate((await context.startRendering()).getChannelData(0), factor);
}

const REFUSALS = {
  NotAllowedError: "The microphone was refused: allow it for this page in the browser's settings, and try again.",
  NotFoundError: "There is no microphone: connect one, or choose a sound file.",
  NotReadableError: "The microphone cannot be read: close other programs that use it, and try again.",
};

/** A recording of the microphone that grows while it is open. */
export class Microphone {
  chunks = [];
  length = 0;
  open = true;

  static async start() {
    if (!navigator.mediaDevices?.getUserMedia) {
      throw new Problem("Browsers give the microphone only to pages from https or localhost: open this page there.");
    }
    const microphone = new Microphone();
    try {
      // Browsers improve speech for listeners; the model was trained on sound as it is.
      const raw = { echoCancellation: false, noiseSuppression: false, autoGainControl: false };
      microphone.stream = await navigator.mediaDevices.getUserMedia({ audio: raw });
    } catch (error) {
      throw new Problem(REFUSALS[error.name] ?? `The microphone could not be opened (${error.message}).`);
    }
    const context = (microphone.context = new AudioContext());
    microphone.rate = context.sampleRate;
    await context.audioWorklet.addModule("recorder.js");
    const recorder = new AudioWorkletNode(context, "recorder", { numberOfOutputs: 0 });
    recorder.port.onmessage = ({ data }) => microphone.add(data);
    context.createMediaStreamSource(microphone.stream).connect(recorder);
    microphone.stream.getAudioTracks()[0].onended = () => microphone.stop();
    await context.resume();
    return microphone;
  }

  get seconds() {
    return this.length / this.rate;
  }

  add(chunk) {
    if (!this.open) return;
    this.chunks.push(chunk);
    this.length += chunk.length;
    this.wake?.();
  }

  /** Wait until there are `seconds` of sound, or the microphone is closed. */
  async until(seconds) {
    while (this.open && this.seconds < seconds) await new Promise((wake) => (this.wake = wake));
  }

  /** Return the samples between two times. */
  between(begin_s, end_s) {
    const [begin, end] = [begin_s, end_s].map((seconds) => Math.round(seconds * this.rate));
    const samples = new Float32Array(end - begin);
    let position = 0;
    for (const chunk of this.chunks) {
      if (position + chunk.length > begin && position < end) {
        const skipped = Math.max(0, begin - position);
        samples.set(chunk.subarray(skipped, end - position), position + skipped - begin);
      }
      position += chunk.length;
    }
    return samples;
  }

  stop() {
    if (!this.open) return;
    this.open = false;
    this.stream.getTracks().forEach((track) => track.stop());
    this.context.close();
    this.wake?.();
  }
}

/** Return a WAV file of 16-bit mono samples. */
export function wav(samples, rate) {
  const view = new DataView(new ArrayBuffer(44 + 2 * samples.length));
  const text = (offset, letters) => [...letters].forEach((l, i) => view.setUint8(offset + i, l.charCodeAt(0)));
  text(0, "RIFF");
  view.setUint32(4, 36 + 2 * samples.length, true);
  text(8, "WAVEfmt ");
  view.setUint32(16, 16, true);
  view.setUint16(20, 1, true);
  view.setUint16(22, 1, true);
  view.setUint32(24, rate, true);
  view.setUint32(28, 2 * rate, true);
  view.setUint16(32, 2, true);
  view.setUint16(34, 16, true);
  text(36, "data");
  view.setUint32(40, 2 * samples.length, true);
  samples.forEach((value, index) => {
    view.setInt16(44 + 2 * index, Math.max(-32768, Math.min(32767, Math.round(value * 32768))), true);
  });
  return new Blob([view], { type: "audio/wav" });
}
