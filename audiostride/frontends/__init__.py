"""From waveforms to spectrograms, one frontend per file."""
