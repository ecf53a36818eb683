import type { DoctorReport } from '../../doctor.js';
import type { RegisterCommand } from '../commands.js';
import { writeJson } from '../context.js';
import { formatBytes } from '../format.js';
import { formatTable, reportRows } from '../table.js';

function doctorRows({ devices, ...rest }: DoctorReport): string[][] {
  const states = devices.map(({ type, available, reason }) => [
    `device ${type}`,
    `${available ? 'available' : 'not available'}: ${reason}`,
  ]);
  return [...reportRows(rest, formatBytes), ...states];
}

export const registerDoctor: RegisterCommand = (program, context) => {
  const command = program
    .command('doctor')
    .description('What is installed, which kernels run here, and why a device is not available')
    .option('--json', 'As JSON on stdout')
    .action(async () => {
      const report = await (await context.api()).doctor();
      if (command.opts<{ json?: boolean }>().json) writeJson(context.stdout, report);
      else context.stdout.write(formatTable([{}, {}], doctorRows(report)));
    });
};
