// Trains a LoRA adapter and compares answers without and with it. On the model that comes with the package; put in your own folder,
// for instance one from Hugging Face with config.json, safetensors weights and a tokenizer.
import { fileURLToPath } from 'node:url';
import { FinetuneError, loadModel, train } from 'node-finetune';

const assets = new URL('assets/', import.meta.resolve('node-finetune/package.json'));
const path = fileURLToPath(new URL('demo-model', assets));
const question = [{ role: 'user' as const, content: 'Where does the lion live?' }];

async function answer(adapter?: string): Promise<string> {
  await using model = await loadModel({ path, ...(adapter && { adapter }) });
  let text = '';
  for await (const piece of model.generate(question, { maxNewTokens: 40 })) text += piece;
  return text;
}

try {
  console.log('before:', await answer());
  const run = train({
    model: path,
    data: fileURLToPath(new URL('demo-data.jsonl', assets)),
    out: 'adapter',
    overwrite: true,
    method: { type: 'lora', rank: 8 },
    learningRate: 4e-3,
    maxSteps: 40,
    batchSize: 2,
    maxLength: 128,
  });
  for await (const event of run) {
    if (event.type === 'step' && event.step % 10 === 0) console.log(`step ${event.step}/${event.steps}: loss ${event.loss.toFixed(3)}`);
  }
  const { finalLoss, plannedBytes, peakBytes } = await run;
  console.log(`loss ${finalLoss.toFixed(3)}; planned ${plannedBytes} bytes, took ${peakBytes}`);
  console.log('after:', await answer('adapter'));
} catch (error) {
  if (!(error instanceof FinetuneError)) throw error;
  console.error(`${error.code}: ${error.message}`);
  process.exitCode = error.exitCode;
}
