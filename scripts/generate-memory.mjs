#!/usr/bin/env node
// `npm run generate:memory`: writes the planned parts of docs/memory.md, between their markers, and docs/memory.svg. Planned from the bare
// configurations in docs/configs, without weights, for the kernels of any x86-64 processor and 8 threads, whatever machine this runs on.
// --check changes nothing and fails where the files are not what they would become.
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { root } from './build-native.mjs';
import { replaceBetweenMarkers } from './markers.mjs';
import { setupOrExit } from './setup.mjs';

// Scratch of kernels depends on both. The instruction set is chosen when the first op is planned.
process.env.NODE_FINETUNE_CPU = 'baseline';
const plannedThreads = 8;

const GiB = 2 ** 30;
const configs = join(root, 'docs', 'configs');
const sizes = [8, 12, 16, 24, 32, 48, 80];
/** Lengths are multiples of this many tokens. */
const unit = 512;
const mostSequences = 1024;

/** Rows of "what fits": settings of each; every one in bf16 with checkpointing. */
const methods = [
  ['full, adamw', { method: { type: 'full' }, optimizer: { type: 'adamw' } }],
  ['full, adamw fused 8bit', { method: { type: 'full' }, optimizer: { type: 'adamw', fused: true, stateDtype: '8bit' } }],
  ['full, adalomo', { method: { type: 'full' }, optimizer: { type: 'adalomo' } }],
  ['full, lomo', { method: { type: 'full' }, optimizer: { type: 'lomo' } }],
  ['lora', { method: { type: 'lora' } }],
  ['lora over int8', { method: { type: 'lora' }, quantize: 'int8' }],
  ['lora over nf4', { method: { type: 'lora' }, quantize: 'nf4' }],
];

const common = { dtype: 'bf16', checkpointing: 'block', packing: false };
const full8B = (optimizer) => ({ model: 'llama-3.1-8b', batchSize: 2, maxLength: 2048, method: { type: 'full' }, optimizer });
const qlora8B = (rank, less) => ({
  model: 'llama-3.1-8b',
  batchSize: 2,
  maxLength: 2048,
  quantize: 'nf4',
  method: { type: 'lora', rank },
  ...less,
});
const fused8bit = { type: 'adamw', fused: true, stateDtype: '8bit' };

/** Published figures with what this package plans for the same work. */
const published = [
  {
    name: 'LOMO, LLaMA-7B, 8 x 512',
    settings: { model: 'llama-7b', batchSize: 8, maxLength: 512, method: { type: 'full' }, optimizer: { type: 'lomo' } },
    figure: '14.58 (arXiv 2306.09782)',
  },
  { name: 'QLoRA r16, Llama-3.1-8B, 2 x 2048', settings: qlora8B(16), figure: '7.4 (torchtune, one RTX 4090)' },
  ...[16, 8].flatMap((rank) => [
    { name: `QLoRA r${rank}, groups of 4 blocks`, settings: qlora8B(rank, { checkpointing: 4 }), figure: '7.4 (torchtune)' },
    {
      name: `QLoRA r${rank}, and the MLP by 512 rows`,
      settings: qlora8B(rank, { checkpointing: 4, mlpTileRows: 512 }),
      figure: '7.4 (torchtune)',
    },
    {
      name: `QLoRA r${rank}, and AdamW fused 8-bit`,
      settings: qlora8B(rank, { checkpointing: 4, mlpTileRows: 512, optimizer: fused8bit }),
      figure: '7.4 (torchtune)',
    },
    ...(rank === 16 ? [{ name: 'QLoRA r8, Llama-3.1-8B, 2 x 2048', settings: qlora8B(8), figure: '7.4 (torchtune, one RTX 4090)' }] : []),
  ]),
  {
    name: 'full, AdamW fused 8-bit, Llama-3.1-8B, 2 x 2048',
    settings: full8B({ type: 'adamw', fused: true, stateDtype: '8bit' }),
    figure: '18.9 without its states, which are paged to the host (torchtune)',
  },
  { name: 'full, LOMO, Llama-3.1-8B, 2 x 2048', settings: full8B({ type: 'lomo' }), figure: '18.9 (torchtune, paged 8-bit AdamW)' },
];

/** Models of docs/configs/README.md, the first column without its ending. */
function models() {
  const rows = readFileSync(join(configs, 'README.md'), 'utf8').matchAll(/^\| `([\w.-]+)\.json` +\| (\S+) +\|/gm);
  return Array.from(rows, ([, file, name]) => ({ file, name }));
}

const pathOf = (file) => join(configs, `${file}.json`);
const withCommas = (n) => n.toLocaleString('en-US');
const inGiB = (bytes) => (bytes / GiB).toFixed(2);

/** Everything that has to be in memory: what is planned, and the frozen weights in the file. */
function neededBytes(plan, settings) {
  const { total, weightsMapped } = plan(settings).bytes;
  return total + weightsMapped;
}

async function whatFits(plan) {
  const { largestThatFits, remembered } = await import('../dist/compare/longest-fit.js');
  const { markdownTable } = await import('../dist/compare/formats.js');
  const columns = [{ title: 'method', align: 'left' }, ...sizes.map((size) => ({ title: `${size} GB`, align: 'right' }))];
  const sections = models()
    // LLaMA-7B is Llama-2-7B with half the context.
    .filter(({ file }) => file !== 'llama-7b')
    .map(({ file, name }) => {
      const { max_position_embeddings: context } = JSON.parse(readFileSync(pathOf(file), 'utf8'));
      const rows = methods.map(([title, settings]) => {
        const bytes = (batchSize, maxLength) => neededBytes(plan, { ...common, ...settings, model: pathOf(file), batchSize, maxLength });
        const byLength = remembered((n) => bytes(1, n * unit));
        const bySequences = remembered((n) => bytes(n, context));
        const cells = sizes.map((size) => {
          const length = unit * largestThatFits(byLength, size * GiB, Math.floor(context / unit));
          if (length === 0) return '-';
          if (length + unit <= context) return withCommas(length);
          return `${largestThatFits(bySequences, size * GiB, mostSequences)} x ${withCommas(context)}`;
        });
        return [title, ...cells];
      });
      return `**${name}**, context ${withCommas(context)}\n\n${markdownTable(columns, rows)}`;
    });
  return sections.join('\n\n');
}

async function besidePublished(plan) {
  const { markdownTable } = await import('../dist/compare/formats.js');
  const parts = ['weights', 'gradients', 'optimizer', 'checkpoints', 'other in a step', 'planned', 'in the file', 'both'];
  const columns = [
    { title: 'GiB', align: 'left' },
    ...parts.map((title) => ({ title, align: 'right' })),
    { title: 'published', align: 'left' },
  ];
  const rows = published.map(({ name, settings, figure }) => {
    const { bytes: b } = plan({ ...common, ...settings, model: pathOf(settings.model) });
    const rest = b.total - b.weights - b.gradients - b.optimizer - b.checkpoints;
    const values = [b.weights, b.gradients, b.optimizer, b.checkpoints, rest, b.total, b.weightsMapped, b.total + b.weightsMapped];
    return [name, ...values.map(inGiB), figure];
  });
  return markdownTable(columns, rows);
}

const pictured = 'llama-3.1-8b';
/** Rows of the methods' part of the picture, all with checkpointing. */
const inPicture = /^(full, (adamw|adamw fused|adamw fused 8bit|adalomo|lomo)|lora, adamw|lora over (int8|nf4), adamw)$/;

async function comparison(planCompare) {
  const settings = { model: pathOf(pictured), dtype: 'bf16', batchSize: 2, maxLength: 2048 };
  const { name } = models().find(({ file }) => file === pictured);
  const rows = planCompare(settings);
  return { name, rows };
}

async function generate() {
  setupOrExit();
  const { threads } = await import('../dist/core/device.js');
  const { plan, planCompare } = await import('../dist/index.js');
  const { comparisonCaption } = await import('../dist/compare/caption.js');
  const { formatComparison } = await import('../dist/compare/formats.js');
  threads(plannedThreads);
  const { name, rows } = await comparison(planCompare);
  const caption = comparisonCaption(rows, name);
  const picture = rows.filter((r) => r.part === 'ladder' || (r.checkpointing === 'block' && inPicture.test(r.name)));
  const page = join(root, 'docs', 'memory.md');
  const parts = {
    published: await besidePublished(plan),
    compared: formatComparison(rows, 'markdown', caption).trimEnd(),
    fits: await whatFits(plan),
  };
  const text = Object.entries(parts).reduce(
    (old, [marker, part]) => replaceBetweenMarkers(old, marker, part, page),
    readFileSync(page, 'utf8'),
  );
  const short = `${name}, 2 x 2,048 tokens, bf16, planned: below, each row on top of those before it, the last two on adapters.`;
  return { [page]: text, [join(root, 'docs', 'memory.svg')]: formatComparison(picture, 'svg', short) };
}

async function main() {
  const check = process.argv.includes('--check');
  for (const [path, text] of Object.entries(await generate())) {
    if (!check) writeFileSync(path, text);
    else if (readFileSync(path, 'utf8') !== text) {
      console.error(`${path} is not what \`npm run generate:memory\` makes of this code`);
      process.exitCode = 1;
    }
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) await main();
