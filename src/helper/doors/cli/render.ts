import { hostname } from 'node:os';
import type { ApiStatus, ApiToken } from '../../../protocol/httpAccess.ts';
import { visible } from '../../../protocol/names.ts';
import type { OperationName, Result, Timing } from '../../../protocol/operations.ts';
import type { Capture, FileChanges, Process, Snapshot, SnapshotSummary } from '../../../protocol/snapshot.ts';
import type { Pool, PublishedPort, Workspace } from '../../../protocol/workspace.ts';
import { ForkpointError } from '../../../protocol/errors.ts';
import { describeFailure } from './failure.ts';
import { snapshotTree } from './snapshotTree.ts';
import { pairs, table } from './table.ts';
import { formatAge, formatBytes, formatMoment, formatMs } from './units.ts';

/** How many paths or processes a report names before it counts the rest. */
const NAMED = 10;

/** Text of an operation's result for a person. `now` is the time that ages are counted from, `asked` what was asked for. */
export type Renderers = {
  readonly [N in OperationName]: (
    result: Result<N>,
    now: number,
    asked: Readonly<Record<string, unknown>>,
  ) => string;
};

export const renderers: Renderers = {
  'containers/create': (workspace, now) =>
    `Created workspace "${workspace.name}".\n\n${workspacePairs(workspace, now)}`,
  'containers/list': (workspaces, now) =>
    workspaces.length === 0
      ? 'There are no workspaces. "forkpoint containers create NAME --rootfs DIR" makes one.'
      : table(
          ['NAME', 'STATE', 'HEAD', 'SNAPSHOTS', 'ADDRESS', 'ID'],
          workspaces.map((workspace) => [
            workspace.name,
            workspace.operation === null
              ? workspace.state
              : `${workspace.state} (${visible(workspace.operation)})`,
            headOf(workspace, now),
            String(workspace.snapshotCount),
            workspace.address,
            workspace.id,
          ]),
        ) + workspaces.map(describeSetback).join(''),
  'containers/show': (workspace, now) =>
    `${workspacePairs(workspace, now)}\n${pairs([
      ['Disk use', workspace.diskBytes === null ? 'not known yet' : formatBytes(workspace.diskBytes)],
      ['Pool', describePool(workspace.pool)],
    ])}${describeSetback(workspace)}`,
  'containers/start': (workspace) => `Workspace "${workspace.name}" is ${workspace.state}.`,
  'containers/stop': (workspace) => `Workspace "${workspace.name}" is ${workspace.state}.`,
  'containers/delete': ({ name, deletedSnapshots }) =>
    deletedSnapshots.length === 0
      ? `Deleted workspace "${visible(name)}".`
      : `Deleted workspace "${visible(name)}" and its ${count(deletedSnapshots.length, 'snapshot')}: ${deletedSnapshots.join(', ')}.`,
  'containers/copy': (forks) => {
    const [first] = forks;
    return [
      ...(first === undefined ? [] : [`Forked "${first.origin.name}" from "${first.origin.snapshot}".\n`]),
      table(
        ['FORK', 'STATE', 'BEGAN', 'ADDRESS', 'PORTS', 'TOOK'],
        forks.map(({ name, workspace, stateful, totalMs }) => [
          name,
          workspace?.state ?? 'failed',
          workspace === null ? '' : stateful ? 'with its processes' : 'from its files',
          workspace?.address ?? '',
          (workspace?.published ?? []).map(describePort).join(', '),
          formatMs(totalMs),
        ]),
      ),
      ...forks.flatMap(({ name, error, hookFailure }) => [
        ...(error === null ? [] : ['', describeFailure(ForkpointError.from(error)).trimEnd()]),
        ...(hookFailure === null
          ? []
          : ['', `The hook /etc/forkpoint/on-fork failed in "${name}": ${visible(hookFailure)}`]),
      ]),
    ].join('\n');
  },
  'containers/project': ({ name, project }) =>
    project === null ? `Workspace "${name}" is in no project.` : `Workspace "${name}" is in "${project}".`,
  'containers/promote': ({ workspace, fork, promoted, safety, stateful, downMs, totalMs }) =>
    [
      `"${fork.name}" took the place of "${workspace.name}" in ${formatMs(totalMs)} (down for ${formatMs(downMs)}).`,
      stateful ? 'Its processes go on.' : 'It was started from its files.',
      `Its last state and its snapshots are in the timeline of "${workspace.name}", at "${promoted}".`,
      describeSafety(workspace, safety),
    ].join('\n'),
  'snapshots/create': ({ snapshot }) =>
    [
      `Created snapshot "${snapshot.name}"${aliasInBrackets(snapshot.alias)} in ${formatMs(snapshot.totalMs)}.`,
      describeContent(snapshot),
      ...describeLeftOut(snapshot.capture),
    ].join('\n'),
  'snapshots/list': (snapshots, now, { tree }) =>
    snapshots.length === 0
      ? 'There are no snapshots. "forkpoint snapshots create -c ID" takes one.'
      : tree === true
        ? snapshotTree(snapshots, now)
        : table(
            ['', 'NAME', 'ALIAS', 'CREATED', 'KIND', 'HOLDS', 'MEMORY', 'FILES CHANGED', 'EXPIRES'],
            snapshots.map((snapshot) => [
              snapshot.isHead ? '●' : '',
              snapshot.name,
              snapshot.alias ?? '',
              formatAge(snapshot.createdAt, now),
              snapshot.protected ? `${snapshot.kind}, protected` : snapshot.kind,
              snapshot.stateful ? 'processes' : 'files',
              snapshot.stateful ? formatBytes(snapshot.memoryBytes) : '',
              changedCount(snapshot),
              snapshot.expiresAt === null ? 'never' : formatAge(snapshot.expiresAt, now),
            ]),
          ),
  'snapshots/show': (snapshot, now) => showSnapshot(snapshot, now),
  'snapshots/alias': ({ name, alias }) =>
    alias === null ? `Snapshot "${name}" has no alias.` : `Snapshot "${name}" has the alias "${alias}".`,
  'snapshots/note': ({ name, note }) =>
    note === null ? `Snapshot "${name}" has no note.` : `Snapshot "${name}" has the note "${visible(note)}".`,
  'snapshots/expiry': ({ name, expiresAt }, now) =>
    expiresAt === null
      ? `Snapshot "${name}" never expires.`
      : `Snapshot "${name}" expires ${formatMoment(expiresAt, now)}.`,
  'snapshots/protect': ({ name }) => `Snapshot "${name}" is protected from deletion and expiry.`,
  'snapshots/unprotect': ({ name }) => `Snapshot "${name}" is not protected.`,
  'snapshots/delete': ({ name, alias }) => `Deleted snapshot "${name}"${aliasInBrackets(alias)}.`,
  'containers/changes': ({ since, files, started, ended }) =>
    [
      `Since "${since}":`,
      indent(describeChanges(files)),
      ...listChanges(files),
      indent(describeProcesses('started since', started)),
      indent(describeProcesses('ended since', ended)),
    ].join('\n'),
  'snapshots/preview': (preview) => {
    const { files, started, ended, outsideConnections, safety } = preview;
    return [
      `A restore of "${preview.snapshot}" would throw away:`,
      indent(files === null ? 'files: not known' : describeChanges(files)),
      ...(files === null ? [] : listChanges(files)),
      indent(describeProcesses('started since', started)),
      indent(describeProcesses('ended since, which would come back', ended)),
      indent(
        outsideConnections === null
          ? 'connections to the outside: not known'
          : `${count(outsideConnections.length, 'connection')} to the outside would close`,
      ),
      ...(safety === null
        ? []
        : [
            safety.choice === 'ask'
              ? `The safety snapshot can't hold the processes without being asked: ${visible(safety.reason ?? '')} (${formatBytes(safety.memoryBytes)})`
              : `The safety snapshot would be ${safety.choice}${safety.choice === 'stateful' ? ` (${formatBytes(safety.memoryBytes)})` : ''}.`,
          ]),
    ].join('\n');
  },
  'snapshots/restore': ({ workspace, restored, safety, stateful, hookFailure, downMs, totalMs }) =>
    [
      `Restored "${workspace.name}" to "${restored}" in ${formatMs(totalMs)} (down for ${formatMs(downMs)}).`,
      stateful
        ? 'Its processes go on from the snapshot.'
        : workspace.state === 'running'
          ? 'It was started from its files.'
          : `It is ${workspace.state}.`,
      describeSafety(workspace, safety),
      ...(hookFailure === null ? [] : [`The hook /etc/forkpoint/on-restore failed: ${visible(hookFailure)}`]),
    ].join('\n'),
  'host/info': ({ hostname, version, pool, kernel, findings }) =>
    `${pairs([
      ['Host', visible(hostname)],
      ['Helper', version],
      ['Kernel', kernel],
      ['Pool', pool === null ? 'not set up' : describePool(pool)],
    ])}\n\n${findings
      .map(({ subject, level, message, fix }) => {
        const line = `${level === 'ok' ? '✓' : level === 'warning' ? '!' : '✗'} ${subject}: ${visible(message)}`;
        return fix === null ? line : `${line}\n    ${fix}`;
      })
      .join('\n')}`,
  'host/setup': (pool) => `The pool is ready: ${describePool(pool)}.`,
  'host/logs': (lines) => lines.join('\n'),
  'host/trash': (entries, now) =>
    entries.length === 0
      ? 'There are no expired snapshots that can be taken back.'
      : table(
          ['WORKSPACE', 'NAME', 'ALIAS', 'EXPIRED'],
          entries.map(({ workspace, name, alias, expiredAt }) => [
            visible(workspace),
            name,
            alias ?? '',
            formatAge(expiredAt, now),
          ]),
        ),
  'terminal/open': ({ session, multiplexer, isNew, install }) =>
    multiplexer === null
      ? `There is no tmux, screen or dtach inside, so a terminal is not part of snapshots.${install === null ? '' : ` Install one there: ${install}`}`
      : `Session "${session}" ${isNew ? 'was begun' : 'is there'} under ${multiplexer}: "forkpoint terminal attach --session ${session}" attaches to it.`,
  'ports/list': (ports) =>
    ports.length === 0
      ? 'Nothing listens there.'
      : table(
          ['PORT', 'ADDRESS', 'PROCESS', 'PUBLISHED'],
          ports.map(({ port, addresses, process, published }) => [
            String(port),
            addresses.map(visible).join(' '),
            process === null ? '' : `${visible(process.name)} (${String(process.pid)})`,
            published.join(' '),
          ]),
        ),
  'ssh/enable': ({ user, hostKeyAlias, hostKey }) =>
    `The key lets "${user}" in. For the SSH configuration of the machine that has the key:\n\n${[
      `Host ${hostKeyAlias}`,
      `  User ${user}`,
      `  HostKeyAlias ${hostKeyAlias}`,
      `  ProxyCommand ssh ${hostname()} sudo -n /usr/local/bin/forkpoint ssh proxy -c ${hostKeyAlias.replace(/^forkpoint-/, '')}`,
    ].join('\n')}\n\nFor its known_hosts:\n\n${hostKeyAlias} ${hostKey}`,
  'snapshots/recover': ({ name, alias }) => `Snapshot "${name}"${aliasInBrackets(alias)} is back.`,
  'api/enable': (status, now) => describeApi(status, now),
  'api/disable': (status, now) => describeApi(status, now),
  'api/status': (status, now) => describeApi(status, now),
  'api/token/create': ({ token, ...about }, now) =>
    `${token}\n\nKeep it now: it is not shown again. ${describeToken(about, now)}`,
  'api/token/list': (tokens, now) =>
    tokens.length === 0
      ? 'There are no tokens. "forkpoint api token create -c ID --may create,restore" makes one.'
      : table(
          ['TOKEN', 'LABEL', 'HOLDS FOR', 'MAY', 'EXPIRES'],
          tokens.map(({ id, label, containers, may, expiresAt }) => [
            id,
            label ?? '',
            containers?.join(' ') ?? 'all workspaces',
            may.join(','),
            formatAge(expiresAt, now),
          ]),
        ),
  'api/token/revoke': ({ id }) => `Token ${id} is revoked.`,
};

/** The text for one operation's result. */
export function render<N extends OperationName>(
  operation: N,
  result: Result<N>,
  now: number,
  asked: Readonly<Record<string, unknown>> = {},
): string {
  return renderers[operation](result, now, asked);
}

/**
 * How long each step took.
 * @param title above the times
 */
export function renderTiming(timing: Timing, title = 'TIME'): string {
  return table(
    ['STEP', title],
    timing.map(({ step, ms }) => [step, formatMs(ms)]),
  );
}

function workspacePairs(workspace: Workspace, now: number): string {
  const { published, volumes, undo } = workspace;
  return pairs([
    ['Name', workspace.name],
    ['Id', workspace.id],
    ['State', workspace.state],
    ...(workspace.operation === null ? [] : [['Under way', visible(workspace.operation)] as const]),
    ['Created', formatMoment(workspace.createdAt, now)],
    ...(workspace.project === null ? [] : [['Project', workspace.project] as const]),
    ...(workspace.origin === null
      ? []
      : [['Fork of', `${workspace.origin.name}, from ${workspace.origin.snapshot}`] as const]),
    ['Head', headOf(workspace, now)],
    ['Snapshots', String(workspace.snapshotCount)],
    [
      'Engine',
      `${workspace.engine.kind} ${visible(workspace.engine.container)} ${workspace.engine.id.slice(0, 12)}`,
    ],
    ['Address', workspace.address],
    ['Command', workspace.command.map(visible).join(' ')],
    ['Files', visible(workspace.rootfs)],
    ...volumes.map(
      ({ name, path, hostPath }) => ['Volume', `${name} at ${visible(path)} (${visible(hostPath)})`] as const,
    ),
    ...published.map((port) => ['Port', describePort(port)] as const),
    ...(undo === null
      ? []
      : [
          [
            'Undo',
            `"${undo.safety}" holds the state before the restore ${formatAge(undo.restoredAt, now)}`,
          ] as const,
        ]),
  ]);
}

/** What went wrong while nobody waited for an answer, in a paragraph of its own. */
function describeSetback({ setback }: Workspace): string {
  return setback === null ? '' : `\n\n${describeFailure(ForkpointError.from(setback)).trimEnd()}`;
}

function describePort({ ip, hostPort, containerPort }: PublishedPort): string {
  return `${ip}:${String(hostPort)} -> ${String(containerPort)}`;
}

function describeSafety(workspace: Workspace, safety: string | null): string {
  return safety === null
    ? 'The state before was not kept.'
    : `The state before is in "${safety}": "forkpoint snapshots restore -c ${workspace.name} --name ${safety}" brings it back.`;
}

function describeApi({ listen, tls, isListening, problem, tokens }: ApiStatus, now: number): string {
  if (listen === null) return 'The HTTP API is off.';
  return [
    isListening
      ? `The HTTP API listens on ${listen}${tls === null ? '' : ' with TLS'}.`
      : `The HTTP API is on, but does not listen: ${problem ?? 'it is about to'}`,
    ...(tls === null ? [] : [`Its certificate expires ${formatMoment(tls.expiresAt, now)}.`]),
    tokens === 0
      ? 'There are no tokens: "forkpoint api token create" makes one.'
      : `${count(tokens, 'token')} can be used.`,
  ].join('\n');
}

function describeToken({ id, containers, may, expiresAt }: ApiToken, now: number): string {
  const places = containers === null ? 'all workspaces' : containers.join(', ');
  return `Token ${id} may ${may.join(', ')} in ${places}, and expires ${formatMoment(expiresAt, now)}.`;
}

function headOf({ head, headAlias, headCreatedAt }: Workspace, now: number): string {
  if (head === null) return 'none';
  return `${headAlias ?? head}${headCreatedAt === null ? '' : `, ${formatAge(headCreatedAt, now)}`}`;
}

function describeChanged({ parent, changedFiles }: Snapshot): string {
  if (changedFiles !== null) return describeChanges(changedFiles);
  return parent === null ? 'nothing to compare with' : 'not counted yet';
}

function showSnapshot(snapshot: Snapshot, now: number): string {
  const { capture, changedFiles } = snapshot;
  return [
    pairs([
      ['Name', `${snapshot.name}${snapshot.isHead ? ' ● head' : ''}`],
      ['Alias', snapshot.alias ?? 'none'],
      ['Note', snapshot.note === null ? 'none' : visible(snapshot.note)],
      ['Created', formatMoment(snapshot.createdAt, now)],
      ['Expires', snapshot.expiresAt === null ? 'never' : formatMoment(snapshot.expiresAt, now)],
      ['Parent', snapshot.parent ?? 'none'],
      ['Kind', snapshot.kind],
      ['Protected', snapshot.protected ? 'yes' : 'no'],
      ['Holds', describeContent(snapshot)],
      ['Frozen for', formatMs(snapshot.freezeMs)],
      ['Took', formatMs(snapshot.totalMs)],
      [
        'Own space',
        snapshot.exclusiveBytes === null ? 'not known yet' : `about ${formatBytes(snapshot.exclusiveBytes)}`,
      ],
      ['Durable', snapshot.durable ? 'yes' : 'not yet'],
      ['Changed', describeChanged(snapshot)],
    ]),
    ...(changedFiles?.first ?? [])
      .slice(0, NAMED)
      .map(({ path, change }) => indent(`${change}  ${visible(path)}`)),
    '',
    describeCapture(capture),
  ].join('\n');
}

/** The capture report: what was caught and what was not. */
function describeCapture(capture: Capture): string {
  const section = (title: string, lines: readonly string[]): string[] =>
    lines.length === 0 ? [] : [`${title}:`, ...lines.map(indent)];
  return [
    ...section(
      `Kept ${count(capture.kept.length, 'process', 'processes')}`,
      capture.kept.map(
        ({ pid, name, memoryBytes }) => `${String(pid)} ${visible(name)} (${formatBytes(memoryBytes)})`,
      ),
    ),
    ...describeLeftOut(capture),
    ...section(
      'Listening',
      capture.listeners.map(({ protocol, address }) => `${protocol} ${visible(address)}`),
    ),
    ...section(
      'Connections to the outside, which a restore closes',
      capture.outsideConnections.map(({ local, peer }) => `${local} -> ${peer}`),
    ),
    ...section(
      'Volumes included',
      capture.volumes.map(({ name, path }) => `${visible(name)} at ${visible(path)}`),
    ),
    ...section('Nested subvolumes included', capture.nestedSubvolumes.map(visible)),
    ...section(
      'Mounts not included',
      capture.otherMounts.map(
        ({ path, type, reason }) => `${visible(path)} (${visible(type)}): ${visible(reason)}`,
      ),
    ),
  ].join('\n');
}

function describeLeftOut({ leftOut }: Capture): string[] {
  if (leftOut.length === 0) return [];
  return [
    `Left out ${count(leftOut.length, 'process', 'processes')}:`,
    ...leftOut.map(({ pid, name, reason }) => indent(`${String(pid)} ${visible(name)}: ${visible(reason)}`)),
  ];
}

function describeContent(snapshot: Snapshot): string {
  if (snapshot.stateful) {
    return `files and processes (${formatBytes(snapshot.memoryBytes)} of memory), frozen for ${formatMs(snapshot.freezeMs)}`;
  }
  return snapshot.statelessReason === null
    ? 'files; the workspace was not running'
    : `files alone, without the processes: ${visible(snapshot.statelessReason)}`;
}

function listChanges({ first }: FileChanges): string[] {
  return first.slice(0, NAMED).map(({ path, change }) => indent(`  ${change}  ${visible(path)}`));
}

function describeProcesses(what: string, processes: readonly Process[] | null): string {
  if (processes === null) return `processes ${what}: not known`;
  const names = processes.slice(0, NAMED).map(({ pid, name }) => `${visible(name)} (${String(pid)})`);
  const rest = processes.length - names.length;
  const list = `${names.join(', ')}${rest > 0 ? ` and ${String(rest)} more` : ''}`;
  return `${count(processes.length, 'process', 'processes')} ${what}${names.length === 0 ? '' : `: ${list}`}`;
}

function describeChanges({ added, changed, deleted }: Omit<FileChanges, 'first'>): string {
  return `${String(added)} files added, ${String(changed)} changed, ${String(deleted)} deleted`;
}

function changedCount({ changedFiles }: SnapshotSummary): string {
  return changedFiles === null
    ? ''
    : String(changedFiles.added + changedFiles.changed + changedFiles.deleted);
}

function describePool({ path, totalBytes, freeBytes, isLow }: Pool): string {
  return `${visible(path)}, ${formatBytes(freeBytes)} of ${formatBytes(totalBytes)} free${isLow ? ' (low)' : ''}`;
}

function aliasInBrackets(alias: string | null): string {
  return alias === null ? '' : ` (${alias})`;
}

function count(number: number, one: string, many = `${one}s`): string {
  return `${String(number)} ${number === 1 ? one : many}`;
}

function indent(line: string): string {
  return `  ${line}`;
}
