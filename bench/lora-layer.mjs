// What LoRA adds to the linear layers of a decoder block of SmolLM2-135M (q, k, v, o, gate, up, down), through the layers of the package:
// milliseconds forward and backward, frozen and adapted; peft's beside it.

import { allocate, release } from '../dist/core/memory.js';
import { Parameter } from '../dist/core/parameter.js';
import { Program } from '../dist/core/program.js';
import { Linear } from '../dist/layers/linear.js';
import { Projections } from '../dist/layers/projections.js';
import { LoraAdapter } from '../dist/methods/lora-adapter.js';
import { AccumulateSink } from '../dist/trainer/accumulate-sink.js';
import { randomTensor } from './op-calls.mjs';
import { significant, spread } from './statistics.mjs';
import { inTurns, roundsOf } from './turns.mjs';

const [hidden, keys, inner] = [576, 192, 1536];
/** Layers that read the same input: inputs, and the outputs of each. */
const groups = [
  { name: 'qkv', inputs: hidden, outputs: [hidden, keys, keys] },
  { name: 'o', inputs: hidden, outputs: [hidden] },
  { name: 'gate_up', inputs: hidden, outputs: [inner, inner] },
  { name: 'down', inputs: inner, outputs: [hidden] },
];

/** The linear layers with inputs and gradients: forward() and both() run them. */
class LinearLayers {
  #tensors = [];
  #parts;
  #sink;
  #target;
  #programs = new Map();

  constructor({ tokens, rank, dtype, adapted }) {
    const trained = [];
    this.#target = { device: 'cpu', dtype };
    this.#parts = groups.map(({ name, inputs, outputs }) => {
      const linears = outputs.map((n, i) => {
        const linear = new Linear(new Parameter(`${name}.${i}.weight`, this.#random(dtype, [n, inputs])));
        if (!adapted) return linear;
        linear.adapter = LoraAdapter.create(linear, { rank, scale: 2, dropout: 0, dtype: 'f32' });
        for (const p of linear.adapter.parameters()) {
          p.value = this.#random('f32', p.shape);
          trained.push(p);
        }
        return linear;
      });
      return {
        projections: new Projections(name, linears, outputs),
        x: this.#random(dtype, [tokens, inputs]),
        dx: this.#random(dtype, [tokens, inputs]),
        dys: outputs.map((n) => this.#random(dtype, [tokens, n])),
      };
    });
    this.#sink = new AccumulateSink(trained, 'f32', 'gradients');
  }

  /** A call of the forward pass, or of both passes. */
  call(pass) {
    const body = (run) => (pass === 'forward' ? this.#forward(run) : this.#both(run));
    const context = { sink: this.#sink };
    this.#sink.begin();
    const program = new Program(this.#target, body, context);
    const memory = allocate(program.bytes, 'arena');
    this.#programs.set(pass, memory);
    return () => {
      this.#sink.begin();
      program.run(memory, body, context);
    };
  }

  dispose() {
    this.#sink.dispose();
    for (const memory of this.#programs.values()) release(memory);
    for (const tensor of this.#tensors) tensor.dispose();
  }

  #forward(run) {
    for (const { projections, x } of this.#parts) projections.discard(projections.forward(x, run, true), run);
  }

  #both(run) {
    for (const { projections, x, dx, dys } of this.#parts) {
      const saved = projections.forward(x, run, true);
      projections.backwardInput(dys, saved, dx, run);
      if (projections.trains) projections.backwardWeight(dys, x, saved, run);
      run.free(...saved.outputs);
    }
    this.#sink.finish();
  }

  #random(dtype, shape) {
    const tensor = randomTensor(dtype, shape);
    this.#tensors.push(tensor);
    return tensor;
  }
}

const variants = [false, true].flatMap((adapted) => ['forward', 'both'].map((pass) => ({ adapted, pass })));

const pair = (frozen, lora, ratio) => ({ frozenMs: significant(frozen), loraMs: significant(lora), overhead: significant(ratio - 1, 3) });

// From the medians of what was timed apart.
function overheads([frozen, frozenBoth, adapted, adaptedBoth]) {
  const [before, after] = [frozenBoth.median - frozen.median, adaptedBoth.median - adapted.median];
  return {
    forward: pair(frozen.median, adapted.median, adapted.median / frozen.median),
    backward: pair(before, after, after / before),
  };
}

// From rounds of one call of each: medians of their milliseconds and of their ratios.
function overheadsOfRounds(rounds) {
  const median = (value) => spread(rounds.map(value)).median;
  const passes = {
    forward: { frozen: ([frozen]) => frozen, lora: ([, , adapted]) => adapted },
    backward: { frozen: ([frozen, both]) => both - frozen, lora: ([, , adapted, both]) => both - adapted },
  };
  return Object.fromEntries(
    Object.entries(passes).map(([pass, { frozen, lora }]) => [
      pass,
      pair(
        median(frozen),
        median(lora),
        median((round) => lora(round) / frozen(round)),
      ),
    ]),
  );
}

/**
 * Overhead of LoRA over the frozen layers, forward and backward; the backward is both passes less the forward. Ours is timed in rounds of
 * one call of each, since the speed of a machine that is shared changes by more than the overhead within a second.
 */
export async function measureLoraLayer(rival, { tokens, rank, dtype, threads, seconds }) {
  const layers = [false, true].map((adapted) => new LinearLayers({ tokens, rank, dtype, adapted }));
  const rounds = await roundsOf(
    variants.map(({ adapted, pass }) => layers[Number(adapted)].call(pass)),
    4 * seconds,
  );
  for (const layer of layers) layer.dispose();
  const own = overheadsOfRounds(rounds);
  if (!rival) return { own };
  const widths = groups.flatMap(({ inputs, outputs }) => outputs.map((n) => [inputs, n]));
  const theirs = [];
  for (const { adapted, pass } of variants) {
    const request = { kind: 'lora_layer', rows: tokens, widths, rank, adapted, backward: pass === 'both', dtype, threads };
    theirs.push((await rival.prepare(request)).contestant);
  }
  const results = await inTurns(theirs, seconds);
  await rival.forget();
  return { own, torch: overheads(results) };
}
