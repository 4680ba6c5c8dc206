import { ForkpointError } from '../../protocol/errors.ts';
import { markerLine } from '../../protocol/session.ts';
import { installHelper } from '../host/installHelper.ts';
import { pathsUnder } from '../host/paths.ts';
import { thisProgram } from '../host/program.ts';
import { readMarker } from './marker.ts';

/** `install [--marker M]`: puts this helper in its place and prints one line of JSON, `Installed` or `{error}`. */
export async function installHere(args: readonly string[]): Promise<number> {
  const marker = readMarker(args);
  const answer = (value: unknown): void => {
    process.stdout.write(`${marker === null ? '' : `${markerLine(marker)}\n`}${JSON.stringify(value)}\n`);
  };
  try {
    if (process.getuid?.() !== 0) throw new ForkpointError('host.needsRoot');
    answer(await installHelper({ paths: pathsUnder('/'), program: thisProgram(), node: process.execPath }));
    return 0;
  } catch (error) {
    answer({ error: ForkpointError.from(error).toData() });
    throw error;
  }
}
