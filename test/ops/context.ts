import { type DeviceName, deviceIndex } from '../../lib/core/device.js';
import { allocate, release, type Segment } from '../../lib/core/memory.js';
import type { OpContext } from '../../lib/native/call.js';
import { native } from '../../lib/native/loader.js';

/** Bytes around and between what a test hands out; they must keep this value. As floats they are NaN. */
export const guardByte = 0xff;
const guardBytes = 64;

/** Runs single ops: every call gets a fresh workspace of NaNs with a guard behind it. */
export class TestContext implements OpContext {
  readonly deviceIndex: number;
  readonly dry: boolean;
  private segment: Segment | undefined;
  private bytes = 0;

  constructor(device: DeviceName, dry = false) {
    this.deviceIndex = deviceIndex(device);
    this.dry = dry;
  }

  /** Bytes the last op asked for. */
  get workspaceBytes(): number {
    return this.bytes;
  }

  acquireWorkspace(_op: string, bytes: number): { segment: number; offset: number } {
    this.bytes = bytes;
    if (this.dry) return { segment: -1, offset: 0 };
    if (this.segment) release(this.segment); // left behind by an op that threw
    this.segment = allocate(bytes + guardBytes, 'other');
    const { id } = this.segment;
    native((a) => a.write(id, 0, new Uint8Array(bytes + guardBytes).fill(guardByte)));
    return { segment: id, offset: 0 };
  }

  releaseWorkspace(): void {
    if (!this.segment) return;
    const tail = new Uint8Array(guardBytes);
    const { id } = this.segment;
    native((a) => a.read(id, this.bytes, tail));
    release(this.segment);
    this.segment = undefined;
    if (tail.some((b) => b !== guardByte)) throw new Error('an op wrote past the end of its workspace');
  }
}
