import assert from 'node:assert/strict';
import { PassThrough } from 'node:stream';
import { text } from 'node:stream/consumers';
import {
  MAXIMUM_NOISE_BYTES,
  NoMarkerError,
  splitAtMarker,
} from '../../../../src/extension/hosts/markedOutput.ts';

const marker = '0123456789abcdef';
const line = `forkpoint-session ${marker}\n`;

/** What comes before and after the marker when a host prints these pieces. */
async function split(pieces: readonly (string | Buffer)[]): Promise<{ noise: string; output: string }> {
  const source = new PassThrough();
  const { output, marked } = splitAtMarker(source, marker);
  const after = text(output);
  for (const piece of pieces) {
    source.write(piece);
    await new Promise((resolve) => setImmediate(resolve));
  }
  source.end();
  return { noise: await marked, output: await after };
}

describe('the output of a login shell', () => {
  it('H37 is empty before the marker on a quiet host', async () => {
    assert.deepEqual(await split([line, 'Content-Length: 2\r\n\r\n{}']), {
      noise: '',
      output: 'Content-Length: 2\r\n\r\n{}',
    });
  });

  it('H37 may hold what looks like the protocol', async () => {
    const noise = 'Welcome!\nContent-Length: 99\r\n\r\nforkpoint-session \n';
    assert.deepEqual(await split([noise, line, 'rest']), { noise, output: 'rest' });
  });

  it('H37 need not end its noise with a newline', async () => {
    assert.deepEqual(await split([`\u001b]0;title\u0007$ ${line}rest`]), {
      noise: '\u001b]0;title\u0007$ ',
      output: 'rest',
    });
  });

  it('H37 may be cut anywhere', async () => {
    const pieces = Array.from(`noise ${line}rest`);
    assert.deepEqual(await split(pieces), { noise: 'noise ', output: 'rest' });
  });

  it('H37 may end the line with a carriage return', async () => {
    assert.deepEqual(await split([`forkpoint-session ${marker}\r\nrest`]), { noise: '', output: 'rest' });
  });

  it('keeps the bytes after the marker as they are', async () => {
    const source = new PassThrough();
    const { output, marked } = splitAtMarker(source, marker);
    const bytes = Buffer.from([0, 255, 10, 13, 0x80]);
    source.end(Buffer.concat([Buffer.from(line), bytes]));
    await marked;
    const chunks: Buffer[] = [];
    for await (const chunk of output) chunks.push(chunk as Buffer);
    assert.deepEqual(Buffer.concat(chunks), bytes);
  });

  it('is told when it ends without a marker', async () => {
    await assert.rejects(split(['bash: forkpoint: command not found\n']), (error) => {
      return error instanceof NoMarkerError && error.noise === 'bash: forkpoint: command not found\n';
    });
  });

  it('is given up, and not kept, when it has no end', async () => {
    const source = new PassThrough();
    const { marked } = splitAtMarker(source, marker);
    for (let written = 0; written <= MAXIMUM_NOISE_BYTES + 65536; written += 65536)
      source.write(Buffer.alloc(65536, 'x'));
    await assert.rejects(marked, (error) => error instanceof NoMarkerError && error.noise.length <= 4096);
  });

  it('is given up when the line of the marker has no end', async () => {
    const source = new PassThrough();
    const { marked } = splitAtMarker(source, marker);
    source.write(line.trimEnd());
    for (let written = 0; written <= MAXIMUM_NOISE_BYTES; written += 65536)
      source.write(Buffer.alloc(65536, 'x'));
    await assert.rejects(marked, NoMarkerError);
  });

  it('is kept as it was printed, wherever it is cut', async () => {
    const pieces = Buffer.from(`Grüße${line}`);
    const { noise } = await split(Array.from(pieces, (byte) => Buffer.from([byte])));
    assert.equal(noise, 'Grüße');
  });
});
