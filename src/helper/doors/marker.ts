import { parseArgs } from 'node:util';
import { ForkpointError } from '../../protocol/errors.ts';

/** Reads `--marker M`, the only option of the verbs that programs call. */
export function readMarker(args: readonly string[]): string | null {
  let marker: string | undefined;
  try {
    marker = parseArgs({ args: [...args], options: { marker: { type: 'string' } } }).values.marker;
  } catch (error) {
    throw new ForkpointError('request.invalid', {
      problem: error instanceof Error ? error.message : String(error),
    });
  }
  if (marker !== undefined && !/^[0-9a-f]{1,128}$/.test(marker)) {
    throw new ForkpointError('request.invalid', { problem: 'the marker is not hexadecimal' });
  }
  return marker ?? null;
}
