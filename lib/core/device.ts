import { native } from '../native/loader.js';

/** Devices of the engine; the index is the native device number (native/core/device.h). `ref` is the float64 oracle. */
export const deviceNames = ['ref', 'cpu'] as const;
export type DeviceName = (typeof deviceNames)[number];

export interface DeviceStatus {
  type: string;
  available: boolean;
  /** What runs, or exactly why it cannot. */
  reason: string;
}

export function deviceIndex(name: DeviceName): number {
  return deviceNames.indexOf(name);
}

/** Every backend with whether it can be used here and why. */
export function devices(): DeviceStatus[] {
  return [
    { type: 'cpu', available: true, reason: `kernels for ${native((a) => a.instructionSet())}, ${native((a) => a.threads())} threads` },
    { type: 'cuda', available: false, reason: 'this build has no CUDA plugin' },
  ];
}

/** Number of threads kernels use; sets it when given. Results do not depend on it. */
export function threads(count?: number): number {
  return native((a) => (count === undefined ? a.threads() : a.threads(count)));
}
