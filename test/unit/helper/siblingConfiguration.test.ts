import assert from 'node:assert/strict';
import { siblingConfiguration } from '../../../src/helper/engines/siblingConfiguration.ts';

describe('the configuration of a container, taken from that of a sibling', () => {
  const sibling = { id: 'aaaa', directory: '/pool/workspaces/ws-1', hostname: 'shop' };
  const own = { id: 'bbbb', directory: '/pool/workspaces/ws-2', hostname: 'try-1' };
  const config = {
    ociVersion: '1.2.1',
    hostname: 'shop',
    root: { path: '/pool/workspaces/ws-1/rootfs' },
    process: {
      args: ['/init', '--', 'serve', '/pool/workspaces/ws-1/x'],
      env: ['HOSTNAME=shop', 'NAME=shop'],
      noNewPrivileges: true,
    },
    mounts: [
      { destination: '/proc', type: 'proc', source: 'proc' },
      { destination: '/run/.containerenv', source: '/run/containers/aaaa/userdata/.containerenv' },
      { destination: '/data', source: '/pool/workspaces/ws-1/volumes/data', options: ['rbind'] },
      { destination: '/other', source: '/pool/workspaces/ws-10/volumes/data' },
    ],
    annotations: { 'org.criu.config': '/pool/workspaces/ws-1/criu.conf', 'io.container.manager': 'libpod' },
    linux: {
      cgroupsPath: 'machine.slice:libpod:aaaa',
      namespaces: [{ type: 'pid' }, { type: 'network', path: '/run/netns/of-the-sibling' }],
      seccomp: { defaultAction: 'SCMP_ACT_ERRNO' },
    },
  };
  const made = JSON.parse(siblingConfiguration(JSON.stringify(config), sibling, own)) as typeof config;

  it('has places, control group and names of its own', () => {
    assert.equal(made.root.path, '/pool/workspaces/ws-2/rootfs');
    assert.equal(made.hostname, 'try-1');
    assert.deepEqual(made.process.env, ['HOSTNAME=try-1', 'NAME=shop']);
    assert.equal(made.mounts[1]?.source, '/run/containers/bbbb/userdata/.containerenv');
    assert.deepEqual(made.mounts[2], {
      destination: '/data',
      source: '/pool/workspaces/ws-2/volumes/data',
      options: ['rbind'],
    });
    assert.equal(made.annotations['org.criu.config'], '/pool/workspaces/ws-2/criu.conf');
    assert.equal(made.linux.cgroupsPath, 'machine.slice:libpod:bbbb');
  });

  it("names no network namespace, so that it can never join the sibling's", () => {
    assert.deepEqual(made.linux.namespaces, [{ type: 'pid' }, { type: 'network' }]);
  });

  it('keeps all else as it is, what is denied above all', () => {
    assert.deepEqual(made.linux.seccomp, config.linux.seccomp);
    assert.equal(made.process.noNewPrivileges, true);
    assert.deepEqual(made.process.args, config.process.args);
    assert.equal(made.mounts[3]?.source, '/pool/workspaces/ws-10/volumes/data');
    assert.equal(made.ociVersion, '1.2.1');
  });

  it('is refused when it is not the configuration of a container', () => {
    assert.throws(() => siblingConfiguration('{}', sibling, own));
    assert.throws(() => siblingConfiguration('', sibling, own));
  });
});
