import { dirname, join } from 'node:path';
import type { Segment } from '../core/memory.js';
import type { Tensor } from '../core/tensor.js';
import { corruptFile, shown, unsupportedFile } from './file-error.js';
import { decodeUtf8, isObject, jsonProblem, parseJsonObject, readTextFile } from './json-file.js';
import { mapChecked, readMap } from './map-file.js';
import { headerLength, parseSafetensorsHeader, type SafetensorsEntry, safetensorsDTypes } from './safetensors-header.js';
import { isMisaligned, TensorStore } from './tensor-store.js';
import { missingTensor, type WeightInfo, type WeightSource } from './weights.js';

interface Location extends SafetensorsEntry {
  map: Segment;
  file: string;
}

/** Tensors of one safetensors file, or of the shards of one index. Everything is checked here, nothing is read but headers. */
export class SafetensorsSource implements WeightSource {
  private readonly locations = new Map<string, Location>();
  private readonly made = new Map<string, Tensor>();
  private readonly store = new TensorStore();
  private readonly path: string;
  /** `__metadata__` of the file; of the first shard when sharded. */
  metadata: Record<string, string> = {};

  private constructor(path: string) {
    this.path = path;
  }

  /** @throws ERR_FILE, ERR_MODEL_CORRUPT */
  static openFile(path: string): SafetensorsSource {
    const source = new SafetensorsSource(path);
    return source.fill(() => {
      for (const [name, location] of source.readFile(path)) source.locations.set(name, location);
    });
  }

  /** Opens `model.safetensors.index.json` and the shards it names, which lie beside it. @throws ERR_FILE, ERR_MODEL_CORRUPT */
  static openIndex(path: string): SafetensorsSource {
    const source = new SafetensorsSource(path);
    return source.fill(() => {
      const shards = new Map<string, Map<string, Location>>();
      for (const [name, file] of readWeightMap(path)) {
        const shard = shards.get(file) ?? source.readFile(join(dirname(path), file));
        shards.set(file, shard);
        const location = shard.get(name);
        if (!location) throw corruptFile(path, `it says that tensor ${shown(name)} is in ${file}, but it is not`);
        source.locations.set(name, location);
      }
    });
  }

  files(): string[] {
    return [...new Set([...this.locations.values()].map((l) => l.file))];
  }

  names(): string[] {
    return [...this.locations.keys()];
  }

  has(name: string): boolean {
    return this.locations.has(name);
  }

  info(name: string): WeightInfo {
    const { storage, shape, file, byteOffset } = this.location(name);
    const dtype = safetensorsDTypes[storage];
    if (!dtype)
      throw unsupportedFile(
        file,
        `tensor ${shown(name)} is stored as ${storage}`,
        `Supported are ${Object.keys(safetensorsDTypes).join(', ')}: convert the model to BF16 or F32.`,
      );
    if (shape.length > 4) throw unsupportedFile(file, `tensor ${shown(name)} has ${shape.length} dimensions`, 'At most 4 are supported.');
    return { dtype, shape: [...shape], file, isCopied: isMisaligned(byteOffset, dtype) };
  }

  tensor(name: string): Tensor {
    let t = this.made.get(name);
    if (!t) {
      const { dtype, shape } = this.info(name);
      const { map, byteOffset } = this.location(name);
      t = this.store.view(map, byteOffset, dtype, shape, name);
      this.made.set(name, t);
    }
    return t;
  }

  drop(name: string): void {
    const t = this.made.get(name);
    if (t) this.store.free(t);
    this.made.delete(name);
  }

  privateBytes(): number {
    return this.store.privateBytes();
  }

  close(): void {
    this.made.clear();
    this.store.close();
  }

  private fill(read: () => void): this {
    try {
      read();
    } catch (error) {
      this.close();
      throw error;
    }
    return this;
  }

  private location(name: string): Location {
    const location = this.locations.get(name);
    if (location) return location;
    throw missingTensor(this.path, name, this.names());
  }

  private readFile(path: string): Map<string, Location> {
    const map = mapChecked(path);
    this.store.addMap(map);
    if (map.bytes < 8) throw corruptFile(path, `it has ${map.bytes} bytes, a safetensors file has at least 8`);
    const length = headerLength(readMap(map, 0, 8), map.bytes, path);
    const json = decodeUtf8(readMap(map, 8, length), path);
    const header = parseSafetensorsHeader(json, 8 + length, map.bytes, path);
    if (Object.keys(this.metadata).length === 0) this.metadata = header.metadata;
    return new Map([...header.tensors].map(([name, entry]) => [name, { ...entry, map, file: path }]));
  }
}

// File names come from an untrusted file: only a plain name beside the index is accepted.
function readWeightMap(path: string): [string, string][] {
  const text = readTextFile(path);
  const problem = jsonProblem(text, 8);
  if (problem) throw corruptFile(path, `the index is wrong: ${problem}`);
  const { weight_map: map } = parseJsonObject(text, path);
  if (!isObject(map) || Object.keys(map).length === 0)
    throw corruptFile(path, `weight_map must map tensor names to files, got ${shown(map)}`);
  return Object.entries(map).map(([name, file]) => {
    if (typeof file !== 'string' || !/^[^/\\\0]+\.safetensors$/.test(file))
      throw corruptFile(
        path,
        `weight_map puts tensor ${shown(name)} in ${shown(file)}, the name of a .safetensors file in the same folder was expected`,
      );
    return [name, file];
  });
}
