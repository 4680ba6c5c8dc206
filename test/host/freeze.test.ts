import assert from 'node:assert/strict';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import * as path from 'node:path';
import { fileURLToPath } from 'node:url';
import { execa } from 'execa';
import { forkpoint, sharedHost, TestWorkspace } from './workspace.ts';

/** A parent in vfork(2) sleeps in the kernel where CRIU can't seize it, and the freezer may wait for it for ever. */
describe('freezing', () => {
  let workspace: TestWorkspace;

  before(async function () {
    this.timeout(300_000);
    workspace = await TestWorkspace.create(await sharedHost(), 'vforking');
    const directory = await mkdtemp(path.join(tmpdir(), 'forkpoint-vforking-'));
    try {
      const program = path.join(directory, 'vforking');
      await execa('gcc', [
        '-static',
        '-O1',
        '-o',
        program,
        fileURLToPath(new URL('vforking.c', import.meta.url)),
      ]);
      const target = `${workspace.rootfs}/usr/local/bin/vforking`;
      await workspace.host.run(['sh', '-c', 'cat > "$1" && chmod 755 "$1"', 'sh', target], {
        input: await readFile(program),
      });
    } finally {
      await rm(directory, { recursive: true });
    }
    await workspace.sh('setsid -f sh -c "exec vforking </dev/null >/dev/null 2>&1"');
  });

  after(() => forkpoint(workspace.host, 'containers/delete', ['-c', 'vforking', '--with-snapshots']));

  it('keeps a program that is caught in the middle of a vfork, every time', async function () {
    this.timeout(240_000);
    for (let round = 0; round < 8; round++) {
      const { snapshot } = await forkpoint(workspace.host, 'snapshots/create', [
        '-c',
        'vforking',
        '--mode',
        'stateful',
      ]);
      assert.ok(snapshot.capture.kept.some((process) => process.name === 'vforking'));
    }
  });
});
