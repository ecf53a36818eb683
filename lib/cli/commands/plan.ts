import { Option } from 'commander';
import { comparisonCaption } from '../../compare/caption.js';
import { type ComparisonFormat, comparisonFormats, formatComparison } from '../../compare/formats.js';
import { isObject } from '../../config/layers.js';
import { configError } from '../../config/problems.js';
import { resolvePlanLayers } from '../../config/resolve.js';
import { type PlanConfigInput, planConfigSchema } from '../../config/schema.js';
import { parseSize } from '../../config/size.js';
import type { Proposal } from '../../plan-fit.js';
import type { RegisterCommand } from '../commands.js';
import { writeJson } from '../context.js';
import { formatBytes } from '../format.js';
import { addRunSettings, settingLayers } from '../settings.js';
import { formatTable } from '../table.js';
import { planText } from './plan-text.js';

/** Settings that change how much memory a run needs; the others are accepted from --config and --set and have no flag here. */
const planned = [
  'method',
  'optimizer',
  'batchSize',
  'gradientAccumulationSteps',
  'maxLength',
  'packing',
  'dtype',
  'device',
  'threads',
  'checkpointing',
  'mlpTileRows',
  'offload',
  'memoryLimit',
];

interface PlanOptions {
  fit?: string;
  json?: boolean;
  compare?: boolean;
  format?: ComparisonFormat;
}

export const registerPlan: RegisterCommand = (program, context, setExitCode) => {
  const command = program
    .command('plan')
    .description('Print the memory of a run, to the byte, without loading anything')
    .argument('[model]', 'Model folder, GGUF file, or a bare config.json')
    .option('--fit <size>', 'Propose settings that need at most this much, such as 8GiB')
    .option('--compare', 'Plan every method with every optimizer, and a ladder of what saves memory')
    .addOption(new Option('--format <name>', 'How --compare prints').choices(comparisonFormats))
    .option('--json', 'The plan, the proposals, or the comparison, as JSON on stdout');
  addRunSettings(command, planConfigSchema, planned).action(async (model: string | undefined) => {
    const options = command.opts<PlanOptions>();
    refuseMixed(options);
    const { fit, json, compare, format } = options;
    const { merged, config } = resolvePlanLayers(settingLayers(command, context, planConfigSchema, { model }));
    const limit = fit === undefined ? undefined : parseSize(fit);
    if (fit !== undefined && limit === undefined) {
      throw configError([
        { path: [], message: `wanted a size such as 512MiB or 8GiB, got ${JSON.stringify(fit)}`, origin: { kind: 'flag', label: '--fit' } },
      ]);
    }
    const input = merged.value as PlanConfigInput;
    const api = await context.api();
    if (compare) {
      const rows = await api.planCompare(input);
      context.stdout.write(formatComparison(rows, json ? 'json' : (format ?? 'table'), comparisonCaption(rows)));
      return;
    }
    if (limit === undefined) {
      const report = await api.plan(input);
      if (json) writeJson(context.stdout, report);
      else context.stdout.write(planText(report));
      if (config.memoryLimit !== undefined && report.bytes.total > config.memoryLimit) {
        context.stderr.write(
          `Needs ${formatBytes(report.bytes.total - config.memoryLimit)} more than memoryLimit; see --fit for settings that need less.\n`,
        );
        setExitCode(4);
      }
      return;
    }
    const proposals = await api.planFit(input, limit);
    if (json) writeJson(context.stdout, proposals);
    else if (proposals.length) context.stdout.write(proposalsText(proposals, input));
    else context.stderr.write(`Nothing that could be proposed fits into ${formatBytes(limit)}: take a smaller model or a larger limit.\n`);
    if (!proposals.length) setExitCode(4);
  });
};

/** @throws ERR_CONFIG_INVALID for options that exclude each other */
function refuseMixed({ fit, json, compare, format }: PlanOptions): void {
  const refuse = (label: string, message: string) => configError([{ path: [], message, origin: { kind: 'flag', label } }]);
  if (compare && fit !== undefined) throw refuse('--compare', 'excludes --fit; give one of them');
  if (format !== undefined && !compare) throw refuse('--format', 'is for --compare; a plan alone has --json');
  if (format !== undefined && json && format !== 'json')
    throw refuse('--format', `${format} and --json exclude each other; give one of them`);
}

/** Proposals for people: what each needs, and the flags that ask for it. */
export function proposalsText(proposals: Proposal[], asked: PlanConfigInput): string {
  const rows = proposals.map(({ config, plan }) => [
    formatBytes(plan.bytes.total),
    plan.method,
    plan.optimizer,
    plan.dtype,
    String(plan.batchSize),
    String(plan.maxLength),
    String(plan.checkpointing),
    differences(config, asked).join(' ') || '(as asked)',
  ]);
  const right = (title: string) => ({ title, align: 'right' as const });
  const reasons = [...new Set(proposals.flatMap((p) => p.reasons))];
  const table = formatTable(
    [
      right('total'),
      { title: 'method' },
      { title: 'optimizer' },
      { title: 'dtype' },
      right('batch'),
      right('length'),
      { title: 'checkpointing' },
      { title: 'changes' },
    ],
    rows,
  );
  return reasons.length ? `${table}\n${reasons.map((reason) => `${reason}.\n`).join('')}` : table;
}

/** Settings in which a proposal differs from what was asked for, as key=value for --set. */
function differences(config: object, asked: object, path = ''): string[] {
  return Object.entries(config).flatMap(([key, value]) => {
    const other = Object.hasOwn(asked, key) ? (asked as Record<string, unknown>)[key] : undefined;
    if (isObject(value)) return differences(value, isObject(other) ? other : {}, `${path}${key}.`);
    return value === undefined || JSON.stringify(value) === JSON.stringify(other) ? [] : [`${path}${key}=${String(value)}`];
  });
}
