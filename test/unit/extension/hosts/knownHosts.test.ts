import assert from 'node:assert/strict';
import { mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import * as path from 'node:path';
import {
  fingerprint,
  hasCertificateAuthority,
  judgeHostKey,
  knownKeyTypes,
  parseKnownHosts,
  readKnownHosts,
  recordedName,
  recordHostKey,
} from '../../../../src/extension/hosts/knownHosts.ts';

// Made by ssh-keygen; their private halves are gone.
const ed25519 = 'AAAAC3NzaC1lZDI1NTE5AAAAIOXbWtJebGOBYEiizDBvC+66q6orqdlHNP0dY7gjezUO';
const otherEd25519 = 'AAAAC3NzaC1lZDI1NTE5AAAAIGIlSNcwM/nsugH2BPYA/lHOAmUCpVEBhb4CkGpfWQ2x';
const ecdsa =
  'AAAAE2VjZHNhLXNoYTItbmlzdHAyNTYAAAAIbmlzdHAyNTYAAABBBL3uccgHxOI06q7S7eQsHmQRMVySM5u/vRdt8GTZeUUDtxY4NdleHIntmRb0WXLPnV4DSfNv4hJDshHHS8Vqb30=';
// "example.org" and "[example.org]:2222", hashed by ssh-keygen -H.
const hashedPlain = '|1|q9vt92qD3LnAXY77KiBJ3HDpCnA=|+t+RTSNss5LOQqkmN3JaO4V2Am8=';
const hashedPort = '|1|O4UVZ5NqOASMWaqdYPIydyhcFC0=|RbCOMKT7hOUpBaHnJLiFEH81ik4=';

const key = Buffer.from(ed25519, 'base64');
const otherKey = Buffer.from(otherEd25519, 'base64');

/** The verdict on `shown` for a host and port, given the text of a known_hosts file. */
function judge(
  text: string,
  shown: Buffer,
  hostName = 'example.org',
  port = 22,
  hostKeyAlias: string | null = null,
): string {
  const name = recordedName({ hostName, port, hostKeyAlias });
  const plainName = hostKeyAlias === null && port !== 22 ? hostName : null;
  return judgeHostKey(parseKnownHosts(text, 'known_hosts'), name, plainName, shown).kind;
}

describe('known_hosts', () => {
  const cases: {
    title: string;
    text: string;
    port?: number;
    alias?: string;
    shown?: Buffer;
    expected: string;
  }[] = [
    { title: 'an empty file knows nobody', text: '', expected: 'unknown' },
    { title: 'a plain entry', text: `example.org ssh-ed25519 ${ed25519}`, expected: 'known' },
    {
      title: 'an entry with a comment, tabs and a carriage return',
      text: `example.org\tssh-ed25519\t${ed25519} me@home\r\n`,
      expected: 'known',
    },
    {
      title: 'names apart by commas',
      text: `a.test,example.org,192.0.2.1 ssh-ed25519 ${ed25519}`,
      expected: 'known',
    },
    { title: 'a name in capitals', text: `Example.ORG ssh-ed25519 ${ed25519}`, expected: 'known' },
    { title: 'a wildcard', text: `*.org ssh-ed25519 ${ed25519}`, expected: 'known' },
    {
      title: 'a negated pattern takes the host out',
      text: `*.org,!example.org ssh-ed25519 ${ed25519}`,
      expected: 'unknown',
    },
    {
      title: 'a dot in a pattern is a dot',
      text: `example?org,exampleXorg ssh-ed25519 ${otherEd25519}`,
      expected: 'changed',
    },
    { title: 'a hashed entry', text: `${hashedPlain} ssh-ed25519 ${ed25519}`, expected: 'known' },
    {
      title: 'a hashed entry of another host',
      text: `${hashedPort} ssh-ed25519 ${otherEd25519}`,
      expected: 'unknown',
    },
    {
      title: 'an entry with its port',
      text: `[example.org]:2222 ssh-ed25519 ${ed25519}`,
      port: 2222,
      expected: 'known',
    },
    {
      title: 'a hashed entry with its port',
      text: `${hashedPort} ssh-ed25519 ${ed25519}`,
      port: 2222,
      expected: 'known',
    },
    {
      title: 'another port is another server',
      text: `[example.org]:2222 ssh-ed25519 ${otherEd25519}`,
      port: 2200,
      expected: 'unknown',
    },
    {
      title: 'the same key under the plain name is good for a port',
      text: `example.org ssh-ed25519 ${ed25519}`,
      port: 2222,
      expected: 'known',
    },
    {
      title: 'another key under the plain name is that of another server',
      text: `example.org ssh-ed25519 ${otherEd25519}`,
      port: 2222,
      expected: 'unknown',
    },
    {
      title: 'an alias stands for host and port',
      text: `box ssh-ed25519 ${ed25519}`,
      port: 2222,
      alias: 'box',
      expected: 'known',
    },
    {
      title: 'with an alias the name itself counts for nothing',
      text: `example.org ssh-ed25519 ${ed25519}`,
      alias: 'box',
      expected: 'unknown',
    },
    {
      title: 'another key of the same type is a change',
      text: `example.org ssh-ed25519 ${otherEd25519}`,
      expected: 'changed',
    },
    {
      title: 'another key beside the right one',
      text: `example.org ssh-ed25519 ${otherEd25519}\nexample.org ssh-ed25519 ${ed25519}`,
      expected: 'known',
    },
    {
      title: 'a host known by other types alone has changed',
      text: `example.org ecdsa-sha2-nistp256 ${ecdsa}`,
      expected: 'changed',
    },
    { title: 'a revoked key', text: `@revoked * ssh-ed25519 ${ed25519}`, expected: 'revoked' },
    {
      title: 'a revoked key stays revoked beside an entry that allows it',
      text: `example.org ssh-ed25519 ${ed25519}\n@revoked example.org ssh-ed25519 ${ed25519}`,
      expected: 'revoked',
    },
    {
      title: 'another key is revoked',
      text: `@revoked * ssh-ed25519 ${ed25519}`,
      shown: otherKey,
      expected: 'unknown',
    },
    {
      title: 'an authority is no host key',
      text: `@cert-authority *.org ssh-ed25519 ${ed25519}`,
      expected: 'unknown',
    },
    {
      title: 'an unknown marker voids its line',
      text: `@trusted example.org ssh-ed25519 ${ed25519}`,
      expected: 'unknown',
    },
    {
      title: 'comments and broken lines are passed over',
      text: `# x\n\nexample.org\nexample.org ssh-rsa ${ed25519}\nexample.org ssh-ed25519 !!`,
      expected: 'unknown',
    },
  ];
  for (const { title, text, port, alias, shown, expected } of cases) {
    it(`H38 ${title}: ${expected}`, () => {
      assert.equal(judge(text, shown ?? key, 'example.org', port ?? 22, alias ?? null), expected);
    });
  }

  it('H38 lists the types on record for a host, hashed ones too, but not those of authorities', () => {
    const entries = parseKnownHosts(
      `${hashedPlain} ssh-ed25519 ${ed25519}\n*.org ecdsa-sha2-nistp256 ${ecdsa}\n@cert-authority * ssh-ed25519 ${otherEd25519}\n`,
      'known_hosts',
    );
    assert.deepEqual(knownKeyTypes(entries, 'example.org'), ['ssh-ed25519', 'ecdsa-sha2-nistp256']);
    assert.equal(hasCertificateAuthority(entries, 'example.org'), true);
  });

  it('shows the fingerprint that ssh-keygen shows', () => {
    assert.equal(fingerprint(key), 'SHA256:hQCnVRzCozayJmOQZwsnUGRsMXByjouOcvfXpvPXy3Q');
  });

  describe('records an accepted key', () => {
    let directory = '';
    beforeEach(async () => {
      directory = await mkdtemp(path.join(tmpdir(), 'forkpoint-known-hosts-'));
    });
    afterEach(() => rm(directory, { recursive: true }));

    it('in a file that only its owner reads, and knows it from then on', async () => {
      const file = path.join(directory, 'ssh', 'known_hosts');
      await recordHostKey(file, '[example.org]:2222', key, { isHashed: false });
      assert.equal(await readFile(file, 'utf8'), `[example.org]:2222 ssh-ed25519 ${ed25519}\n`);
      if (process.platform !== 'win32') {
        assert.equal((await stat(file)).mode & 0o777, 0o600);
        assert.equal((await stat(path.dirname(file))).mode & 0o777, 0o700);
      }
      assert.equal(judgeHostKey(await readKnownHosts([file]), '[example.org]:2222', null, key).kind, 'known');
    });

    it('behind a last line without a newline', async () => {
      const file = path.join(directory, 'known_hosts');
      await writeFile(file, `a.test ssh-ed25519 ${otherEd25519}`);
      await recordHostKey(file, 'example.org', key, { isHashed: false });
      assert.equal((await readKnownHosts([file])).length, 2);
    });

    it('hashed where the configuration says so', async () => {
      const file = path.join(directory, 'known_hosts');
      await recordHostKey(file, 'example.org', key, { isHashed: true });
      assert.doesNotMatch(await readFile(file, 'utf8'), /example/);
      assert.equal(judgeHostKey(await readKnownHosts([file]), 'example.org', null, key).kind, 'known');
    });
  });

  it('takes a file that is not there for an empty one', async () => {
    assert.deepEqual(await readKnownHosts([path.join(tmpdir(), 'forkpoint-no-such-file')]), []);
  });
});
