import assert from 'node:assert/strict';
import { mkdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { isIP } from 'node:net';
import * as path from 'node:path';
import { otherMounts } from '../../../src/helper/checkpoint/capture.ts';
import { errorsOfLog } from '../../../src/helper/checkpoint/criuLog.ts';
import { joinImages } from '../../../src/helper/checkpoint/joinImages.ts';
import { matchPages, pagesIn, readPageMap, writePageMap } from '../../../src/helper/checkpoint/pageMap.ts';
import type { PageMap } from '../../../src/helper/checkpoint/pageMap.ts';
import { addressOf, parseInternetSockets } from '../../../src/helper/checkpoint/sockets.ts';
import { KeptAnswers } from '../../../src/helper/doors/keptAnswers.ts';
import { readHostFile } from '../../../src/helper/host/hostFile.ts';
import { mountAt, mountHolding, mountPointsBelow } from '../../../src/helper/host/mounts.ts';
import type { Run } from '../../../src/helper/host/run.ts';
import { isLoopback, readListen } from '../../../src/helper/service/apiListen.ts';
import { ApiTokens } from '../../../src/helper/service/apiTokens.ts';
import { renameInHosts } from '../../../src/helper/service/identity.ts';
import { installCommand, readBegun } from '../../../src/helper/service/multiplexers.ts';
import { readListeners } from '../../../src/helper/service/ports.ts';
import { Subvolumes } from '../../../src/helper/subvolumes/btrfs.ts';
import { isOperationName } from '../../../src/protocol/operations.ts';
import { visible } from '../../../src/protocol/visible.ts';
import { cleanUp, memoryLog, temporaryDirectory } from '../helper/daemonHarness.ts';
import { entry, flag, head, image, page, type Field } from '../helper/pageMapImage.ts';
import { each, Inputs, rounds, timeoutMs } from './inputs.ts';

describe('whatever the kernel, a program or a file tells it, the helper', function () {
  this.timeout(timeoutMs);

  let inputs: Inputs;
  let directory: string;

  before(() => {
    inputs = new Inputs();
    directory = temporaryDirectory();
  });

  after(cleanUp);

  describe('of page maps', () => {
    /** An image of a few entries, with a few bytes of it spoiled now and then. */
    function pageMap(pagesId: number): Buffer {
      const entries = Array.from({ length: inputs.below(5) }, (): Field[] => [
        [entry.address, inputs.below(64) * page],
        [inputs.one([entry.narrowPages, entry.pages]), inputs.below(16)],
        [entry.flags, inputs.one([flag.present, flag.parent, flag.present | flag.lazy, inputs.below(9)])],
      ]);
      const whole = image([[head.pagesId, pagesId]], ...entries);
      return inputs.below(2) === 0 ? whole : inputs.spoiled(whole);
    }

    /** Null where it is refused, which it is with a RangeError. */
    function readOrRefuse(bytes: Buffer): PageMap | null {
      try {
        return readPageMap(bytes);
      } catch (error) {
        assert.ok(error instanceof RangeError, String(error));
        return null;
      }
    }

    it('writes what it has read, and finds each page of the later one once', () =>
      each(
        () => [pageMap(1), pageMap(2)] as const,
        ([one, other]) => {
          const [earlier, later] = [readOrRefuse(one), readOrRefuse(other)];
          if (earlier === null || later === null) return;
          const { pagesId, entries } = readPageMap(writePageMap(later));
          assert.deepEqual({ pagesId, entries }, { pagesId: later.pagesId, entries: later.entries });
          let at = 0;
          for (const { offset, earlierOffset, bytes } of matchPages(earlier, later, page)) {
            assert.equal(offset, at);
            assert.ok(bytes > 0 && (earlierOffset === null || earlierOffset >= 0));
            assert.ok(earlierOffset === null || earlierOffset + bytes <= pagesIn(earlier) * page);
            at += bytes;
          }
          assert.equal(at, pagesIn(later) * page);
        },
      ));

    it('joins dumps to one that needs no other, or refuses them', () =>
      each(
        () => {
          rmSync(path.join(directory, 'dumps'), { recursive: true, force: true });
          return ['last', 'before'].map((name) => {
            const images = path.join(directory, 'dumps', name);
            mkdirSync(images, { recursive: true });
            // The second may build upon the first again, or upon nothing.
            if (name === 'last' || inputs.below(8) === 0)
              symlinkSync(`../${name === 'last' ? 'before' : 'last'}`, path.join(images, 'parent'));
            const map = pageMap(1);
            writeFileSync(path.join(images, 'pagemap-1.img'), map);
            const pages = readOrRefuse(map) === null ? 1 : Math.min(100, pagesIn(readPageMap(map)));
            writeFileSync(path.join(images, 'pages-1.img'), Buffer.alloc(pages * page));
            return map.toString('hex');
          });
        },
        async () => {
          let joined = 0;
          const run: Run = (_, [, target = ''], options) => {
            for (const line of String(options?.input).split('\n')) joined += Number(line.split(' ')[3] ?? 0);
            writeFileSync(target, '');
            return Promise.resolve({ exitCode: 0, stdout: '', stderr: '', ms: 0 });
          };
          const images = path.join(directory, 'dumps/last');
          const map = path.join(images, 'pagemap-1.img');
          try {
            await joinImages(run, 'join.pl', images);
          } catch (error) {
            assert.ok(error instanceof RangeError, String(error));
            return;
          }
          const after = readPageMap(readFileSync(map));
          assert.ok(after.entries.every(({ isInParent }) => !isInParent));
          if (joined > 0) assert.equal(pagesIn(after) * page, joined);
        },
        Math.ceil(rounds / 6),
      ));
  });

  it('of listeners takes ports that there are, and of sockets addresses that there are', () => {
    const shown = ['127.0.0.1:8000', '[::]:65536', '*:80', '127.0.0.53%lo:53', '[::1]:0', ':', '99999'];
    const hexadecimal = ['0100007F', '00000000000000000000000001000000', '0100', '0100007F01', ''];
    const ports = ['1F90', 'FFFF', '10000', '0'];
    return each(
      () => {
        const odd = (): string => inputs.text([' ', '\n', ':', '0100007F']);
        const address = (): string => `${inputs.one(hexadecimal)}:${inputs.one(ports)}`;
        return inputs.one([
          `LISTEN 0 5 ${inputs.one(shown)} 0.0.0.0:* users:(("${odd()}",pid=1,fd=2))\n${odd()}`,
          `LISTEN 0 5 ${inputs.one(shown)}${odd()}`,
          `  0: ${address()} ${address()} 0A \n${odd()}  1: ${address()} ${address()} ${odd()} `,
        ]);
      },
      (text) => {
        for (const { port, address } of readListeners(text)) {
          assert.ok(Number.isInteger(port) && port >= 1 && port <= 65535, String(port));
          assert.doesNotMatch(address, /\s/);
        }
        for (const { local, peer, state } of parseInternetSockets(text)) {
          for (const end of [local, peer]) {
            assert.notEqual(isIP(addressOf(end)), 0, end);
            assert.ok(Number(/\d+$/.exec(end)?.[0]) <= 65535, end);
          }
          assert.match(state, /^[0-9A-F]{2}$/);
        }
      },
    );
  });

  it('of mounts finds those that there are, whatever their directories are called', () => {
    const escape = (text: string): string =>
      text.replace(/[ \t\n\\#]/g, (one) => `\\${one.charCodeAt(0).toString(8).padStart(3, '0')}`);
    const lineOf = (point: string): string =>
      `36 35 0:${String(inputs.below(99))} / ${escape(point)} rw shared:1 - btrfs /dev/loop0 rw`;
    return each(
      () => {
        const point = `/pool/${inputs.text(['a', ' ', '\\', '\\040', ' - ', 'proc']).replace(/\0/g, '')}x`;
        const others = Array.from({ length: inputs.below(4) }, () => inputs.text([' ', '/', ' - ', '\n']));
        return { point, mountinfo: [...others, lineOf(point)].join('\n') };
      },
      ({ point, mountinfo }) => {
        assert.equal(mountAt(point, mountinfo)?.type, 'btrfs');
        const below = mountPointsBelow('/pool', mountinfo);
        assert.ok(below.includes(point) && below.every((one) => one.startsWith('/pool/')));
        assert.equal(mountHolding(`${point}/file`, mountinfo).mountPoint, point);
        const shown = otherMounts(mountinfo, []);
        assert.ok(shown.some((one) => one.path === visible(point)));
        assert.ok(shown.every((one) => one.path === visible(one.path)));
        assert.ok(!otherMounts(mountinfo, [point]).some((one) => one.path === visible(point)));
      },
    );
  });

  it('of nested subvolumes answers none that is not where it is listed', () => {
    const root = path.join(directory, 'live');
    mkdirSync(path.join(root, 'a'), { recursive: true });
    return each(
      () =>
        Array.from({ length: inputs.below(3) }, () => {
          const name = inputs.text(['a', '/', 'a\nb', '\n', '../../outside', root.slice(1)]);
          return `${inputs.one(['ID 257 gen 7 top level 256 path ', ''])}${name}\n`.replaceAll('\0', '');
        }).join(''),
      async (listed) => {
        const printed = [listed];
        const run: Run = () =>
          Promise.resolve({ exitCode: 0, stdout: printed.pop() ?? '', stderr: '', ms: 0 });
        // No directory here is a subvolume.
        assert.deepEqual(await new Subvolumes(run).nested(root), []);
        assert.match(listed, /^\n*$/);
      },
    );
  });

  it('renames a machine in its own words of /etc/hosts alone, and leads back', () => {
    const before = { hostname: 'web', address: '10.209.0.16' };
    const after = { hostname: 'web-2', address: '10.209.0.17' };
    return each(
      () => inputs.text(['web', ' ', '\t', '\n', '10.209.0.16', '10.209.0.161', 'web.local', '#']),
      (text) => {
        const renamed = renameInHosts(text, before, after);
        const wordsOf = (one: string): string[] => one.split(/[\s#]+/);
        assert.deepEqual(
          wordsOf(renamed),
          wordsOf(text).map((word) =>
            word === before.hostname ? after.hostname : word === before.address ? after.address : word,
          ),
        );
        assert.equal(renameInHosts(renamed, after, before), text);
      },
    );
  });

  it('shows of the log of CRIU its errors alone', () => {
    const file = path.join(directory, 'dump.log');
    const words = ['(00.1) ', 'Error (criu/tty.c:1): ', "Can't setup RLIMIT_NOFILE", 'no', '\n', '\n'];
    return each(
      () => written(file, inputs.text(words)),
      async (text) => {
        const errors = await errorsOfLog(file);
        for (const line of errors)
          assert.ok(line.includes('Error (') && !line.includes('RLIMIT') && !line.includes('\n'), line);
        const isOne = (line: string): boolean => line.includes('Error (') && !line.includes('RLIMIT');
        assert.equal(errors.length > 0, Buffer.from(text).toString().split('\n').some(isOne));
      },
    );
  });

  it('reads what a shell inside says of its terminals by whole lines, whatever else it prints', () =>
    each(
      () =>
        [
          inputs.text(['new', 'manager ', 'constructor']),
          inputs.text(['multiplexer ', 'tmux', '\n']),
        ] as const,
      ([noise, other]) => {
        const printed = `${noise}\nmultiplexer screen\nnew\n${other}`;
        assert.deepEqual(readBegun(printed), { multiplexer: 'screen', isNew: true });
        const { multiplexer } = readBegun(other);
        assert.ok(multiplexer === null || other.split(/[\r\n]/).includes(`multiplexer ${multiplexer}`));
        // No manager of packages is among those words.
        assert.equal(installCommand(noise, 'tmux'), null);
        assert.equal(
          installCommand(`${noise.replaceAll('manager ', '')}\nmanager apk\n`, 'tmux'),
          'apk add tmux',
        );
      },
    ));

  describe('of its own files', () => {
    const moment = '2026-01-01T00:00:00.000Z';
    const kept = {
      ...{ key: 'k', operation: 'containers/list', request: 'r', startedAt: 1, endedAt: 2 },
      outcome: { ok: true, result: [] },
    };
    const token = {
      ...{ id: '0123456789ab', label: null, containers: null, may: ['list'], createdAt: moment },
      ...{ expiresAt: moment, hash: '0'.repeat(64) },
    };
    const host = { schema: 1, poolUuid: '0f0e0d0c-0b0a-4908-8706-050403020100', root: '/pool' };

    function spoiled(content: object): string {
      const kind = inputs.below(3);
      if (kind === 0) return inputs.spoiled(Buffer.from(JSON.stringify(content))).toString();
      return JSON.stringify(kind === 1 ? inputs.spoiledValue(content) : content);
    }

    it('believes what a host was set up with when it is whole', () => {
      const file = path.join(directory, 'host.json');
      return each(
        () => written(file, spoiled(host)),
        async (text) => {
          const read = await readHostFile(file);
          assert.ok(read !== null && typeof read.root === 'string');
          assert.deepEqual(read, JSON.parse(text));
        },
      );
    });

    it('drops kept answers that it can not read, and gives the others as they are', () => {
      const answers = new KeptAnswers(path.join(directory, 'answers'), memoryLog());
      answers.load();
      const file = path.join(directory, 'answers/a.json');
      return each(
        () => written(file, spoiled(kept)),
        (text) => {
          const loaded = answers.load();
          assert.ok(loaded.length <= 1);
          for (const one of loaded) {
            assert.ok(isOperationName(one.operation), one.operation);
            assert.equal(one.key, (JSON.parse(text) as { key: string }).key);
          }
          assert.deepEqual(answers.load(), loaded);
        },
      );
    });

    it('lets nobody in by a file of tokens that was spoiled', () => {
      const file = path.join(directory, 'tokens.json');
      return each(
        () => written(file, spoiled({ schema: 1, tokens: [token] })),
        async () => {
          const tokens = await ApiTokens.load(file, () => new Date(moment), memoryLog());
          const guess = `fpt_0123456789ab_${'A'.repeat(43)}`;
          assert.equal(tokens.find(inputs.one([guess, inputs.text(['fpt_', '0123456789ab', '_'])])), null);
          for (const one of tokens.list()) assert.ok(!('hash' in one));
          // What was put aside is not read again.
          const again = await ApiTokens.load(file, () => new Date(moment), memoryLog());
          assert.deepEqual(again.list(), tokens.list());
        },
        Math.ceil(rounds / 3),
      );
    });
  });

  it('listens on no other address than its own loopback, and on no other path than it is given', () => {
    const addresses = [
      '127.0.0.1',
      '[::1]',
      'localhost',
      '0.0.0.0',
      '[::]',
      '[::ffff:7f00:1]',
      '127.1',
      '::1',
    ];
    const paths = ['/run/a', '/', '..', '.', 'a', '//'];
    return each(
      () =>
        inputs.one([
          `${inputs.one(addresses)}:${inputs.one(['8000', '0', '65536', '080', inputs.text(['1'])])}`,
          `unix:${inputs.text(paths)}`,
          `unix:/run/${inputs.one(paths)}/${inputs.one(paths)}`,
          inputs.text(['127.0.0.1', ':8000', 'unix:']),
        ]),
      (listen) => {
        const place = readListen(listen, false);
        if (place.kind === 'tcp') {
          assert.ok(isLoopback(place.address) && place.port >= 1 && place.port <= 65535, listen);
          return;
        }
        assert.ok(path.isAbsolute(place.path) && path.resolve(place.path) === place.path, listen);
        assert.equal(`unix:${place.path}`, listen);
      },
    );
  });
});

/** A text as it is in a file now, for what reads files. */
function written(file: string, text: string): string {
  writeFileSync(file, text);
  return text;
}
