"""Label a sound with a model by `audiostride export`: python label_wav.py MODEL.onnx FILE.wav."""

import json
import sys

import numpy as np
import onnxruntime
import soundfile

session = onnxruntime.InferenceSession(sys.argv[1])
metadata = session.get_modelmeta().custom_metadata_map
samples, rate = soundfile.read(sys.argv[2], dtype="float32", always_2d=True)
if rate != int(metadata["sample_rate"]):
    sys.exit(f"{sys.argv[2]} has {rate} samples per second, but the model takes {metadata['sample_rate']}")
outputs = session.run(None, {"waveform": samples.mean(axis=1)[np.newaxis]})
for (task, labels), logits in zip(json.loads(metadata["labels"]).items(), outputs, strict=False):
    probabilities = np.exp(logits[0] - logits[0].max())
    probabilities /= probabilities.sum()
    best = probabilities.argmax()
    print(f"{task}: {labels[best]} {probabilities[best]:.1%}")
