/** Rotary embedding of a set of layers. */
export interface RopeConfig {
  /** Inverse frequencies, one per rotated pair: f32 values as the reference implementations compute them. */
  inverseFrequencies: Float32Array;
  /** Factor on cos and sin (yarn, longrope). */
  attentionFactor: number;
}

export interface LayerConfig {
  /** Sliding window in tokens; 0 = full attention. */
  window: number;
  /** Index into `ropes`. */
  rope: number;
}

/** Everything in which the decoder families differ, read from config.json by lib/models/<model_type>.ts. */
export interface DecoderConfig {
  modelType: string;
  vocabSize: number;
  hiddenSize: number;
  intermediateSize: number;
  numHeads: number;
  numKvHeads: number;
  headDim: number;
  maxPositionEmbeddings: number;
  rmsNormEps: number;
  /** 1 for Gemma, which stores norm weights minus 1. */
  normWeightOffset: 0 | 1;
  activation: 'silu' | 'gelu_tanh' | 'gelu';
  tieWordEmbeddings: boolean;
  /** Factor on the input embeddings: sqrt(hiddenSize) for Gemma, else 1. */
  embeddingScale: number;
  biases: { qkv: boolean; o: boolean; mlp: boolean };
  /** RMS norm of each query and key head (Qwen3, Gemma 3). */
  qkNorm: boolean;
  /** One matrix for q, k, v and one for gate, up (Phi-3). */
  fusedProjections: boolean;
  /** Extra norms on the outputs of attention and MLP (Gemma 2, 3). */
  postNorms: boolean;
  /** Factor on q k^T. */
  attentionScale: number;
  /** 0 = none. */
  attentionSoftcap: number;
  /** 0 = none. */
  logitSoftcap: number;
  layers: LayerConfig[];
  ropes: RopeConfig[];
  /** Prefix of the checkpoint's tensor names, `model.` for all families so far. */
  prefix: string;
}
