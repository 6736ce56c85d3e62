"""Voice that can be recognised again: made, read, and compared.

Every phone of the rig speaks its own synthetic voice. What arrived at the other
end is compared with what was sent, at 8 kHz, by normalised cross-correlation:
for each window of the recording the best matching place in the sent file is
searched over the whole file. 1.0 is the same wave; silence, noise or another
voice stay below about 0.3. A call passes above 0.9.

Run as a program it tests itself, with controls that must fail.
"""

import sys
import wave
from dataclasses import dataclass

import numpy as np

RATE = 8000
# Seconds. Long enough that no other place in the voice looks alike; short enough that a frame lost or
# repeated by a jitter buffer (a busy machine) spoils few windows, and the median stands.
WINDOW = 0.5
SKIP_START = 0.6  # seconds after the first sound: ramps and jitter buffers settle
SKIP_END = 0.4  # seconds before the last sound: the hang-up may cut a frame
SILENCE = 30.0  # RMS of 16-bit samples below which a window counts as silent


@dataclass
class Match:
    """How much of a sent voice was found in a recording."""

    correlation: float  # median over the windows, 0 where nothing was heard
    worst: float  # the worst window
    windows: int  # how many windows carried sound
    lag_ms: float  # place in the sent file of the first window, less its place in the recording
    drift_ms: float  # largest change of that lag over the call: lost or repeated sound


def voice(seed, seconds):
    """A speech-like wave: voiced syllables with moving formants, and hissed consonants.

    The pauses stay shorter than a tenth of a second, so every window carries sound.
    """
    rng = np.random.default_rng(seed)
    out = np.zeros(int(seconds * RATE))
    at = 0
    while at < len(out):
        length = int(rng.uniform(0.10, 0.28) * RATE)
        t = np.arange(length) / RATE
        envelope = np.sin(np.pi * np.linspace(0, 1, length)) ** 0.5
        if rng.random() < 0.75:
            pitch = rng.uniform(85, 240) * (1 + rng.uniform(-0.2, 0.2) * t / t[-1])
            phase = 2 * np.pi * np.cumsum(pitch) / RATE
            formants = [(rng.uniform(300, 800), 120), (rng.uniform(900, 2300), 180), (rng.uniform(2400, 3200), 250)]
            part = np.zeros(length)
            for n in range(1, int(3300 / pitch.max())):
                f = n * pitch.mean()
                level = sum(np.exp(-(((f - c) / w) ** 2)) / (i + 1) for i, (c, w) in enumerate(formants)) + 0.02
                part += level * np.sin(n * phase + rng.uniform(0, 2 * np.pi))
        else:
            part = _band(rng.standard_normal(length), 1200, 3300)
        part = part / (np.abs(part).max() + 1e-9) * envelope * rng.uniform(0.5, 1.0)
        part = part[: len(out) - at]
        out[at : at + len(part)] += part
        at += length + int(rng.uniform(0.0, 0.08) * RATE)
    out = _band(out, 250, 3400)
    return out / np.abs(out).max() * 12000


def _band(x, low, high):
    spectrum = np.fft.rfft(x)
    f = np.fft.rfftfreq(len(x), 1 / RATE)
    spectrum[(f < low) | (f > high)] = 0
    return np.fft.irfft(spectrum, len(x))


def write(path, samples, rate=RATE):
    with wave.open(str(path), "wb") as w:
        w.setnchannels(1)
        w.setsampwidth(2)
        w.setframerate(rate)
        w.writeframes(np.clip(samples, -32767, 32767).astype("<i2").tobytes())


def read(path):
    """The samples of a 16-bit WAV at 8 kHz, first channel.

    A phone that was stopped hard leaves a header with length 0; so the data chunk
    is read to the end of the file whenever its stated length can't be true.
    """
    raw = open(path, "rb").read()
    if len(raw) < 44 or raw[:4] != b"RIFF":
        return np.zeros(0)
    at, channels, rate, data = 12, 1, RATE, b""
    while at + 8 <= len(raw):
        kind, size = raw[at : at + 4], int.from_bytes(raw[at + 4 : at + 8], "little")
        if kind == b"fmt ":
            channels = int.from_bytes(raw[at + 10 : at + 12], "little")
            rate = int.from_bytes(raw[at + 12 : at + 16], "little")
        if kind == b"data":
            data = raw[at + 8 :] if size == 0 or at + 8 + size > len(raw) else raw[at + 8 : at + 8 + size]
            break
        at += 8 + size + (size & 1)
    data = data[: len(data) // (2 * channels) * 2 * channels]
    samples = np.frombuffer(data, "<i2").astype(float).reshape(-1, channels)[:, 0]
    return resample(samples, rate)


def resample(x, rate):
    if rate == RATE or len(x) == 0:
        return x
    n = int(round(len(x) * RATE / rate))
    spectrum = np.fft.rfft(x)
    keep = np.zeros(n // 2 + 1, complex)
    m = min(len(keep), len(spectrum))
    keep[:m] = spectrum[:m]
    return np.fft.irfft(keep, n) * n / len(x)


def from_ulaw(payload):
    """G.711 µ-law octets as samples."""
    u = ~np.frombuffer(payload, np.uint8)
    magnitude = ((u & 0x0F).astype(int) * 8 + 132) << ((u >> 4) & 7)
    return np.where(u & 0x80, 132 - magnitude, magnitude - 132).astype(float)


def find(window, sent):
    """The best place of `window` in `sent`: (correlation, index)."""
    n = len(window)
    if len(sent) < n or np.sqrt(np.mean(window**2)) < SILENCE:
        return 0.0, 0
    w = window - window.mean()
    size = 1 << int(np.ceil(np.log2(len(sent) + n)))
    cross = np.fft.irfft(np.fft.rfft(sent, size) * np.conj(np.fft.rfft(w, size)), size)[: len(sent) - n + 1]
    total = np.concatenate(([0.0], np.cumsum(sent)))
    square = np.concatenate(([0.0], np.cumsum(sent**2)))
    mean = (total[n:] - total[:-n]) / n
    energy = np.maximum(square[n:] - square[:-n] - n * mean**2, 1.0)
    score = cross / np.sqrt(energy * np.sum(w**2))
    best = int(np.argmax(score))
    return float(score[best]), best


def match(sent, received):
    """Compares a recording with what was sent; both at 8 kHz."""
    loud = np.nonzero(np.abs(received) > 4 * SILENCE)[0]
    if len(loud) == 0:
        return Match(0.0, 0.0, 0, 0.0, 0.0)
    start, end = loud[0] + int(SKIP_START * RATE), loud[-1] - int(SKIP_END * RATE)
    n = int(WINDOW * RATE)
    scores, lags = [], []
    # The file is played in a loop: one more copy lets a window lie over the seam.
    looped = np.concatenate((sent, sent[:n]))
    for at in range(start, end - n, n // 2):
        score, place = find(received[at : at + n], looped)
        scores.append(score)
        lags.append((place - at) % len(sent))
    if not scores:
        return Match(0.0, 0.0, 0, 0.0, 0.0)
    first = lags[0]
    drift = max(abs((lag - first + len(sent) // 2) % len(sent) - len(sent) // 2) for lag in lags)
    return Match(float(np.median(scores)), min(scores), len(scores), first * 1000 / RATE, drift * 1000 / RATE)


def self_test():
    """Pairs of (what, ok): the measure finds what is there, and does not find what isn't."""
    rng = np.random.default_rng(7)
    a, b = voice(1, 20), voice(2, 20)
    heard = np.concatenate((np.zeros(4000), a[30000:80000])) * 0.4
    coded = from_ulaw(_to_ulaw(heard))
    slipped = np.concatenate((coded[:20000], coded[20800:]))
    got, slip = match(a, coded), match(a, slipped)
    return [
        ("the same voice through µ-law is found", got.correlation > 0.99 and got.worst > 0.98),
        ("its place is found to a millisecond", abs(got.lag_ms - (30000 - 4000) / 8) < 1 and got.drift_ms < 1),
        ("100 ms lost on the way show as drift", slip.correlation > 0.9 and 99 < slip.drift_ms < 101),
        ("control: another voice is not", match(b, coded).correlation < 0.5),
        ("control: noise is not", match(a, rng.standard_normal(40000) * 3000).correlation < 0.2),
        ("control: silence is not", match(a, np.zeros(40000)).correlation == 0.0),
        ("µ-law decodes to the table of G.711", list(from_ulaw(bytes([0x00, 0x80, 0xFF, 0x7F]))) == [-32124, 32124, 0, 0]),
        ("48 kHz is brought to 8 kHz", find(resample(resample(a[:48000], RATE / 6), 48000)[8000:16000], a)[0] > 0.99),
    ]


def _to_ulaw(samples):
    table = from_ulaw(bytes(range(256)))
    return np.abs(table[None, :] - samples[:, None]).argmin(axis=1).astype(np.uint8).tobytes()


if __name__ == "__main__":
    failed = 0
    for what, ok in self_test():
        print(f"{'ok  ' if ok else 'FAIL'} {what}")
        failed += not ok
    sys.exit(1 if failed else 0)
