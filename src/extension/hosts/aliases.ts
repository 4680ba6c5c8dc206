import SSHConfig from 'ssh-config';
import { readConfigText, userConfigFile } from './configFiles.ts';

/**
 * The names that a user can connect to by name: every `Host` of the configuration without a wildcard or negation,
 * in their order, each once. `file` stands in for the user's own configuration.
 */
export async function listAliases(file: string = userConfigFile()): Promise<string[]> {
  const aliases = new Set<string>();
  for (const line of SSHConfig.parse(await readConfigText(file))) {
    if (line.type !== SSHConfig.DIRECTIVE || line.param.toLowerCase() !== 'host') continue;
    const patterns = typeof line.value === 'string' ? [line.value] : line.value.map((word) => word.val);
    for (const pattern of patterns) if (!/[*?!]/.test(pattern)) aliases.add(pattern);
  }
  return [...aliases];
}
