import type { Contender, Figure } from './figures.ts';
import { median, valuesOf } from './figures.ts';
import type { Workload } from './order.ts';
import { judge } from './targets.ts';

/** Where and when a run took place. */
export interface Circumstances {
  readonly date: string;
  readonly isQuick: boolean;
  /** Processor, memory, kernel, the versions of what is compared. */
  readonly machine: readonly string[];
  /** Load averages of one minute, before the run and after it. */
  readonly load: readonly [number, number];
  /** What is part of the bench and was not run, with the reason. */
  readonly notRun: readonly string[];
}

const names: Record<Contender, string> = {
  forkpoint: 'Forkpoint',
  runc: 'bare runc',
  'runc-nftables': 'bare runc, nftables lock',
  'podman-checkpoint': 'Podman checkpoint',
  incus: 'Incus (its set-up is patched, see below)',
  'incus-stateless': 'Incus, stateless (files only)',
  'podman-commit': 'Podman commit + run (files only)',
  rsync: 'rsync -a (files only)',
  tar: 'tar (files only)',
  'cp-reflink': 'cp -a --reflink (files only)',
  btrfs: 'btrfs subvolume snapshot',
};

const columns = [
  ['stands still', 'frozen'],
  ['create', 'create'],
  ['restore, answers', 'answer'],
  ['with safety snapshot', 'safe-answer'],
  ['fork, answers', 'fork'],
  ['fork from now', 'fork-now'],
  ['delete', 'delete'],
  ['disk', 'diskBytes'],
] as const;

const hostRows = [
  ['snapshot of a stopped workspace', 'stopped'],
  ['list of all snapshots over SSH', 'list'],
  ['round trip over SSH', 'roundTrip'],
  ['SSH connect until workspaces and snapshots are listed', 'firstTree'],
  ['activation of the extension', 'activation'],
  ['click to request on the wire', 'clickToRequest'],
  ['tree of all snapshots visible', 'treeVisible'],
  ['bundle of the extension', 'extensionBytes'],
  ['bundle of ssh2, loaded when needed', 'ssh2Bytes'],
  ['bundle of the helper', 'helperBytes'],
  ['daemon, resident', 'residentBytes'],
  ['idle daemon, CPU time per minute', 'idleCpu'],
  ['idle daemon, wake-ups per minute', 'idleWakeUps'],
] as const;

/** The report as Markdown: medians, with the least and the most in parentheses. */
export function render(
  figures: readonly Figure[],
  measured: readonly Workload[],
  circumstances: Circumstances,
): string {
  const { date, isQuick, machine, load, notRun } = circumstances;
  return [
    `# Bench of ${date}${isQuick ? ' (short form: it shows that it runs; its figures mean little)' : ''}`,
    '',
    `${machine.join('; ')}. Load average ${load[0].toFixed(1)} before, ${load[1].toFixed(1)} after. ` +
      'One run on one host, the contenders in turns, their order reversed every round; medians (least – most). ' +
      'Restore: from the call until it answers over TCP; for the bare dumps of a container that is down already. With safety snapshot: what runs is kept first; for Podman, by a checkpoint.',
    '',
    ...measured.flatMap((workload) => workloadTable(figures, workload)),
    ...hostTable(figures),
    ...[...describeIncus(figures), ...notRun].flatMap((line) => [line, '']),
    '## Targets',
    '',
    '| target | measured | | why |',
    '| --- | --- | --- | --- |',
    ...judge(figures).map(
      ({ target, measured: value, verdict, why }) => `| ${target} | ${value} | ${verdict} | ${why} |`,
    ),
    '',
    ...stepTable(figures),
  ].join('\n');
}

function workloadTable(figures: readonly Figure[], { id, what, rounds }: Workload): string[] {
  if (!figures.some(({ workload }) => workload === id)) return [];
  const present = (Object.keys(names) as Contender[]).filter((contender) =>
    figures.some((figure) => figure.workload === id && figure.contender === contender),
  );
  return [
    `## (${id}) ${what}, ${rounds} rounds`,
    '',
    `| | ${columns.map(([heading]) => heading).join(' | ')} |`,
    `| --- |${' ---: |'.repeat(columns.length)}`,
    ...present.map(
      (contender) =>
        `| ${names[contender]} | ${columns.map(([, measure]) => cell(figures, id, contender, measure)).join(' | ')} |`,
    ),
    '',
  ];
}

function hostTable(figures: readonly Figure[]): string[] {
  const rows = hostRows.flatMap(([what, measure]) =>
    (['forkpoint', 'btrfs'] as const).flatMap((contender) => {
      const text = cell(figures, 'host', contender, measure);
      return text === '–' ? [] : [`| ${contender === 'btrfs' ? names.btrfs : what} | ${text} |`];
    }),
  );
  return rows.length === 0
    ? []
    : ['## Daemon, connection and editor', '', '| | |', '| --- | ---: |', ...rows, ''];
}

/** How Incus was made to run, which as it is packaged it does not on these hosts, and how it fared. */
function describeIncus(figures: readonly Figure[]): string[] {
  const fared = ['a', 'c'].flatMap((id) => {
    const failures = valuesOf(figures, id, 'incus', 'failures');
    if (failures === undefined) return [];
    const failed = failures.filter((count) => count > 0).length;
    const down = cell(figures, id, 'incus', 'down-answer');
    return [`of (${id}) in ${down}, and ${failed} of ${failures.length} rounds failed`];
  });
  if (fared.length === 0) return [];
  return [
    "Incus is Debian's package with a patched set-up. Its daemon is started by hand, without systemd and LXCFS, in " +
      'namespaces that show it cgroup v2 alone, without controllers: neither it nor its LXC knows v1 any more. Its storage is a ' +
      'btrfs pool on the same disk. The container is privileged (`security.privileged=true`); it is not made from an image, ' +
      "but empty, and filled with the workspace's files and an init that sets its fixed address on a plain bridge, on which the host looks for it every 10 ms. " +
      '`raw.lxc` names that init, takes away the console (`lxc.console.path = none`: with one, the restore fails) and the ' +
      'AppArmor profile (`lxc.apparmor.profile =`: LXC names one to CRIU, which refuses where the kernel has no AppArmor). ' +
      'A script before CRIU says that the cgroup which LXC names to it is one of v2 alone. ' +
      'Each round starts the container anew first, unmeasured, because LXC 7.0.0 cannot dump what it has restored. ' +
      "Half a second of its restore is a pause in the hook with which Debian's LXCFS ends a container; one that is down already is " +
      `restored ${fared.join('; ')}.`,
  ];
}

/** Where the helper's time goes: the median of each step. */
function stepTable(figures: readonly Figure[]): string[] {
  const lines = new Map<string, string[]>();
  for (const { workload, measure, values } of figures) {
    const [, operation, step] = /^step:(.*)\/(.*)$/.exec(measure) ?? [];
    if (operation === undefined || step === undefined) continue;
    const line = lines.get(`${workload} ${operation}`) ?? [];
    line.push(`${step} ${median(values).toFixed(0)}`);
    lines.set(`${workload} ${operation}`, line);
  }
  if (lines.size === 0) return [];
  return [
    '## Steps of the helper, in ms',
    '',
    ...[...lines].map(([name, steps]) => `- ${name}: ${steps.join(', ')}`),
    '',
  ];
}

function cell(figures: readonly Figure[], workload: string, contender: Contender, measure: string): string {
  const values = valuesOf(figures, workload, contender, measure);
  if (values === undefined) return '–';
  const spread =
    values.length > 1
      ? ` (${plain(Math.min(...values), measure)} – ${plain(Math.max(...values), measure)})`
      : '';
  return `${plain(median(values), measure)}${spread} ${unitOf(measure)}`.trim();
}

function plain(value: number, measure: string): string {
  return measure.endsWith('Bytes') ? (value / 1e6).toFixed(1) : value.toFixed(value < 10 ? 1 : 0);
}

function unitOf(measure: string): string {
  if (measure.endsWith('Bytes')) return 'MB';
  return measure.endsWith('WakeUps') ? '' : 'ms';
}
