import type { PlanConfig } from '../config/defaults.js';
import type { DeviceName } from '../core/device.js';
import type { DType, FloatType } from '../core/dtype.js';
import { allocate, drySegment, isLinkable, release, type Segment } from '../core/memory.js';
import { isLinearWeight, type Parameter } from '../core/parameter.js';
import { Program, type ProgramContext } from '../core/program.js';
import type { Run } from '../core/run.js';
import { type Placement, ScratchFolder } from '../core/scratch.js';
import type { GradientSink } from '../core/sink.js';
import { Tensor } from '../core/tensor.js';
import { layOut, layoutBytes } from '../core/tensor-block.js';
import { HostContext } from '../formats/host-ops.js';
import { checkWholeBlocks, QuantizedWeights, type QuantizeType, quantizeType } from '../formats/quantized-weights.js';
import { layOutAsFile } from '../formats/safetensors-scratch.js';
import type { WeightSource } from '../formats/weights.js';
import { methodOf } from '../methods/index.js';
import { materialize } from '../methods/materialize.js';
import type { AppliedMethod } from '../methods/method.js';
import { type Batch, BatchBuffers, type BatchCapacity, type HostBatch } from '../models/batch.js';
import { buildCausalLm } from '../models/build.js';
import type { CausalLm } from '../models/causal-lm.js';
import type { DecoderConfig } from '../models/decoder-config.js';
import { FinetuneError } from '../native/errors.js';
import { makeOptimizer, optimizerOf } from '../optimizers/index.js';
import type { WeightDecayOn } from '../optimizers/optimizer.js';
import { AccumulateSink } from './accumulate-sink.js';
import type { MemoryPlan } from './events.js';
import { countFrozen, type FrozenBytes } from './frozen-bytes.js';
import { FusedSink } from './fused-sink.js';
import { NormPass } from './norm-pass.js';
import { OptimizerState } from './optimizer-state.js';
import { fixedCheckpointing } from './recomputation.js';
import { SplitSink } from './split-sink.js';
import { type ActiveSet, parametersOf, Turns } from './turns.js';
import { checkedShape } from './weight-shapes.js';
import { WholeGradientSink } from './whole-gradient-sink.js';

export interface SessionOptions {
  config: PlanConfig;
  model: DecoderConfig;
  /** undefined: shapes alone, in `frozenDtype`; only with dry. */
  weights: WeightSource | undefined;
  capacity: BatchCapacity;
  /** Plan only: count every byte, allocate none, read no weight. */
  dry: boolean;
  /** Storage type of frozen weights where there is no checkpoint to ask. */
  frozenDtype?: DType;
  /** `ref` with dtype f64 is the oracle of the tests. */
  device?: DeviceName;
  dtype?: FloatType;
  weightDecayOn?: WeightDecayOn;
}

export interface StepResult {
  /** Mean negative log-likelihood per learned token of the step. */
  loss: number;
  gradNorm: number | undefined;
  tokens: number;
  labelTokens: number;
}

/**
 * A model with a method, an optimizer and all memory of a run: what trains, evaluates and is planned. The dry session runs the same
 * programs on shapes; a real one first does that itself, sizes its arena by the result and replays the offsets.
 */
export class Session {
  readonly model: CausalLm;
  /** What trains, now or in another turn, in a fixed order. */
  readonly trained: readonly Parameter[];
  /** What belongs into an adapter's files: the trained parameters, and frozen ones that no base has. */
  readonly adapterTensors: readonly Parameter[];
  readonly state: OptimizerState;
  private readonly config: PlanConfig;
  private readonly device: DeviceName;
  private readonly dtype: FloatType;
  private readonly dry: boolean;
  private readonly weights: WeightSource | undefined;
  private readonly buffers: BatchBuffers;
  private readonly accumulate: AccumulateSink | undefined;
  private readonly norm: NormPass | undefined;
  private readonly trainedMemory: Segment;
  private readonly turns: Turns;
  /** Batch of shapes that programs are recorded with. */
  private readonly largestBatch: Batch;
  private readonly keepLogitGradient: boolean;
  private readonly evaluateProgram: Program;
  /** The program that takes most of the arena, of all turns. */
  private readonly largestProgram: Program;
  // What trains now, and how.
  private turn = 0;
  private sink!: GradientSink;
  private programs!: { train: Program; norm: Program | undefined; update: Program | undefined };
  private readonly arena: Segment;
  private readonly inputs: Segment;
  private readonly scratch: ScratchFolder | undefined;
  private readonly frozenBytes: FrozenBytes;
  private arenaPeak = 0;
  /** Gives back what was allocated so far, newest first. */
  private readonly releases: (() => void)[] = [];

  constructor(options: SessionOptions) {
    const { config, dry } = options;
    this.config = config;
    this.dry = dry;
    const quantized = quantizeType(config);
    this.device = options.device ?? 'cpu';
    this.dtype = options.dtype ?? config.dtype;
    const accumulator = this.dtype === 'f64' ? 'f64' : 'f32';
    try {
      const { offload } = config;
      if (!dry && (offload.weights || offload.gradients || offload.optimizer || offload.activations))
        this.scratch = this.own(new ScratchFolder(offloadFolder(config)), (s) => s.dispose());
      const weights = options.weights && quantized ? this.quantize(options.weights, quantized) : options.weights;
      this.weights = weights;
      const provide = provider(weights, dry, { frozenDtype: options.frozenDtype ?? 'bf16', quantized, path: options.model.modelType });
      this.model = this.own(buildCausalLm(options.model, provide, { accumulator, dry }), (m) => m.dispose());
      const { trained: candidates, frozen = [], release: releaseSources } = applyMethod(this.model, config, this.dtype);
      const rotation = optimizerOf(config.optimizer).rotation?.(config.optimizer);
      this.turns = new Turns(rotation, this.model, candidates, config.seed);
      const { trained } = this.turns;
      this.trained = trained.map((t) => t.parameter);
      this.adapterTensors = [...this.trained, ...frozen.filter((f) => f.saved).map((f) => f.parameter)];
      this.trainedMemory = this.own(
        materialize(
          [...trained, ...frozen],
          this.placement('weights', 'trained weights'),
          new HostContext(this.device),
          isModelFile(config) ? layOutAsFile : layOut,
        ),
        release,
      );
      releaseSources?.();
      // What had to be copied out of the checkpoint of weights that train has been copied once more.
      if (!dry) for (const { name } of this.trained) if (weights?.has(name)) weights.drop(name);
      const ofMethod = new Set(frozen.map((f) => f.parameter));
      this.frozenBytes = countFrozen(this.model, ofMethod, weights, quantized, offload.weights);
      // The trained copies replace all of the checkpoint: its map is of no use any more.
      if (this.frozenBytes.mapped + this.frozenBytes.private + this.frozenBytes.offloaded === 0 && !dry) weights?.close();
      const optimizer = makeOptimizer(config.optimizer, { weightDecayOn: options.weightDecayOn ?? 'matrices', accumulator });
      const { seed, stochasticRounding } = config;
      const tracksNorm = config.fusedClip === 'previous';
      const largestState = parametersOf(this.turns.largest((p) => layoutBytes(optimizer.states(p))));
      const stateMemory = this.placement('optimizer', 'optimizer states');
      const stateOptions = { seed, stochasticRounding, memory: stateMemory, tracksNorm };
      this.state = this.own(new OptimizerState(optimizer, largestState, stateOptions), (o) => o.dispose());
      const kept = parametersOf(this.turns.largest((p) => layoutBytes([{ dtype: accumulator, shape: p.shape }])));
      const gradientMemory = this.placement('gradients', 'gradients');
      const keepsGradients = !config.fused && !optimizer.forwardStep;
      this.accumulate = keepsGradients ? this.own(new AccumulateSink(kept, accumulator, gradientMemory), (a) => a.dispose()) : undefined;
      this.keepLogitGradient = this.keepsLogitGradient(options.capacity.labelTokens);
      this.norm = config.fusedClip === 'exact' ? this.own(new NormPass(this.trained, dry), (n) => n.dispose()) : undefined;
      this.buffers = this.own(new BatchBuffers(options.capacity, accumulator, dry), (b) => b.dispose());
      this.largestBatch = new BatchBuffers(options.capacity, accumulator, true).full();
      const { device, dtype } = this;
      const evaluation = { device, dtype, mlpTileRows: config.mlpTileRows };
      this.evaluateProgram = new Program(evaluation, (run) => this.model.loss(this.largestBatch, run));
      this.largestProgram = this.recordExtremes();
      const { bytes } = this.largestProgram;
      this.arena = this.own(dry ? { id: drySegment, bytes } : allocate(bytes, 'arena'), release);
      const inputBytes = Math.max(this.programs.train.inputBytes, this.programs.norm?.inputBytes ?? 0);
      this.inputs = this.own(
        this.scratch && inputBytes > 0 ? this.scratch.map(inputBytes, 'block inputs') : { id: drySegment, bytes: inputBytes },
        release,
      );
    } catch (error) {
      this.releaseAll();
      throw error;
    }
  }

  // Forming the gradient of the logits again costs a product as large as the head's forward. Kept where the run does not
  // recompute to save memory, and it takes no more than the head's own gradient would.
  private keepsLogitGradient(labelTokens: number): boolean {
    const bytesPerLogit = this.dtype === 'bf16' ? 2 : 4;
    return this.config.checkpointing === 'none' && labelTokens * bytesPerLogit <= 4 * this.model.config.hiddenSize;
  }

  private placement(part: 'weights' | 'gradients' | 'optimizer', what: string): Placement {
    return this.dry ? 'dry' : this.place(part, what);
  }

  private place(part: 'weights' | 'gradients' | 'optimizer', what: string): Exclude<Placement, 'dry'> {
    return this.scratch && this.config.offload[part] ? { folder: this.scratch, what } : part;
  }

  // What it makes goes with the session, also with one that fails; the source stays with the caller until dispose.
  private quantize(source: WeightSource, type: QuantizeType): QuantizedWeights {
    return this.own(new QuantizedWeights(source, type, this.place('weights', 'quantized weights')), (q) => q.release());
  }

  /** Bytes by category. */
  plan(): MemoryPlan {
    const { offload } = this.config;
    const weights = this.trainedMemory.bytes;
    const gradients = (this.accumulate ?? this.norm)?.bytes ?? 0;
    const optimizer = this.state.bytes;
    const offloaded = {
      weightsOffloaded: (offload.weights ? weights : 0) + this.frozenBytes.offloaded,
      gradientsOffloaded: offload.gradients ? gradients : 0,
      optimizerOffloaded: offload.optimizer ? optimizer : 0,
      activationsOffloaded: this.inputs.bytes,
    };
    const parts = {
      weights: (offload.weights ? 0 : weights) + this.frozenBytes.private,
      gradients: gradients - offloaded.gradientsOffloaded,
      optimizer: optimizer - offloaded.optimizerOffloaded,
      arena: this.arena.bytes,
      other: this.buffers.bytes + this.model.otherBytes,
    };
    return {
      weightsMapped: this.frozenBytes.mapped,
      quantizationMapped: this.frozenBytes.scalesMapped,
      quantization: this.frozenBytes.scalesPrivate,
      ...offloaded,
      offloaded: Object.values(offloaded).reduce((a, b) => a + b, 0),
      ...parts,
      ...this.largestProgram.atPeak,
      total: Object.values(parts).reduce((a, b) => a + b, 0),
    };
  }

  /** The scratch file that holds exactly the model's weights as a safetensors file, where there is one that can be named. */
  get modelFile(): Segment | undefined {
    const { trainedMemory } = this;
    if (!isModelFile(this.config) || !isLinkable(trainedMemory)) return undefined;
    for (const { value } of this.model.parameters()) if (value.segment !== trainedMemory) return undefined;
    return trainedMemory;
  }

  /** Highest byte of the arena in use so far: equals the plan once the largest batch has run. */
  get arenaPeakBytes(): number {
    return this.arenaPeak;
  }

  /** One optimizer step over its micro-batches. @throws ERR_NONFINITE_LOSS for its loss or gradient norm, before any weight changes */
  step(microBatches: readonly HostBatch[], step: number, learningRate: number): StepResult {
    this.enter(this.turns.turnOf(step));
    const { fusedClip } = this.config;
    const known = fusedClip === 'exact' ? this.exactNorm(microBatches, step) : fusedClip === 'previous' ? this.state.norm() : 0;
    this.state.begin(step, learningRate, this.clipCoefficient(known));
    this.state.resetNorm();
    const loss = this.state.optimizer.forwardStep ? this.forwardStep(microBatches) : this.accumulateGradients(microBatches, step);
    const updated = this.update(step, learningRate);
    const gradNorm = fusedClip === 'exact' ? known : fusedClip === 'previous' ? this.state.norm() : updated;
    // The norm of the step before is known after its update only.
    if (fusedClip === 'previous') checkNorm(gradNorm as number, step, 'have been changed by it; go back to a checkpoint');
    const sum = (size: (b: HostBatch) => number) => microBatches.reduce((total, b) => total + size(b), 0);
    return { loss, gradNorm, labelTokens: sum((b) => b.labelRows.length), tokens: sum((b) => b.inputIds.length) };
  }

  /** Makes active what trains in `step`, so that the states of a checkpoint made after it can be read. */
  seek(step: number): void {
    this.enter(this.turns.turnOf(Math.max(1, step)));
  }

  /** Forward and backward over the micro-batches of a step; returns its loss. A fused sink updates the weights on the way. */
  accumulateGradients(microBatches: readonly HostBatch[], step = 1): number {
    this.accumulate?.begin();
    return this.passes(microBatches, step, this.sink);
  }

  /** Forward and backward over micro-batches, gradients to `sink`; returns the loss. */
  private passes(microBatches: readonly HostBatch[], step: number, sink: GradientSink): number {
    return this.lossOver(microBatches, (batch, i) => this.forwardBackward(batch, step, i, sink));
  }

  /** A step by the loss at weights that the optimizer tries; the weights are changed by the program that otherwise updates them. */
  private forwardStep(microBatches: readonly HostBatch[]): number {
    const { train, update } = this.programs;
    const forward = (batch: Batch) => this.run(train, (run) => this.model.loss(batch, run));
    return this.state.forwardStep(
      () => this.lossOver(microBatches, forward),
      (body) => this.run(update as Program, body),
    );
  }

  /** Mean loss per learned token of all micro-batches, which `pass` adds up. */
  private lossOver(microBatches: readonly HostBatch[], pass: (batch: Batch, index: number) => void): number {
    const labelTokens = microBatches.reduce((sum, b) => sum + b.labelRows.length, 0);
    let batch: Batch | undefined;
    microBatches.forEach((host, i) => {
      batch = this.buffers.load(host, 1 / labelTokens);
      if (i === 0) batch.lossSum.write([0]);
      pass(batch, i);
    });
    return this.readLoss(batch as Batch);
  }

  /** The accumulated gradient of a trained parameter. */
  gradient(p: Parameter): Tensor | undefined {
    return this.accumulate?.gradient(p);
  }

  /** Sum of the negative log-likelihoods of a batch and how many tokens they are of. */
  evaluate(host: HostBatch): { sum: number; tokens: number } {
    const batch = this.buffers.load(host, 1);
    batch.lossSum.write([0]);
    this.run(this.evaluateProgram, (run) => this.model.loss(batch, run));
    return { sum: batch.lossSum.read()[0] as number, tokens: host.labelRows.length };
  }

  /** Gives all memory back; the weight source too. */
  dispose(): void {
    this.releaseAll();
    this.weights?.close();
  }

  private own<T>(value: T, giveBack: (value: T) => void): T {
    this.releases.push(() => giveBack(value));
    return value;
  }

  private releaseAll(): void {
    for (const giveBack of this.releases.splice(0).reverse()) giveBack();
  }

  private forwardBackward(batch: Batch, step: number, microBatch: number, sink: GradientSink): void {
    const checkpointing = fixedCheckpointing(this.config);
    const context = { sink, seed: this.config.seed, step, microBatch };
    const program = sink === this.sink ? this.programs.train : (this.programs.norm as Program);
    const body = (run: Run) =>
      this.model.forwardBackward(batch, run, checkpointing, () => {
        run.flush();
        this.readLoss(batch);
      });
    this.run(program, body, context);
  }

  private readLoss(batch: Batch): number {
    const loss = batch.lossSum.read()[0] as number;
    if (!Number.isFinite(loss))
      throw new FinetuneError(
        'ERR_NONFINITE_LOSS',
        `the loss became ${loss}; the weights are those of the step before. Lower learningRate, or clip with maxGradNorm`,
        { loss },
      );
    return loss;
  }

  // As torch.nn.utils.clip_grad_norm_: never scales up.
  private clipCoefficient(norm: number): number {
    const { maxGradNorm } = this.config;
    return maxGradNorm === undefined ? 1 : Math.min(1, maxGradNorm / (norm + 1e-6));
  }

  /** Norm of the gradients by a forward and backward pass that changes no weight. */
  private exactNorm(microBatches: readonly HostBatch[], step: number): number {
    const { norm } = this;
    if (!norm) return 0;
    norm.begin();
    this.passes(microBatches, step, norm.sink);
    return checkNorm(norm.read(), step);
  }

  private update(step: number, learningRate: number): number | undefined {
    const { accumulate, programs } = this;
    if (!accumulate || !programs.update) return undefined;
    let norm = 0;
    this.run(programs.update, (run) => {
      norm = checkNorm(accumulate.norm(run), step);
      this.state.begin(step, learningRate, this.clipCoefficient(norm));
      accumulate.apply(this.state, run);
    });
    return norm;
  }

  /** Switches to a turn, if it is not the current one. */
  private enter(turn: number): void {
    if (turn === this.turn) return;
    const set = this.turns.active(turn);
    this.activate(set);
    this.turn = turn;
    this.state.clear(set.turning);
    this.state.resetNorm();
  }

  /** Lets `set` train: states and gradients take its place in the memory that is there, and its programs are recorded. */
  private activate(set: ActiveSet): void {
    const parameters = parametersOf(set);
    const active = new Set(parameters);
    for (const p of this.trained) p.trainable = active.has(p);
    this.state.activate(set);
    this.accumulate?.activate(parameters);
    this.norm?.activate(parameters);
    this.sink = this.accumulate ?? fusedSink(parameters, this.state, { keepLogitGradient: this.keepLogitGradient });
    this.programs = this.record(set.firstStep);
  }

  /** Runs every program of what is active once on shapes. */
  private record(step: number): Session['programs'] {
    const { model, config, accumulate, largestBatch } = this;
    this.state.begin(step, 0);
    accumulate?.begin();
    const { device, dtype, sink, norm } = this;
    const target = { device, dtype, mlpTileRows: config.mlpTileRows };
    if (this.state.optimizer.forwardStep) {
      const change = new Program(
        target,
        (run) =>
          void this.state.forwardStep(
            () => 0,
            (body) => body(run),
          ),
      );
      return { train: this.evaluateProgram, norm: undefined, update: change };
    }
    const training = { ...target, offloadsInputs: config.offload.activations };
    const forwardBackward = (run: Run) => model.forwardBackward(largestBatch, run, fixedCheckpointing(config), () => {});
    const update = (run: Run) => {
      accumulate?.norm(run);
      accumulate?.apply(this.state, run);
    };
    return {
      train: new Program(training, forwardBackward, { sink, seed: config.seed }),
      norm: norm && new Program(training, forwardBackward, { sink: norm.sink, seed: config.seed }),
      update: accumulate && new Program(target, update),
    };
  }

  /** Records whatever may set the peak, then what trains first; returns the program that takes most. */
  private recordExtremes(): Program {
    const programs = this.turns.extremes().flatMap((set) => {
      this.activate(set);
      const { train, norm, update } = this.programs;
      return [train, norm, update];
    });
    if (this.turns.rotates) this.activate(this.turns.active(0));
    return [this.evaluateProgram, ...programs].reduce<Program>((a, b) => (b && b.bytes > a.bytes ? b : a), programs[0] as Program);
  }

  private run(program: Program, body: (run: Run) => void, context?: ProgramContext): void {
    if (this.dry) throw new FinetuneError('ERR_INTERNAL', 'a dry session cannot run');
    this.arenaPeak = Math.max(this.arenaPeak, program.run({ arena: this.arena, inputs: this.inputs }, body, context));
  }
}

// Weights in a scratch file are laid out as the result will be, unless the result is an adapter.
function isModelFile({ offload, method }: PlanConfig): boolean {
  return offload.weights && !methodOf(method).peftConfig;
}

/** The norm of a step's gradients, from which the size of the update follows. @throws ERR_NONFINITE_LOSS unless it is finite */
function checkNorm(norm: number, step: number, weights = 'are those of the step before'): number {
  if (Number.isFinite(norm)) return norm;
  throw new FinetuneError(
    'ERR_NONFINITE_LOSS',
    `step ${step}: the norm of the gradients became ${norm}; the weights ${weights}. Lower learningRate, raise schedule.warmupSteps or lower maxGradNorm`,
    { step, gradNorm: norm },
  );
}

/** Where scratch files go. @throws ERR_CONFIG_INVALID where nothing says so */
export function offloadFolder({ offload, out }: PlanConfig): string {
  const folder = offload.dir ?? out;
  if (folder !== undefined) return folder;
  throw new FinetuneError(
    'ERR_CONFIG_INVALID',
    'offload.dir: offloading needs a folder for its scratch files where there is no out; set it',
  );
}

/** Updates in the epilogue where the optimizer has a rule for it, on one whole gradient after the other elsewhere. */
function fusedSink(trained: readonly Parameter[], state: OptimizerState, options: { keepLogitGradient: boolean }): GradientSink {
  const byElement = trained.filter((p) => state.rule(p) !== undefined);
  const whole = trained.filter((p) => state.rule(p) === undefined);
  const fused = new FusedSink(byElement, state, options);
  if (whole.length === 0) return fused;
  const matrices = new WholeGradientSink(whole, (p, gradient, run) => state.update(p, gradient, run));
  return new SplitSink([
    { sink: fused, parameters: byElement },
    { sink: matrices, parameters: whole },
  ]);
}

// Without a checkpoint the shapes tell: matrices of the type that config.json names, or quantized, vectors in f32.
function provider(
  weights: WeightSource | undefined,
  dry: boolean,
  bare: { frozenDtype: DType; quantized: QuantizeType | undefined; path: string },
) {
  return (name: string, shape: readonly number[]): Tensor => {
    if (weights) {
      const dtype = checkedShape(weights, name, shape);
      return dry ? Tensor.dry(dtype, shape, name) : weights.tensor(name).reshape(shape, name);
    }
    if (!bare.quantized || !isLinearWeight(name, shape)) return Tensor.dry(shape.length > 1 ? bare.frozenDtype : 'f32', shape, name);
    checkWholeBlocks(name, shape, bare.quantized, bare.path);
    return Tensor.dry(bare.quantized, shape, name);
  };
}

function applyMethod(model: CausalLm, { method: config, seed }: PlanConfig, dtype: FloatType): AppliedMethod {
  const method = methodOf(config);
  return method.apply(model, config, { dtype: dtype === 'f64' ? 'f64' : method.trainedDtype(config), seed });
}
