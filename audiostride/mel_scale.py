"""Where mel channels lie, and how long a Fourier transform must be to resolve them."""

import math

# How many times as long as the shortest power of two the Fourier transform may become, so that each channel
# has a bin. Zeros interpolate the spectrum; they resolve nothing that the window does not.
_MOST_PADDING = 4


def mel_edges(channels: int, f_min: float, f_max: float) -> list[float]:
    """Return frequencies in Hz, (channels + 2,), equally far apart on the mel scale (HTK's).

    Channel i reaches from frequency i to frequency i + 2, with its centre at i + 1.
    """
    low, high = (2595 * math.log10(1 + f / 700) for f in (f_min, f_max))
    mels = [low + (high - low) * i / (channels + 1) for i in range(channels + 2)]
    return [700 * (10 ** (mel / 2595) - 1) for mel in mels]


def samples_of(milliseconds: float, sample_rate: int) -> int:
    """Return a duration in whole samples, at least one."""
    return max(1, round(sample_rate * milliseconds / 1000))


def fft_length(
    sample_rate: int, window_ms: float, hop_ms: float, channels: int, f_min: float, f_max: float
) -> int:
    """Return the length in samples of a Fourier transform that gives each mel channel a bin.

    It is the shortest such power of two, because a power of two is fast, that is not shorter than the window
    and the hop.

    Raises:
        ValueError: if channels are still empty when the transform is four times as long as that.
    """
    longest = max(samples_of(window_ms, sample_rate), samples_of(hop_ms, sample_rate))
    shortest = 1 << (longest - 1).bit_length()
    n_fft = shortest
    while empty := _empty_channels(sample_rate / n_fft, mel_edges(channels, f_min, f_max)):
        if n_fft == _MOST_PADDING * shortest:
            first, low, high = empty[0]
            raise ValueError(
                f"no bin of the spectrum of a window of {window_ms:g} ms lies in {len(empty)} of {channels} "
                f"mel channels, for example in channel {first} from {low:.0f} to {high:.0f} Hz: give fewer "
                "channels, a longer window or a higher lowest frequency"
            )
        n_fft *= 2
    return n_fft


def _empty_channels(spacing: float, edges: list[float]) -> list[tuple[int, float, float]]:
    """Return number, lower and upper edge in Hz of the channels without a bin between their edges."""
    return [
        (number, low, high)
        for number, (low, high) in enumerate(zip(edges, edges[2:], strict=False))
        if math.floor(low / spacing + 1) * spacing >= high
    ]
