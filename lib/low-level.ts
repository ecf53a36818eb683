/**
 * The engine without models: tensors over native memory and the ops on them. `node-finetune/low-level`.
 * Ops run at once on the calling thread and its helpers; shapes and types are checked at every call.
 */
export { devices, threads } from './core/device.js';
export { type DType, dtypeNames, type FloatType } from './core/dtype.js';
export { type MemoryCategory, memoryStatistics } from './core/memory.js';
export { Tensor } from './core/tensor.js';
export { HostContext } from './formats/host-ops.js';
export type { OpContext } from './native/call.js';
export { type ErrorCode, FinetuneError } from './native/errors.js';
export * as ops from './native/ops.js';
