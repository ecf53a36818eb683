import { readFileSync } from 'node:fs';

export interface Piece {
  text: string;
  score: number;
  /** 1 normal, 2 unknown, 3 control, 4 user-defined, 6 byte: the numbers GGUF uses too. */
  type: number;
}

/** Pieces of a SentencePiece tokenizer.model (protobuf: ModelProto.pieces = field 1; piece 1, score 2, type 3). */
export function readPieces(path: string): Piece[] {
  const pieces: Piece[] = [];
  for (const { field, bytes } of fields(readFileSync(path))) {
    if (field !== 1) continue;
    const piece: Piece = { text: '', score: 0, type: 1 };
    for (const part of fields(bytes)) {
      if (part.field === 1) piece.text = part.bytes.toString('utf8');
      if (part.field === 2) piece.score = part.bytes.readFloatLE(0);
      if (part.field === 3) piece.type = part.value;
    }
    pieces.push(piece);
  }
  return pieces;
}

function* fields(buffer: Buffer): Generator<{ field: number; bytes: Buffer; value: number }> {
  let at = 0;
  const varint = (): number => {
    let value = 0;
    for (let shift = 0; ; shift += 7) {
      const byte = buffer[at++] as number;
      value += (byte & 127) * 2 ** shift;
      if (byte < 128) return value;
    }
  };
  while (at < buffer.length) {
    const tag = varint();
    const wire = tag & 7;
    const value = wire === 0 ? varint() : 0;
    const length = wire === 2 ? varint() : wire === 5 ? 4 : wire === 1 ? 8 : 0;
    yield { field: tag >> 3, bytes: buffer.subarray(at, at + length), value };
    at += length;
  }
}
