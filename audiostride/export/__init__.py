"""Trained classifiers in formats that run without audiostride: ONNX, and torch's exported programs."""
