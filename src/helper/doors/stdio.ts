import { once } from 'node:events';
import type { Socket } from 'node:net';
import { pipeline } from 'node:stream/promises';
import type { Readable, Writable } from 'node:stream';
import { markerLine } from '../../protocol/session.ts';
import { ForkpointError } from '../../protocol/errors.ts';
import { pathsUnder } from '../host/paths.ts';
import { thisProgram } from '../host/program.ts';
import { startDaemon } from '../host/startDaemon.ts';
import { dialSocket } from './dial.ts';
import { readMarker } from './marker.ts';

/** `dial-stdio [--marker M]`: what clients run over SSH. */
export async function dialStdio(args: readonly string[]): Promise<number> {
  const marker = readMarker(args);
  if (process.getuid?.() !== 0) throw new ForkpointError('host.needsRoot');
  const [paths, program] = [pathsUnder('/'), thisProgram()];
  const socket = await dialSocket({ paths, program, startDaemon: () => startDaemon(paths, program) });
  await joinStdio(socket, marker, process.stdin, process.stdout);
  return 0;
}

/**
 * Joins a caller's standard input and output to the daemon's socket, byte for byte, until both directions have ended.
 * The end of either direction is passed on alone: a caller that has closed its input still gets the answers.
 * @param marker printed first, as {@link markerLine}: what a login shell printed before it is noise (H37)
 */
export async function joinStdio(
  socket: Socket,
  marker: string | null,
  input: Readable,
  output: Writable,
): Promise<void> {
  // A reader that is gone ends the joining, below; what was still to be written to it is nobody's loss.
  output.on('error', () => undefined);
  if (marker !== null && !output.write(`${markerLine(marker)}\n`)) await once(output, 'drain');
  const sending = pipeline(input, socket).catch(() => undefined);
  try {
    await pipeline(socket, output, { end: false });
  } catch {
    // The caller or the daemon is gone; there is nobody left to tell.
  } finally {
    socket.destroy();
    input.destroy();
    await sending;
  }
}
