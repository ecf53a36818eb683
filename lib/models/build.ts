import { Parameter } from '../core/parameter.js';
import type { Tensor } from '../core/tensor.js';
import { Attention } from '../layers/attention.js';
import { DecoderBlock } from '../layers/decoder-block.js';
import { Linear } from '../layers/linear.js';
import { Mlp } from '../layers/mlp.js';
import { Projections } from '../layers/projections.js';
import { RmsNorm } from '../layers/rms-norm.js';
import { Rope } from '../layers/rope.js';
import { CausalLm } from './causal-lm.js';
import type { DecoderConfig, LayerConfig } from './decoder-config.js';

/** Where the weights come from: a checkpoint, a random generator, or shapes alone. */
export type WeightProvider = (name: string, shape: readonly number[]) => Tensor;

/** Assembles the model of a configuration; names are those of the Hugging Face checkpoint. */
export function buildCausalLm(
  config: DecoderConfig,
  provide: WeightProvider,
  options: { accumulator: 'f32' | 'f64'; dry: boolean },
): CausalLm {
  const parameter = (name: string, shape: readonly number[]) => new Parameter(name, provide(name, shape));
  const embedding = parameter(`${config.prefix}embed_tokens.weight`, [config.vocabSize, config.hiddenSize]);
  const blocks = config.layers.map((layer, i) => buildBlock(config, layer, i, parameter));
  return new CausalLm({
    config,
    embedding,
    blocks,
    norm: norm(config, `${config.prefix}norm`, config.hiddenSize, parameter),
    head: config.tieWordEmbeddings ? embedding : parameter('lm_head.weight', [config.vocabSize, config.hiddenSize]),
    ropes: config.ropes.map((r) => new Rope(r, options.accumulator, options.dry)),
  });
}

type MakeParameter = (name: string, shape: readonly number[]) => Parameter;

function norm(config: DecoderConfig, path: string, width: number, parameter: MakeParameter): RmsNorm {
  return new RmsNorm(parameter(`${path}.weight`, [width]), config.rmsNormEps, config.normWeightOffset);
}

function linear(path: string, outFeatures: number, inFeatures: number, hasBias: boolean, parameter: MakeParameter): Linear {
  const weight = parameter(`${path}.weight`, [outFeatures, inFeatures]);
  return new Linear(weight, hasBias ? parameter(`${path}.bias`, [outFeatures]) : undefined);
}

function buildBlock(config: DecoderConfig, layer: LayerConfig, index: number, parameter: MakeParameter): DecoderBlock {
  const { hiddenSize, intermediateSize, numHeads, numKvHeads, headDim, biases } = config;
  const path = `${config.prefix}layers.${index}`;
  const queryWidth = numHeads * headDim;
  const keyWidth = numKvHeads * headDim;
  const make = (name: string, out: number, inputs: number, bias: boolean) => linear(`${path}.${name}`, out, inputs, bias, parameter);
  const blockNorm = (name: string, width = hiddenSize) => norm(config, `${path}.${name}`, width, parameter);

  const qkvWidths = [queryWidth, keyWidth, keyWidth];
  const qkv = config.fusedProjections
    ? [make('self_attn.qkv_proj', queryWidth + 2 * keyWidth, hiddenSize, biases.qkv)]
    : ['q_proj', 'k_proj', 'v_proj'].map((name, i) => make(`self_attn.${name}`, qkvWidths[i] as number, hiddenSize, biases.qkv));
  const attention = new Attention({
    norm: blockNorm('input_layernorm'),
    qkv: new Projections('qkv', qkv, qkvWidths),
    out: make('self_attn.o_proj', hiddenSize, queryWidth, biases.o),
    qNorm: config.qkNorm ? blockNorm('self_attn.q_norm', headDim) : undefined,
    kNorm: config.qkNorm ? blockNorm('self_attn.k_norm', headDim) : undefined,
    outputNorm: config.postNorms ? blockNorm('post_attention_layernorm') : undefined,
    heads: numHeads,
    kvHeads: numKvHeads,
    headDim,
    scale: config.attentionScale,
    softcap: config.attentionSoftcap,
    window: layer.window,
    rope: layer.rope,
  });

  const gateUp = config.fusedProjections
    ? [make('mlp.gate_up_proj', 2 * intermediateSize, hiddenSize, biases.mlp)]
    : ['gate_proj', 'up_proj'].map((name) => make(`mlp.${name}`, intermediateSize, hiddenSize, biases.mlp));
  const mlp = new Mlp({
    norm: blockNorm(config.postNorms ? 'pre_feedforward_layernorm' : 'post_attention_layernorm'),
    gateUp: new Projections('gate_up', gateUp, [intermediateSize, intermediateSize]),
    down: make('mlp.down_proj', hiddenSize, intermediateSize, biases.mlp),
    outputNorm: config.postNorms ? blockNorm('post_feedforward_layernorm') : undefined,
    activation: config.activation,
  });
  return new DecoderBlock(index, attention, mlp);
}
