import { type DeviceName, deviceIndex } from '../core/device.js';
import { allocate, release, type Segment } from '../core/memory.js';
import type { OpContext } from '../native/call.js';

/** Runs ops outside a training step, with a workspace of their own for the call. */
export class HostContext implements OpContext {
  readonly deviceIndex: number;
  readonly dry = false;
  private workspace: Segment | undefined;

  constructor(device: DeviceName = 'cpu') {
    this.deviceIndex = deviceIndex(device);
  }

  acquireWorkspace(_op: string, bytes: number): { segment: number; offset: number } {
    this.releaseWorkspace();
    this.workspace = allocate(bytes, 'other');
    return { segment: this.workspace.id, offset: 0 };
  }

  releaseWorkspace(): void {
    if (this.workspace) release(this.workspace);
    this.workspace = undefined;
  }
}
