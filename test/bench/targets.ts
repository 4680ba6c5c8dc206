import { median, valuesOf, type Contender, type Figure } from './figures.ts';

/** A promise in numbers, and what the run says of it. */
export interface Judgement {
  readonly target: string;
  /** What was measured, in words. */
  readonly measured: string;
  readonly verdict: 'met' | 'missed' | 'not measured here';
  /** Why it was missed or not measured; empty where it was met. */
  readonly why: string;
}

const MIB = 1024 * 1024;

/** Judges all targets by the figures of one run. */
export function judge(figures: readonly Figure[]): Judgement[] {
  const of = (workload: string, contender: Contender, measure: string): number | undefined => {
    const values = valuesOf(figures, workload, contender, measure);
    return values && median(values);
  };
  const ratio = (
    target: string,
    limit: number,
    own: number | undefined,
    peer: number | undefined,
    why: string,
  ): Judgement => {
    if (own === undefined || peer === undefined) return notMeasured(target, 'not part of this run');
    const measured = `${(own / peer).toFixed(2)} x (${own.toFixed(0)} and ${peer.toFixed(0)} ms)`;
    return verdict(target, measured, own <= limit * peer, why);
  };
  const atMost = (
    target: string,
    limit: number,
    value: number | undefined,
    unit: 'ms' | 'MiB' | 'kB' | '/min',
    why: string,
  ): Judgement => {
    if (value === undefined) return notMeasured(target, 'not part of this run');
    return verdict(target, `${value.toFixed(unit === '/min' ? 1 : 0)} ${unit}`, value <= limit, why);
  };
  const longest = (values: readonly number[] | undefined): number | undefined =>
    values && Math.max(...values);
  const mebibytes = (bytes: number | undefined): number | undefined => bytes && bytes / MIB;
  const kilobytes = (bytes: number | undefined): number | undefined => bytes && bytes / 1000;
  const added = (own: number | undefined, base: number | undefined): number | undefined =>
    own === undefined || base === undefined ? undefined : own - base;

  const frozen = (workload: string, what: string, limit: number): Judgement =>
    ratio(
      `frozen time, ${what}: ${limit} x bare runc checkpoint with its defaults, frozen beforehand`,
      limit,
      of(workload, 'forkpoint', 'frozen'),
      of(workload, 'runc', 'frozen'),
      "nearly all of it is CRIU's own dump (see the steps below), in which the files are snapshotted, too; the bare dump leaves them out",
    );
  const lazy = (workload: string, what: string, limit: number): Judgement =>
    ratio(
      `restore until it answers, ${what}: ${limit} x bare runc restore`,
      limit,
      of(workload, 'forkpoint', 'answer'),
      of(workload, 'runc', 'answer'),
      'the engine cleans up after what ran before, and its own restore is slow; see the steps below',
    );
  const stall = (workload: string, what: string): Judgement =>
    atMost(
      `no process stalls over 250 ms in the first 10 s after a lazy restore, ${what}, in the worst of the rounds`,
      250,
      longest(valuesOf(figures, workload, 'forkpoint', 'silence')),
      'ms',
      'the longest silence that was seen from outside',
    );
  return [
    frozen('a', '(a)', 0.7),
    frozen('b', '(b)', 0.7),
    frozen('c', '(c), warm', 1.05),
    frozen('d', '(d), warm', 1.05),
    notMeasured(
      'frozen time of a process that rewrites 5 % of its memory a second: 0.3 x bare, by pre-dump rounds',
      'it takes a kernel that tracks dirty pages: the test suite\'s virtual machine has one, and "npm test -- vm" prints it',
    ),
    lazy('c', '(c)', 0.5),
    lazy('d', '(d)', 0.35),
    stall('c', '(c)'),
    stall('d', '(d)'),
    ratio(
      'create of (a), stateful: 0.35 x incus snapshot create --stateful',
      0.35,
      of('a', 'forkpoint', 'create'),
      of('a', 'incus', 'create'),
      "CRIU's dump is the same in both, and about half of what Forkpoint's takes; see the steps below",
    ),
    ratio(
      'restore of (a) until it answers, what runs not kept: 0.4 x incus snapshot restore --stateful',
      0.4,
      of('a', 'forkpoint', 'answer'),
      of('a', 'incus', 'answer'),
      wakesThroughPodman,
    ),
    ratio(
      'restore of (a) until it answers, what runs kept in a safety snapshot: 0.5 x podman container checkpoint + restore',
      0.5,
      of('a', 'forkpoint', 'safe-answer'),
      of('a', 'podman-checkpoint', 'safe-answer'),
      wakesThroughPodman,
    ),
    ratio(
      'restore of (a) until it answers, what runs not kept: 0.5 x podman container restore alone, of a container that is down already',
      0.5,
      of('a', 'forkpoint', 'answer'),
      of('a', 'podman-checkpoint', 'answer'),
      wakesThroughPodman,
    ),
    ...(['a', 'b', 'c'] as const).map((workload) =>
      ratio(
        `fork of (${workload}) until it answers: 1.3 x its restore`,
        1.3,
        of(workload, 'forkpoint', 'fork'),
        of(workload, 'forkpoint', 'answer'),
        'a container is made and prepared for it, by several calls of the engine',
      ),
    ),
    ...(['a', 'b', 'c'] as const).map((workload) =>
      ratio(
        `fork of (${workload}) as it runs until it answers: 1.3 x its restore, what runs kept`,
        1.3,
        of(workload, 'forkpoint', 'fork-now'),
        of(workload, 'forkpoint', 'safe-answer'),
        'the snapshot that it begins as is moved to the pool and written to the disk first; the safety snapshot of a restore is, after it',
      ),
    ),
    atMost(
      'the last of ten forks of (c) adds under 64 MiB of disk',
      64,
      mebibytes(of('c', 'forkpoint', 'lastForkBytes')),
      'MiB',
      '',
    ),
    atMost(
      'ten successive stateful snapshots of (c), 5 % changed between them: 1,843 MiB in all',
      1843,
      mebibytes(of('c', 'forkpoint', 'rowOfSnapshotsBytes')),
      'MiB',
      'pages that differ are kept, and btrfs records where each stretch between them is',
    ),
    ratio(
      'snapshot of a stopped workspace, until the daemon has answered: 3 x btrfs subvolume snapshot',
      3,
      of('host', 'forkpoint', 'stopped'),
      of('host', 'btrfs', 'stopped'),
      'it is looked for nested subvolumes, too, and each record is flushed to the disk before the next step, so that a power cut loses nothing',
    ),
    atMost(
      'list of 1,000 snapshots over SSH: the round trip + 60 ms',
      60,
      added(of('host', 'forkpoint', 'list'), of('host', 'forkpoint', 'roundTrip')),
      'ms',
      '',
    ),
    atMost('activation of the extension: 30 ms', 30, of('host', 'forkpoint', 'activation'), 'ms', ''),
    atMost(
      'bundle of the extension: 600 kB',
      600,
      kilobytes(of('host', 'forkpoint', 'extensionBytes')),
      'kB',
      '',
    ),
    atMost('bundle of the helper: 900 kB', 900, kilobytes(of('host', 'forkpoint', 'helperBytes')), 'kB', ''),
    atMost(
      'idle daemon: 60 MB resident',
      60_000,
      kilobytes(of('host', 'forkpoint', 'residentBytes')),
      'kB',
      "Node itself, doing nothing, takes 52 MB on the test host; on top of it come Node's code that is read when it is first used, the helper, and what the C library keeps; the records of 1,000 snapshots take 1 MB",
    ),
    atMost(
      'idle daemon: no wake-ups but the timers that are due (six a minute)',
      6,
      of('host', 'forkpoint', 'idleWakeUps'),
      '/min',
      '',
    ),
  ];
}

/** What a restore is made of that its peer's has, too. */
const wakesThroughPodman =
  "Forkpoint ends what runs, has Podman clean up after it (its network above all), swaps the files, and wakes the processes through Podman's own restore, so that published ports, exec and logs go on";

function verdict(target: string, measured: string, isMet: boolean, why: string): Judgement {
  return { target, measured, verdict: isMet ? 'met' : 'missed', why: isMet ? '' : why };
}

function notMeasured(target: string, why: string): Judgement {
  return { target, measured: '–', verdict: 'not measured here', why };
}
