import { trainJsonSchemaText } from '../../config/json-schema.js';
import type { RegisterCommand } from '../commands.js';

export const registerSchema: RegisterCommand = (program, context) => {
  program
    .command('schema')
    .description('Print the JSON Schema of the configuration file')
    .action(() => {
      context.stdout.write(trainJsonSchemaText());
    });
};
