import assert from 'node:assert/strict';
import type { TestHost } from './machine/machine.ts';
import { SmallWorkspace } from './small/smallWorkspace.ts';
import { ask, deleteWorkspaces, failsWith, sharedHost } from './workspace.ts';

/** The host's own files that a fork's identity is written to inside the fork. */
const ownFiles = '/etc/hostname /etc/hosts /etc/machine-id /etc/ssh';
/** Leads out of the workspace's files when it is followed as it is, from any depth that they lie at. */
const up = '../'.repeat(12);

/** What a container may have made of the places that the identity goes to; run in the root of its files. */
const tricks: Readonly<Record<string, string>> = {
  'a link from /etc to the root': 'ln -s / etc',
  'a link from /etc out of the root': `ln -s ${up} etc`,
  "links to the host's files": `mkdir -p etc var/lib/dbus
    ln -s ${up}etc/hostname etc/hostname; ln -s ${up}etc/hosts etc/hosts
    ln -s ${up}etc/machine-id etc/machine-id; ln -s ${up}etc/machine-id var/lib/dbus/machine-id
    ln -s ${up}root etc/ssh`,
  'absolute links, over each other': `mkdir -p etc var/lib; ln -s /etc/ssh/ssh_host_ed25519_key etc/hosts
    ln -s /etc etc/ssh; ln -s /etc/hostname etc/machine-id; ln -s ../../${up}etc var/lib/dbus`,
  'FIFOs, which who opens them waits for': `mkdir -p etc/ssh
    for name in hostname hosts machine-id ssh/ssh_host_rsa_key; do mkfifo "etc/$name"; done`,
  'devices and directories': `mkdir -p etc/hostname/deep etc/machine-id etc/ssh/ssh_host_rsa_key.pub
    mknod etc/hosts c 1 3; mknod etc/ssh/ssh_host_ed25519_key c 1 5`,
};

describe('the identity of a fork', function () {
  this.timeout(60_000);

  let host: TestHost;
  let small: SmallWorkspace;
  let untouched: string;

  before(async () => {
    host = await sharedHost();
    small = await SmallWorkspace.create(host, 'trickster');
    untouched = await sightOfHost();
  });

  after(async () => {
    await deleteWorkspaces(host);
  });

  for (const [trick, script] of Object.entries(tricks)) {
    it(`H25 is written into the fork alone, whatever its original made: ${trick}`, async () => {
      await play(script);
      const [fork] = await ask(host, 'containers/copy', { container: 'trickster', name: 'fork', cold: true });
      assert.equal(fork?.ok, true);
      assert.equal(await sightOfHost(), untouched);
      // As a program inside sees it.
      assert.equal(await host.run(['podman', 'exec', 'forkpoint-fork', 'cat', '/etc/hostname']), 'fork\n');
      await ask(host, 'containers/delete', { container: 'fork' });
    });
  }

  for (const [link, target] of [
    ['etc', 'etc'],
    ['etc', `${up}etc`],
    ['etc/ssh', `${up}etc/ssh`],
  ] as const) {
    it(`H25 is written nowhere when links lead round in a circle: from /${link} to ${target.replace(up, '../../')}`, async () => {
      await play(`mkdir -p $(dirname ${link}); ln -s ${target} ${link}`);
      const copy = ask(host, 'containers/copy', { container: 'trickster', name: 'fork', cold: true });
      const { args } = await failsWith('source.invalid', copy);
      assert.match(String(args['problem']), /too many links/);
      assert.equal(await sightOfHost(), untouched);
      const left = await ask(host, 'containers/list', {});
      assert.deepEqual(
        left.map(({ name }) => name),
        ['trickster'],
      );
      assert.equal((await host.exec(['podman', 'container', 'exists', 'forkpoint-fork'])).exitCode, 1);
    });
  }

  /** Lets the original's files be what a script makes of them, where /etc was. */
  async function play(script: string): Promise<void> {
    const rootfs = `/var/lib/forkpoint/workspaces/${small.id}/rootfs`;
    await host.run(['sh', '-euc', `cd "$1"; rm -rf etc var\n${script}`, 'play', rootfs]);
  }

  /** All of the host that a fork could have written to by mistake. */
  async function sightOfHost(): Promise<string> {
    const script = `ls -A / /var/lib/forkpoint; find /etc /var/lib/dbus -printf '%p %i %m\\n' | sort
      find ${ownFiles} -type f | sort | xargs sha256sum`;
    return host.run(['sh', '-uc', script]);
  }
});
