import { trainJsonSchemaText } from '../../config/json-schema.js';
import type { RegisterCommand } from '../commands.js';
import { settingsDocument } from '../settings-document.js';

export const registerSchema: RegisterCommand = (program, context) => {
  const command = program
    .command('schema')
    .description('Print the JSON Schema of the configuration file')
    .option('--markdown', 'The same as a page of documentation')
    .action(() => {
      context.stdout.write(command.opts<{ markdown?: boolean }>().markdown ? settingsDocument() : trainJsonSchemaText());
    });
};
