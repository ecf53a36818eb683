import { z } from 'zod';
import { trainConfigSchema } from '../config/schema.js';
import { evaluationSettings } from '../evaluate-options.js';
import { samplingSettings } from '../generate/options.js';

/** Settings of the commands that use a model without training it, in the same form as those of a run. */
const { device, dtype, threads, quantize, doubleQuantization, maxLength, trainOn, appendEos, promptsAsChat, format } =
  trainConfigSchema.shape;

const model = { device, dtype, threads, quantize, doubleQuantization };
const adapter = z.string().min(1).optional().describe('PEFT adapter folder to put on the model');

const loadFlags = z.strictObject({ adapter, ...model });

export const generateCommandSchema = z.strictObject({ adapter, ...samplingSettings, ...model });

export const evaluateCommandSchema = z.strictObject({ adapter, ...evaluationSettings, ...model });

export const inspectDataCommandSchema = z.strictObject({
  index: z.int().min(0).default(0).describe('Example to show, counted from 0'),
  maxLength,
  trainOn,
  appendEos,
  promptsAsChat,
  format,
});

/** The flags among those of a command that say how its model is loaded, as `loadModel` takes them: without what was left out. */
export function splitLoadOptions<Flags extends z.output<typeof loadFlags>>(flags: Flags) {
  const { adapter, device, dtype, threads, quantize, doubleQuantization, ...others } = flags;
  const model = {
    device,
    dtype,
    ...(adapter !== undefined && { adapter }),
    ...(threads !== undefined && { threads }),
    ...(quantize !== undefined && { quantize, doubleQuantization }),
  };
  return { model, others };
}
