import type { TestHost } from './machine/machine.ts';

/** How a container's processes are frozen and thawed past the engine: a file of its cgroup, and the words for it. */
export interface Freezer {
  readonly file: string;
  readonly freeze: string;
  readonly thaw: string;
}

/** The freezer of a container that runs. */
export async function freezerOf(host: TestHost, container: string): Promise<Freezer> {
  const format = '{{.Id}} {{.State.Pid}}';
  const facts = await host.run(['podman', 'inspect', '--format', format, container]);
  const [id = '', pid = ''] = facts.trim().split(' ');
  const membership = await host.run(['cat', `/proc/${pid}/cgroup`]);
  const v1 = /^\d+:[^:]*\bfreezer\b[^:]*:(.*)$/m.exec(membership)?.[1];
  const v2 = /^0::(.*)$/m.exec(membership)?.[1] ?? '';
  // The engine may have put the processes one level below.
  const group = (v1 ?? v2).replace(new RegExp(`(${id}[^/]*)/.*`), '$1');
  return v1 === undefined
    ? { file: `/sys/fs/cgroup${group}/cgroup.freeze`, freeze: '1', thaw: '0' }
    : { file: `/sys/fs/cgroup/freezer${group}/freezer.state`, freeze: 'FROZEN', thaw: 'THAWED' };
}
