import assert from 'node:assert/strict';
import { existsSync, readdirSync, writeFileSync } from 'node:fs';
import * as path from 'node:path';
import type { Run } from '../../../src/helper/host/run.ts';
import { HostKeys } from '../../../src/helper/service/hostKeys.ts';
import { cleanUp, memoryLog, temporaryDirectory } from './daemonHarness.ts';

describe('SSH host keys made ahead', () => {
  let directory: string;
  let commands: string[];
  let queued: (() => Promise<void>)[];

  beforeEach(() => {
    directory = path.join(temporaryDirectory(), 'host-keys');
    commands = [];
    queued = [];
  });

  afterEach(cleanUp);

  /** With keys that are numbers. */
  function make(): HostKeys {
    const run: Run = (command, args) => {
      const file = args.at(-1) ?? '';
      commands.push([command, ...args.slice(0, -1)].join(' '));
      writeFileSync(file, `private ${String(commands.length)}`);
      writeFileSync(`${file}.pub`, `public ${String(commands.length)}`);
      return Promise.resolve({ exitCode: 0, stdout: '', stderr: '', ms: 1 });
    };
    return new HostKeys(run, directory, memoryLog(), (_title, work) => queued.push(work));
  }

  /** Does what waits. */
  async function settle(): Promise<void> {
    for (let work = queued.shift(); work !== undefined; work = queued.shift()) await work();
  }

  const taken = async (keys: HostKeys, type: string): Promise<string> => {
    const key = await keys.take(type);
    return `${String(key.private)}, ${String(key.public)}`;
  };

  it('are handed out once each, and made at once where there is none', async () => {
    const keys = make();
    assert.equal(await taken(keys, 'rsa'), 'private 1, public 1');
    assert.deepEqual(commands, ['ssh-keygen -q -t rsa -N  -C root -f']);
    await settle();
    assert.equal(commands.length, 3, 'two are ahead');
    assert.match(commands[1] ?? '', /^nice -n 19 ssh-keygen .* rsa /);
    const three = [await taken(keys, 'rsa'), await taken(keys, 'rsa'), await taken(keys, 'rsa')];
    assert.deepEqual(three.sort(), ['private 2, public 2', 'private 3, public 3', 'private 4, public 4']);
    assert.equal(await taken(keys, 'ed25519'), 'private 5, public 5');
  });

  it('leave no file, nor does a daemon that was killed in the middle', async () => {
    const keys = make();
    await keys.take('ed25519');
    await settle();
    assert.deepEqual(readdirSync(directory), []);
    writeFileSync(path.join(directory, 'key-left'), 'secret');
    await make().clear();
    assert.ok(!existsSync(directory));
  });
});
