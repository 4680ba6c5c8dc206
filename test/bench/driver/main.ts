import { existsSync } from 'node:fs';
import { mkdir, rename, writeFile } from 'node:fs/promises';
import { DaemonClient } from '../../host/daemonClient.ts';
import { Figures, type Contender, type Measured } from '../figures.ts';
import { OrderSchema, type Extent, type Order, type Workload } from '../order.ts';
import { BareRunc } from './bareRunc.ts';
import { command } from './command.ts';
import { FileCopy } from './fileCopies.ts';
import { ForkpointContestant } from './forkpoint.ts';
import { measureHost } from './host.ts';
import { Incus } from './incus.ts';
import { forksInARow, snapshotsInARow } from './inARow.ts';
import { benchDirectory, templateDirectory } from './places.ts';
import { PodmanCheckpoint } from './podmanCheckpoint.ts';
import { PodmanCommit } from './podmanCommit.ts';

/** `node - ORDER`: measures on the host that it runs on, as root, and prints as JSON what it has measured. */
async function main({ workload, extent, program, tar }: Order): Promise<Measured> {
  await makeTemplate(program, tar);
  const client = await DaemonClient.over(['forkpoint', 'dial-stdio']);
  try {
    return workload === null
      ? { figures: await measureHost(client, extent), notRun: [] }
      : await measureWorkload(client, workload, extent);
  } finally {
    await client.close();
  }
}

async function makeTemplate(program: string, tar: string): Promise<void> {
  if (!existsSync(templateDirectory)) {
    const making = `${templateDirectory}.making`;
    await mkdir(benchDirectory, { recursive: true });
    await command(['btrfs', '-q', 'subvolume', 'create', making]);
    await command(['tar', '-C', making, '--numeric-owner', '-xpf', tar]);
    await mkdir(`${making}/bench`);
    await rename(making, templateDirectory);
  }
  await writeFile(`${templateDirectory}/bench/workload.py`, program);
}

/** A turn of a round: who, and what it measured. */
interface Turn {
  readonly who: Contender;
  readonly take: () => Promise<Record<string, number>>;
}

async function measureWorkload(client: DaemonClient, workload: Workload, extent: Extent): Promise<Measured> {
  const figures = new Figures(workload.id);
  const endings: (() => Promise<void>)[] = [];
  const notRun: string[] = [];
  try {
    const forkpoint = await ForkpointContestant.start(client, workload, extent);
    endings.push(() => forkpoint.end());
    const turns: Turn[] = [
      { who: 'forkpoint', take: () => forkpoint.round() },
      ...(await startPeers(workload, forkpoint, endings, notRun)),
    ];
    // The first round warms caches and memory, and counts only where it is the only one that shows that all works.
    const first = extent.isQuick ? 1 : 0;
    for (let round = first; round <= workload.rounds; round++) {
      process.stderr.write(`  (${workload.id}) round ${round} of ${workload.rounds}\n`);
      // In turns, so that a busy moment of the machine, or what one leaves to the next, falls on all alike.
      for (const { who, take } of round % 2 === 0 ? turns : [...turns].reverse()) {
        const sample = await take();
        if (round > 0) figures.add(who, sample);
      }
    }
    if (workload.isRepeated) {
      process.stderr.write(`  (${workload.id}) ${extent.inARow} in a row\n`);
      const rowOfSnapshots = await snapshotsInARow(forkpoint, workload.name, extent.inARow);
      figures.add('forkpoint', { rowOfSnapshotsBytes: rowOfSnapshots.diskBytes });
      const rowOfForks = await forksInARow(forkpoint, workload.name, extent.inARow);
      figures.add('forkpoint', { lastForkBytes: rowOfForks.diskBytes });
    }
    return { figures: figures.all, notRun };
  } finally {
    for (const end of endings.reverse()) await end();
  }
}

async function startPeers(
  { peers, command: program }: Workload,
  forkpoint: ForkpointContestant,
  endings: (() => Promise<void>)[],
  notRun: string[],
): Promise<Turn[]> {
  const turns: Turn[] = [];
  if (peers.includes('runc')) {
    const bare = await BareRunc.start(forkpoint);
    endings.push(() => bare.end());
    turns.push(...bare.locks.map((lock): Turn => ({ who: lock, take: () => bare.roundWith(lock) })));
  }
  if (peers.includes('podman-checkpoint')) {
    const podman = await PodmanCheckpoint.start(forkpoint, program);
    endings.push(() => podman.end());
    turns.push({ who: 'podman-checkpoint', take: () => podman.round() });
  }
  if (peers.includes('podman-commit') && program !== null) {
    const commit = await PodmanCommit.start(program);
    endings.push(() => commit.end());
    turns.push({ who: 'podman-commit', take: () => commit.round() });
  }
  if (peers.includes('incus') && program !== null && Incus.isThere) {
    try {
      const incus = await Incus.start(program);
      endings.push(() => incus.end());
      turns.push(
        { who: 'incus', take: () => incus.round() },
        { who: 'incus-stateless', take: () => incus.statelessRound() },
      );
    } catch (error) {
      // It is not made for such a host: what stops it here must not stop the others.
      notRun.push(`Incus: not run: ${error instanceof Error ? error.message : String(error)}`);
    }
  }
  if (peers.includes('rsync')) {
    await FileCopy.prepare(forkpoint);
    endings.push(() => FileCopy.removeTree());
    for (const way of ['rsync', 'tar', 'cp-reflink'] as const) {
      const copy = new FileCopy(way);
      turns.push({ who: way, take: () => copy.round() });
    }
  }
  return turns;
}

main(OrderSchema.parse(JSON.parse(process.argv[2] ?? ''))).then(
  (measured) => process.stdout.write(JSON.stringify(measured)),
  (error: unknown) => {
    process.stderr.write(`${error instanceof Error ? (error.stack ?? error.message) : String(error)}\n`);
    process.exitCode = 1;
  },
);
