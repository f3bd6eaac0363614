// Sends what the microphone hears to the page, in chunks of 2048 samples, mixed to mono.

registerProcessor(
  "recorder",
  class extends AudioWorkletProcessor {
    chunk = new Float32Array(2048);
    filled = 0;

    process([channels]) {
      if (channels.length) {
        for (let i = 0; i < channels[0].length; i++) {
          this.chunk[this.filled++] = channels.reduce((sum, channel) => sum + channel[i], 0) / channels.length;
        }
        if (this.filled === this.chunk.length) {
          this.port.postMessage(this.chunk);
          this.filled = 0;
        }
      }
      return true;
    }
  },
);
