import type { Example } from '../data/example.js';
import type { DecoderConfig } from '../models/decoder-config.js';
import { FinetuneError } from '../native/errors.js';

/** @throws ERR_DATA_INVALID when a token id does not exist in the model, or an example is longer than its context */
export function checkTokens(examples: readonly Example[], model: DecoderConfig, path: string): void {
  for (const { inputIds, row } of examples) {
    const wrong = inputIds.find((id) => id < 0 || id >= model.vocabSize);
    if (wrong !== undefined)
      throw new FinetuneError(
        'ERR_DATA_INVALID',
        `row ${row} has token id ${wrong}, but ${path} knows 0 to ${model.vocabSize - 1}: the tokenizer does not belong to the model, or the rows were tokenized with another`,
        { row, id: wrong, vocabSize: model.vocabSize },
      );
    if (inputIds.length > model.maxPositionEmbeddings)
      throw new FinetuneError(
        'ERR_CONFIG_INVALID',
        `row ${row} has ${inputIds.length} tokens, but ${path} has a context of ${model.maxPositionEmbeddings}: lower maxLength to that`,
        { row, tokens: inputIds.length, context: model.maxPositionEmbeddings },
      );
  }
}
