import { existsSync } from 'node:fs';
import { mkdir, rm } from 'node:fs/promises';
import type { Contender } from '../figures.ts';
import { bytesOf, command, exclusiveBytesOf } from './command.ts';
import type { ForkpointContestant } from './forkpoint.ts';
import { benchDirectory, type Contestant } from './places.ts';

const directory = `${benchDirectory}/copies`;
const tree = `${directory}/rootfs/srv/tree`;
const copy = `${directory}/copy`;

/** How a tree is copied away, and back over one of which a tenth is gone. */
const ways = {
  rsync: {
    create: [['rsync', '-a', `${tree}/`, `${copy}/tree/`]],
    restore: [['rsync', '-a', '--delete', `${copy}/tree/`, `${tree}/`]],
  },
  tar: {
    create: [['tar', '-C', tree, '-cf', `${copy}/tree.tar`, '.']],
    restore: [
      ['rm', '-rf', tree],
      ['mkdir', tree],
      ['tar', '-C', tree, '-xf', `${copy}/tree.tar`],
    ],
  },
  'cp-reflink': {
    create: [['cp', '-a', '--reflink=always', tree, copy]],
    restore: [
      ['rm', '-rf', tree],
      ['cp', '-a', '--reflink=always', `${copy}/tree`, tree],
    ],
  },
} as const;

/** Copies the tree of files by a tool that everybody has. Nothing holds it still meanwhile. */
export class FileCopy implements Contestant {
  constructor(private readonly way: keyof typeof ways & Contender) {}

  /** Makes the tree that all of them copy, out of the workspace's. */
  static async prepare(original: ForkpointContestant): Promise<void> {
    await FileCopy.removeTree();
    await mkdir(directory, { recursive: true });
    await command(['btrfs', '-q', 'subvolume', 'snapshot', original.rootfs, `${directory}/rootfs`]);
  }

  static async removeTree(): Promise<void> {
    if (existsSync(`${directory}/rootfs`))
      await command(['btrfs', '-q', 'subvolume', 'delete', `${directory}/rootfs`]);
    await rm(directory, { recursive: true, force: true });
  }

  async round(): Promise<Record<string, number>> {
    const { create, restore } = ways[this.way];
    await mkdir(copy);
    const createMs = await timeOf(create);
    await command(['sync', '-f', copy]);
    const diskBytes = this.way === 'cp-reflink' ? await exclusiveBytesOf(copy) : await bytesOf(copy);
    await command(['find', tree, '-type', 'f', '-name', '*7', '-delete']);
    const restoreMs = await timeOf(restore);
    return {
      create: createMs,
      answer: restoreMs,
      delete: await timeOf([['rm', '-rf', copy]]),
      diskBytes,
    };
  }

  async end(): Promise<void> {
    await rm(copy, { recursive: true, force: true });
  }
}

async function timeOf(commands: readonly (readonly string[])[]): Promise<number> {
  let total = 0;
  for (const argv of commands) total += (await command(argv)).ms;
  return total;
}
