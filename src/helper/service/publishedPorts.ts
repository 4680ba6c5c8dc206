import { ForkpointError } from '../../protocol/errors.ts';
import type { PublishedPort } from '../../protocol/workspace.ts';
import type { Parts } from './parts.ts';

/** Lower ones belong to services of the host (RFC 6335: system ports). */
const FIRST_FREE_PORT = 1024;
const LAST_PORT = 65535;

/**
 * The published ports of a fork: those that were given, and for all others of its original the first free one above the
 * original's. Also the ports of workspaces that are stopped are theirs. Rejected with `port.taken`.
 */
export async function choosePorts(
  parts: Parts,
  given: readonly PublishedPort[],
  original: readonly PublishedPort[],
): Promise<PublishedPort[]> {
  const taken = new Set(
    parts.catalogue.allWorkspaces().flatMap(({ spec }) => spec.published.map(({ hostPort }) => hostPort)),
  );
  const chosen: PublishedPort[] = [];
  for (const port of given) {
    if (port.hostPort > LAST_PORT || taken.has(port.hostPort) || (await parts.engine.firstTakenPort([port])))
      throw new ForkpointError('port.taken', { port: port.hostPort });
    chosen.push(port);
    taken.add(port.hostPort);
  }
  for (const port of original) {
    if (given.some(({ containerPort }) => containerPort === port.containerPort)) continue;
    const free = await firstFree(parts, port, taken);
    chosen.push(free);
    taken.add(free.hostPort);
  }
  return chosen;
}

async function firstFree(
  parts: Parts,
  port: PublishedPort,
  taken: ReadonlySet<number>,
): Promise<PublishedPort> {
  for (let hostPort = Math.max(port.hostPort + 1, FIRST_FREE_PORT); hostPort <= LAST_PORT; hostPort++) {
    const candidate = { ...port, hostPort };
    if (!taken.has(hostPort) && (await parts.engine.firstTakenPort([candidate])) === null) return candidate;
  }
  throw new ForkpointError('port.taken', { port: port.hostPort });
}
