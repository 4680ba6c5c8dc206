import assert from 'node:assert/strict';
import {
  containerDirectory,
  controllerDirectory,
  requireOutside,
} from '../../../src/helper/engines/cgroup.ts';

const ID = '0123456789abcdef'.repeat(4);

describe('finding the cgroup of a container', () => {
  const hybrid = `24 20 0:21 / /sys/fs/cgroup/freezer rw - cgroup cgroup rw,freezer
25 20 0:22 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory
26 20 0:23 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw`;

  it('reads the freezer of version 1', () => {
    const membership = `6:freezer:/libpod_parent/libpod-${ID}\n0::/\n`;
    assert.equal(
      controllerDirectory(membership, hybrid, 'freezer'),
      `/sys/fs/cgroup/freezer/libpod_parent/libpod-${ID}`,
    );
  });

  it('reads version 2 when the mount shows a part of the hierarchy', () => {
    const mounts = '30 20 0:23 /outer /sys/fs/cgroup rw - cgroup2 cgroup2 rw';
    assert.equal(
      controllerDirectory('0::/outer/machine.slice/x\n', mounts, null),
      '/sys/fs/cgroup/machine.slice/x',
    );
    assert.equal(controllerDirectory('0::/elsewhere\n', mounts, null), null);
  });

  it("cuts at the container's own directory", () => {
    const directory = `/sys/fs/cgroup/machine.slice/libpod-${ID}.scope`;
    assert.equal(containerDirectory(`${directory}/container`, ID), directory);
  });

  it('finds none for an exiting process, which the kernel shows in the root', () => {
    const root = controllerDirectory('6:freezer:/\n', hybrid, 'freezer');
    assert.equal(root, '/sys/fs/cgroup/freezer');
    assert.equal(containerDirectory(root, ID), null);
  });

  it('finds none without a whole id', () => {
    assert.equal(containerDirectory(`/sys/fs/cgroup/freezer/libpod-${ID}`, ''), null);
    assert.equal(containerDirectory(`/sys/fs/cgroup/freezer/libpod-${ID}`, ID.slice(0, 12)), null);
  });

  it('refuses one that the helper itself is in', () => {
    const directory = `/sys/fs/cgroup/freezer/libpod_parent/libpod-${ID}`;
    assert.throws(() => requireOutside(directory, directory), /the helper itself runs/);
    assert.throws(() => requireOutside(directory, `${directory}/system.slice`), /the helper itself runs/);
    for (const own of ['/sys/fs/cgroup/freezer', `${directory}-conmon`, '/sys/fs/cgroup/freezer/other', null])
      requireOutside(directory, own);
  });
});
