import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import * as path from 'node:path';
import { withInclude } from '../../../src/extension/ssh/aliasFiles.ts';
import { readAskpassPrompt } from '../../../src/extension/hosts/askpass.ts';
import { parseDestination } from '../../../src/extension/hosts/destination.ts';
import {
  judgeHostKey,
  knownKeyTypes,
  namesMatch,
  parseKnownHosts,
} from '../../../src/extension/hosts/knownHosts.ts';
import { parseKeywordLines } from '../../../src/extension/hosts/resolvedConfig.ts';
import { JournalEntrySchema } from '../../../src/helper/catalogue/journal.ts';
import { Layout } from '../../../src/helper/catalogue/layout.ts';
import { SnapshotRecordSchema, WorkspaceRecordSchema } from '../../../src/helper/catalogue/records.ts';
import { parseBytes } from '../../../src/helper/doors/cli/units.ts';
import { confinedPath } from '../../../src/helper/subvolumes/confinedPath.ts';
import { SendStreamReader } from '../../../src/helper/subvolumes/sendStream.ts';
import { NameSchema, SnapshotNameSchema, WorkspaceIdSchema, visible } from '../../../src/protocol/names.ts';
import { each, Inputs, timeoutMs } from './inputs.ts';

describe('whatever it is given', function () {
  this.timeout(timeoutMs);

  let inputs: Inputs;

  before(() => {
    inputs = new Inputs();
  });

  it('the reader of send streams ends, and says what it could not read', () =>
    each(
      () => {
        const commands = Array.from({ length: inputs.below(6) }, () => {
          const body = Buffer.concat(
            Array.from({ length: inputs.below(4) }, () => {
              const text = inputs.one([Buffer.from(inputs.text(['o257-7-0', 'a/b'])), inputs.bytes()]);
              const header = Buffer.alloc(4);
              header.writeUInt16LE(inputs.one([15, 16, 17, inputs.below(40)]), 0);
              header.writeUInt16LE(inputs.one([text.length, inputs.below(65536)]), 2);
              return Buffer.concat([header, text]);
            }),
          );
          const header = Buffer.alloc(10);
          header.writeUInt32LE(inputs.one([body.length, body.length, inputs.below(2 ** 32)]), 0);
          header.writeUInt16LE(inputs.below(28), 4);
          return Buffer.concat([header, body]);
        });
        const whole = Buffer.concat([Buffer.from('btrfs-stream\0\x01\0\0\0', 'latin1'), ...commands]);
        return inputs.below(3) === 0 ? inputs.spoiled(whole) : whole;
      },
      (stream: Buffer) => {
        const reader = new SendStreamReader();
        const cut = inputs.below(stream.length + 1);
        reader.take(stream.subarray(0, cut));
        reader.take(stream.subarray(cut));
        const { first } = reader.result();
        // What is shown of a container's names holds nothing that a terminal would obey.
        for (const { path: name } of first) assert.equal(visible(name), name);
      },
    ));

  it('no name leads out of its directory', () =>
    each(
      () => inputs.text(['ws-0123456789ab', 'snap-20260304-143045', 'a.b']),
      (text: string) => {
        const layout = new Layout('/pool');
        const name = NameSchema.safeParse(text);
        if (name.success) assert.equal(path.dirname(path.join('/pool/volumes', name.data)), '/pool/volumes');
        const id = WorkspaceIdSchema.safeParse(text);
        if (id.success) assert.equal(path.dirname(layout.workspace(id.data)), layout.workspaces());
        const snapshot = SnapshotNameSchema.safeParse(text);
        const owner = WorkspaceIdSchema.parse('ws-0123456789ab');
        if (snapshot.success)
          assert.equal(path.dirname(layout.snapshot(owner, snapshot.data)), layout.snapshotsOf(owner));
        assert.ok(Array.from(visible(text)).every((one) => one >= ' ' && one !== '\u007f'));
      },
    ));

  it('no path inside a workspace leads out of it', async () => {
    const root = mkdtempSync(path.join(tmpdir(), 'forkpoint-fuzz-'));
    try {
      mkdirSync(path.join(root, 'a/b'), { recursive: true });
      for (const [name, target] of [
        ['up', '../../../..'],
        ['root', '/'],
        ['a/loop', 'loop'],
        ['a/out', '/../../etc'],
        ['a/b/back', '../../up/etc'],
      ] as const)
        symlinkSync(target, path.join(root, name));
      const words = ['a', 'b', 'up', 'root', 'loop', 'out', 'back', '/', '/', '..'];
      await each(
        () =>
          inputs
            .text(words)
            .replaceAll('\0', '')
            .replace(/a{65,}/g, 'long'),
        async (inner: string) => {
          const found = await confinedPath(root, inner);
          assert.ok(found === root || found.startsWith(`${root}/`), found);
        },
      );
    } finally {
      rmSync(root, { recursive: true });
    }
  });

  it('files of the catalogue and of the journal are read or refused', () => {
    const fields = [
      'schema',
      'id',
      'name',
      'workspace',
      'operation',
      'snapshot',
      'parent',
      'images',
      'lazy',
      'spec',
    ];
    return each(
      () => inputs.value(fields),
      (value: unknown) => {
        for (const schema of [WorkspaceRecordSchema, SnapshotRecordSchema, JournalEntrySchema])
          assert.equal(typeof schema.safeParse(value).success, 'boolean');
      },
    );
  });

  it('known hosts are read, and no unreadable line makes a key known', () => {
    const key = 'AAAAC3NzaC1lZDI1NTE5AAAAIBh7Yqg1Iw0CzQ4h5G0bC2mB7a3c2v9y5q1pQ8s6z0aB';
    const words = [
      ...['example.org', '[example.org]:2222', '|1|c2FsdA==|aGFzaA==', '@revoked', '@cert-authority'],
      ...['ssh-ed25519', 'ssh-rsa', key, ' ', ' ', '\n', '*', '?', '!example.org'],
    ];
    return each(
      () => inputs.text(words),
      (text: string) => {
        const entries = parseKnownHosts(text, 'known_hosts');
        knownKeyTypes(entries, 'example.org');
        const stranger = Buffer.from(`\0\0\0\x0bssh-ed25519\0\0\0\x04${String(inputs.below(1e6))}`);
        assert.notEqual(judgeHostKey(entries, '[example.org]:2222', 'example.org', stranger).kind, 'known');
        namesMatch(text, 'example.org');
      },
    );
  });

  it('SSH configuration, destinations and questions of ssh are read or refused', () => {
    const words = [
      'Host ',
      'HostName ',
      'Include ',
      'Match exec ',
      '\n',
      'user@',
      'host',
      ':22',
      '[::1]',
      'password',
    ];
    return each(
      () => inputs.text(words),
      (text: string) => {
        parseKeywordLines(text);
        const destination = parseDestination(text);
        // It becomes a word of ssh's command line.
        if (destination !== null) assert.ok(!destination.host.startsWith('-'), destination.host);
        readAskpassPrompt(text, inputs.text());
        withInclude(text, '/home/user/.ssh/forkpoint');
      },
    );
  });

  it('sizes are read or refused', () =>
    each(
      () => inputs.text(['1.5', 'GiB', 'MB', '8', 'k']),
      (text: string) => {
        const bytes = parseBytes(text);
        assert.ok(bytes === null || (Number.isSafeInteger(bytes) && bytes >= 0), `${text}: ${String(bytes)}`);
      },
    ));
});
