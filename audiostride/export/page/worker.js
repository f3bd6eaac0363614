// Runs the model beside the page, so that the page stays responsive.

import { openModel, Problem } from "./model.js";

let model;

onmessage = async ({ data: { id, open, waveform, count } }) => {
  try {
    if (open) {
      model = await openModel(open.settings, open.base);
      postMessage({ id });
    } else {
      postMessage({ id, outputs: await model.run(waveform, count) });
    }
  } catch (error) {
    postMessage({ id, error: error.message, expected: error instanceof Problem });
  }
};
