"""Labels and embeddings of sound by a trained model: from files, from arrays, or live."""
