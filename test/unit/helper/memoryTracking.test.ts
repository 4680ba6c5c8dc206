import assert from 'node:assert/strict';
import { tracksMemory } from '../../../src/helper/checkpoint/memoryTracking.ts';
import type { Run } from '../../../src/helper/host/run.ts';
import { ForkpointError } from '../../../src/protocol/errors.ts';

/** A host on which these commands end with 0, and others with 1 or because they are missing. */
function hostWith(...able: string[]): Run {
  return (command) =>
    able.includes(command)
      ? Promise.resolve({ exitCode: 0, stdout: '', stderr: '', ms: 0 })
      : Promise.reject(new ForkpointError('host.toolMissing', { tool: command, install: command }));
}

describe('whether changes of memory are tracked', () => {
  it('is so where the kernel does it and there is a Perl', async () => {
    assert.equal(await tracksMemory(hostWith('criu', 'perl')), true);
  });

  it('is not so, and no failure, where a program is missing: workspaces are started there too', async () => {
    for (const able of [['criu'], ['perl'], []]) assert.equal(await tracksMemory(hostWith(...able)), false);
  });
});
