// PyTorch in a process of its own that answers one JSON line for each one it gets: bench/peers/torch_ops.py.
import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { root } from '../scripts/build-native.mjs';

export class Rival {
  #process;
  #lines;
  #cases = 0;
  /** torch's version and what its f32 products run through. */
  versions;

  /** The process, once it has loaded torch; undefined where NODE_FINETUNE_PYTHON is not set. */
  static async start() {
    const python = process.env.NODE_FINETUNE_PYTHON;
    if (!python) return undefined;
    const rival = new Rival();
    rival.#process = spawn(python, [join(root, 'bench', 'peers', 'torch_ops.py')], { stdio: ['pipe', 'pipe', 'inherit'] });
    rival.#lines = createInterface({ input: rival.#process.stdout })[Symbol.asyncIterator]();
    rival.versions = await rival.#answer();
    return rival;
  }

  /** Builds a case there: what runs it, and a contestant for inTurns. */
  async prepare(request) {
    const name = String(this.#cases++);
    const { engine } = await this.#ask({ do: 'prepare', case: name, ...request });
    return { engine, contestant: (seconds) => this.#ask({ do: 'time', case: name, seconds }) };
  }

  /** Gives the memory of all cases back. */
  async forget() {
    await this.#ask({ do: 'forget' });
  }

  stop() {
    this.#process.stdin.end();
  }

  #ask(request) {
    this.#process.stdin.write(`${JSON.stringify(request)}\n`);
    return this.#answer();
  }

  async #answer() {
    const { value, done } = await this.#lines.next();
    if (done) throw new Error('the PyTorch process ended; its message is above');
    return JSON.parse(value);
  }
}
