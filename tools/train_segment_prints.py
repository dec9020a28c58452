"""Train the network of neural audio fingerprints: segments of 1 s and their replicas, by InfoNCE.

    python tools/train_segment_prints.py SOUNDS OUT.safetensors [--steps 12000] [--batch 1024]

SOUNDS is a folder with `lengths.npy` (samples at 8 kHz per clip) and `train*.opus`, the clips one after the other. A
step takes one segment of as many clips and a replica of each: up to 0.25 s earlier or later, up to 5% faster or slower,
in a simulated room, with noise at -3 to 15 dB (other clips, or colored noise), with another frequency response, and
with parts of its log-mel blanked (Chang et al. 2021, section 3). Rooms are noise that decays after the direct sound, so
rooms of a room simulator are new to the network. Before that, most segments become new sounds (`composed`): played at
half to twice the speed and mixed with another clip, so that few hours of clips give segments without end.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from pathlib import Path

import numpy as np
import soundfile
import torch
from safetensors.numpy import save_file
from torch import Tensor

from aural.models.rounding import in_steps
from aural.models.segment_prints import RATE_HZ, SEGMENT, SegmentPrints

CONTEXT, SLACK = 4000, 2500
"""Samples kept before a segment for the tails of rooms, and on both sides of it for offsets and speeds."""
TEMPERATURE = 0.05


class Replicas:
    """Draws segments of clips and their replicas on the device."""

    def __init__(self, folder: Path, device: torch.device, seed: int) -> None:
        lengths = np.load(folder / "lengths.npy").astype(np.int64)
        files = sorted(folder.glob("train*.opus"))
        wave = np.concatenate([soundfile.read(file, dtype="float32")[0] for file in files])
        if len(wave) != lengths.sum():
            raise SystemExit(f"{folder}: {len(wave)} samples, but lengths.npy states {lengths.sum()}")
        gap = CONTEXT + SLACK
        silence = np.zeros(gap, np.float32)
        parts = np.split(wave, np.cumsum(lengths)[:-1])
        joined = np.concatenate([silence, *(piece for part in parts for piece in (part, silence))])
        self.wave = torch.from_numpy(joined).to(device)
        self.starts = torch.from_numpy(gap + np.concatenate([[0], np.cumsum(lengths + gap)[:-1]])).to(device)
        self.lengths = torch.from_numpy(lengths).to(device)
        self.device, self.draw = device, torch.Generator(device).manual_seed(seed)

    def uniform(self, low: float, high: float, *shape: int) -> Tensor:
        return low + (high - low) * torch.rand(shape, generator=self.draw, device=self.device)

    def window(self, at: Tensor, length: int) -> Tensor:
        """Return the samples (B, length) from each position on."""
        return self.wave[at[:, None] + torch.arange(length, device=self.device)]

    def pair(self, batch: int) -> tuple[Tensor, Tensor]:
        """Return segments and replicas (B, T) of as many clips, the louder of two segments per clip."""
        order = torch.randperm(len(self.lengths), generator=self.draw, device=self.device)[:batch]
        room = (self.lengths[order] - SEGMENT).clamp_min(0)
        drawn = (self.uniform(0, 1, 2, batch) * (room + 1)).long().minimum(room)
        levels = torch.stack([self.window(self.starts[order] + at, SEGMENT).square().mean(1) for at in drawn])
        at = self.starts[order] + drawn.gather(0, levels.argmax(0)[None])[0]
        context = self.composed(at)
        return context[:, CONTEXT + SLACK :][:, :SEGMENT], self.replica(context)

    def composed(self, at: Tensor) -> Tensor:
        """Return the segments at some places and what surrounds them (B, CONTEXT + SEGMENT + 2 SLACK), as new sounds.

        Two thirds are played at another speed; half are mixed with another clip at -8 to 8 dB.
        """
        wave = self.respeeded(at)
        other = self.respeeded((self.uniform(0, 1, len(at)) * (len(self.wave) - SEGMENT)).long())
        levels = [one.square().mean(1, keepdim=True).sqrt().clamp_min(1e-4) for one in (wave, other)]
        share = 10 ** (self.uniform(-8, 8, len(at), 1) / 20) * (self.uniform(0, 1, len(at), 1) < 0.5)
        return wave + other * share * levels[0] / levels[1]

    def respeeded(self, at: Tensor) -> Tensor:
        """Return (B, CONTEXT + SEGMENT + 2 SLACK) around places, played at 0.5 to 2 times the speed for two thirds."""
        changed = self.uniform(0, 1, len(at), 1) < 0.67
        speed = torch.exp(self.uniform(-0.69, 0.69, len(at), 1) * changed)
        steps = torch.arange(CONTEXT + SEGMENT + 2 * SLACK, device=self.device) - CONTEXT - SLACK
        places = steps * speed
        below = places.floor()
        left = (at[:, None] + below.long()).clamp(0, len(self.wave) - 2)
        share = places - below
        return self.wave[left] * (1 - share) + self.wave[left + 1] * share

    def replica(self, wave: Tensor) -> Tensor:
        """Return replicas (B, T) of the segments in the middle of waves (B, CONTEXT + SEGMENT + 2 SLACK)."""
        batch = len(wave)
        length = CONTEXT + SEGMENT
        speed = torch.exp(self.uniform(-0.05, 0.05, batch, 1))
        offset = self.uniform(-0.25, 0.25, batch, 1) * RATE_HZ
        steps = torch.arange(length, device=self.device) - CONTEXT
        places = (CONTEXT + SLACK + offset + steps * speed).clamp(0, wave.shape[1] - 2)
        left = places.long()
        share = places - left
        wave = wave.gather(1, left) * (1 - share) + wave.gather(1, left + 1) * share
        wave = self.colored(self.in_room(wave)[:, CONTEXT:])
        noise = self.noise(batch)
        snr_db = self.uniform(-3, 15, batch, 1)
        level = wave.square().mean(1, keepdim=True).sqrt() / noise.square().mean(1, keepdim=True).sqrt().clamp_min(1e-6)
        noisy = wave + noise * level * 10 ** (-snr_db / 20)
        peak = noisy.abs().amax(1, keepdim=True).clamp_min(1e-6)
        clipped = self.uniform(0, 1, batch, 1) < 0.15
        limit = torch.where(clipped, peak * self.uniform(0.3, 1.0, batch, 1), peak)
        return noisy.clamp(-limit, limit) / peak

    def in_room(self, wave: Tensor) -> Tensor:
        """Return waves (B, T) in rooms: the direct sound and decaying noise; a fifth stays dry."""
        batch, taps = len(wave), CONTEXT
        seconds = torch.arange(taps, device=self.device) / RATE_HZ
        decay_s = torch.exp(self.uniform(math.log(0.1), math.log(1.2), batch, 1))
        tail = torch.randn(batch, taps, generator=self.draw, device=self.device) * 10 ** (-3 * seconds / decay_s)
        tail = tail * (seconds > self.uniform(0.001, 0.02, batch, 1))
        ratio_db = self.uniform(-6, 12, batch, 1)
        tail = tail / tail.square().sum(1, keepdim=True).sqrt().clamp_min(1e-6) * 10 ** (-ratio_db / 20)
        tail = tail * (self.uniform(0, 1, batch, 1) > 0.2)
        tail[:, 0] = 1.0
        size = wave.shape[1] + taps
        spectrum = torch.fft.rfft(wave, size) * torch.fft.rfft(tail, size)
        return torch.fft.irfft(spectrum, size)[:, : wave.shape[1]]

    def colored(self, wave: Tensor) -> Tensor:
        """Return waves (B, T) with a smooth random frequency response, as of loudspeakers, microphones and codecs."""
        points_db = 6 * torch.randn(len(wave), 1, 8, generator=self.draw, device=self.device)
        bins = wave.shape[1] // 2 + 1
        response_db = torch.nn.functional.interpolate(points_db, bins, mode="linear", align_corners=True)[:, 0]
        highest = self.uniform(0.5, 1.4, len(wave), 1)
        response = 10 ** (response_db / 20) * (torch.linspace(0, 1, bins, device=self.device) < highest)
        return torch.fft.irfft(torch.fft.rfft(wave) * response, wave.shape[1])

    def noise(self, batch: int) -> Tensor:
        """Return noise (B, T): one to three other clips, or noise whose spectrum falls by up to 6 dB per octave."""
        others = torch.zeros(batch, SEGMENT, device=self.device)
        for number in range(3):
            at = (self.uniform(0, 1, batch) * (len(self.wave) - SEGMENT)).long()
            part = self.window(at, SEGMENT)
            used = 1.0 if number == 0 else (self.uniform(0, 1, batch, 1) < 0.5).float()
            others += used * part / part.square().mean(1, keepdim=True).sqrt().clamp_min(0.01)
        white = torch.fft.rfft(torch.randn(batch, SEGMENT, generator=self.draw, device=self.device))
        slope = self.uniform(0, 1, batch, 1)
        ranks = torch.arange(1, white.shape[1] + 1, device=self.device)
        hiss = torch.fft.irfft(white * ranks**-slope, SEGMENT)
        hiss = hiss / hiss.square().mean(1, keepdim=True).sqrt()
        return torch.where(self.uniform(0, 1, batch, 1) < 0.5, others, hiss)

    def blanked(self, pictures: Tensor) -> Tensor:
        """Return log-mels (B, N, F) with a band of frames and one of mels blanked in a third of them each."""
        batch, frames, mels = pictures.shape
        for size, axis in ((frames, 1), (mels, 2)):
            first = self.uniform(0, 1, batch, 1) * size
            width = self.uniform(0, 0.3, batch, 1) * size * (self.uniform(0, 1, batch, 1) < 0.33)
            at = torch.arange(size, device=self.device)
            inside = (at >= first) & (at < first + width)
            pictures = pictures.masked_fill(inside[:, :, None] if axis == 1 else inside[:, None], 0.0)
        return pictures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sounds", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--steps", type=int, default=12000)
    parser.add_argument("--batch", type=int, default=1024)
    parser.add_argument("--rate", type=float, default=2e-3)
    parser.add_argument("--limit-s", type=float, default=1e9, help="the schedule ends at this time")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    args = parser.parse_args()
    device = torch.device(args.device)
    torch.manual_seed(0)
    network = SegmentPrints().to(device, memory_format=torch.channels_last).train()
    replicas = Replicas(args.sounds, device, seed=0)
    batch = min(args.batch, len(replicas.lengths))
    held = Replicas(args.sounds, device, seed=1)
    optimizer = torch.optim.AdamW(network.parameters(), args.rate, weight_decay=0.01)
    began, step, progress = time.perf_counter(), 0, 0.0
    while progress < 1:
        progress = max(step / args.steps, (time.perf_counter() - began) / args.limit_s)
        rate = args.rate * min(1.0, (step + 1) / 300, 0.01 + 0.99 * math.cos(min(progress, 1.0) * math.pi / 2) ** 2)
        for group in optimizer.param_groups:
            group["lr"] = rate
        with torch.no_grad():
            pictures = network.pictures(torch.cat(replicas.pair(batch)))
            pictures = torch.cat([pictures[:batch], replicas.blanked(pictures[batch:])])
        with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
            rows = network.embed(pictures)
        logits = rows @ rows.T / TEMPERATURE
        logits.fill_diagonal_(-1e4)
        targets = torch.arange(2 * batch, device=device).roll(batch)
        loss = torch.nn.functional.cross_entropy(logits, targets)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        if step % 500 == 0 or progress >= 1:
            with torch.no_grad():
                network.eval()
                clean, noisy = held.pair(batch)
                first = (network(noisy) @ network(clean).T).argmax(1) == torch.arange(batch, device=device)
                network.train()
            line = {"step": step, "loss": round(loss.item(), 4), "first": round(first.float().mean().item(), 4)}
            print(json.dumps(line | {"s": round(time.perf_counter() - began, 1)}), flush=True)
        step += 1
    tensors = {
        name: tensor.float().cpu().numpy() if tensor.is_floating_point() else tensor.cpu().numpy()
        for name, tensor in network.state_dict().items()
        if not name.startswith("front_end.")
    }
    save_file({name: np.ascontiguousarray(values) for name, values in in_steps(tensors).items()}, args.out)


if __name__ == "__main__":
    main()
