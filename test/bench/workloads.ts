import { shopName } from '../demo/shop.ts';
import type { Extent, Workload } from './order.ts';

/** The whole measurement, or one that shows only that it works. */
export function extentOf(isQuick: boolean): Extent {
  return isQuick
    ? { isQuick, watchMs: 500, listed: 20, inARow: 2, idleMs: 1_000, hostRounds: 2 }
    : { isQuick, watchMs: 10_000, listed: 1_000, inARow: 10, idleMs: 60_000, hostRounds: 11 };
}

/** The workloads, in the order in which they run. */
export function workloads(isQuick: boolean): Workload[] {
  const program = (mebibytes: number, files: number): string[] => [
    ...['python3', '/bench/workload.py', String(mebibytes), String(files)],
  ];
  const [gibibyte, fourGibibytes, files] = isQuick ? [300, 400, 2_000] : [1_024, 4_096, 300_000];
  return [
    {
      id: 'a',
      what: 'small: tmux and a shell',
      name: 'bench-small',
      command: ['sh', '-c', `tmux new-session -d -s work bash; exec ${program(0, 0).join(' ')}`],
      peers: [
        ...(['runc', 'runc-nftables', 'podman-checkpoint', 'podman-commit'] as const),
        ...(isQuick ? [] : (['incus'] as const)),
      ],
      rounds: isQuick ? 1 : 5,
      memoryMiB: 0,
      isForked: true,
      isRepeated: false,
    },
    {
      id: 'b',
      what: 'the demo: PostgreSQL, node and tmux',
      name: shopName,
      command: null,
      peers: ['runc', 'runc-nftables', 'podman-checkpoint'],
      rounds: isQuick ? 1 : 5,
      memoryMiB: 0,
      isForked: true,
      isRepeated: false,
    },
    {
      id: 'c',
      what: `${gibibyte} MiB of memory, half random`,
      name: 'bench-large',
      command: program(gibibyte, 0),
      peers: [
        ...(['runc', 'runc-nftables', 'podman-checkpoint'] as const),
        ...(isQuick ? [] : (['incus'] as const)),
      ],
      rounds: isQuick ? 1 : 3,
      memoryMiB: gibibyte,
      isForked: true,
      isRepeated: true,
    },
    {
      id: 'd',
      what: `${fourGibibytes} MiB of memory, half random`,
      name: 'bench-huge',
      command: program(fourGibibytes, 0),
      peers: ['runc', 'runc-nftables'],
      rounds: isQuick ? 1 : 3,
      memoryMiB: fourGibibytes,
      isForked: false,
      isRepeated: false,
    },
    {
      id: 'e',
      what: `a tree of ${files} files`,
      name: 'bench-files',
      command: program(0, files),
      peers: ['podman-commit', 'rsync', 'tar', 'cp-reflink'],
      rounds: isQuick ? 1 : 2,
      memoryMiB: 0,
      isForked: true,
      isRepeated: false,
    },
  ];
}
