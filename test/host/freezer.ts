import type { TestHost } from './machine/machine.ts';

/** How a container's processes are frozen and thawed past the engine: a file of its cgroup, and the words for it. */
export interface Freezer {
  readonly file: string;
  readonly freeze: string;
  readonly thaw: string;
}

/** `group`: what /proc/PID/cgroup says of it. */
const versions = {
  1: {
    root: '/sys/fs/cgroup/freezer',
    group: /^\d+:[^:]*\bfreezer\b[^:]*:(.*)$/m,
    ...{ name: 'freezer.state', freeze: 'FROZEN', thaw: 'THAWED' },
  },
  2: {
    root: '/sys/fs/cgroup',
    group: /^0::(.*)$/m,
    ...{ name: 'cgroup.freeze', freeze: '1', thaw: '0' },
  },
};

/** The freezer of a container that runs. */
export async function freezerOf(host: TestHost, container: string): Promise<Freezer> {
  const format = '{{.Id}} {{.State.Pid}}';
  const facts = await host.run(['podman', 'inspect', '--format', format, container]);
  const [id = '', pid = ''] = facts.trim().split(' ');
  const { root, group, name, freeze, thaw } = versions[host.cgroupVersion];
  const own = group.exec(await host.run(['cat', `/proc/${pid}/cgroup`]))?.[1] ?? '';
  // The engine may have put the processes one level below.
  const directory = own.replace(new RegExp(`(${id}[^/]*)/.*`), '$1');
  return { file: `${root}${directory}/${name}`, freeze, thaw };
}
