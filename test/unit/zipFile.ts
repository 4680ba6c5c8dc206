import assert from 'node:assert/strict';
import { inflateRawSync } from 'node:zlib';

/** How its end and each entry of its directory begin (PKWARE's APPNOTE.TXT, 4.3.16 and 4.3.12). */
const [END, ENTRY] = [0x06054b50, 0x02014b50];
const END_BYTES = 22;
const DEFLATED = 8;

/** The files in a ZIP file without a comment, by their names. */
export function unzip(zip: Buffer): Map<string, Buffer> {
  const end = zip.length - END_BYTES;
  assert.equal(zip.readUInt32LE(end), END);
  const files = new Map<string, Buffer>();
  let at = zip.readUInt32LE(end + 16);
  for (let count = zip.readUInt16LE(end + 10); count > 0; count -= 1) {
    assert.equal(zip.readUInt32LE(at), ENTRY);
    const [name = 0, extra = 0, comment = 0] = [28, 30, 32].map((field) => zip.readUInt16LE(at + field));
    const local = zip.readUInt32LE(at + 42);
    // The local header has lengths of its own (4.3.7).
    const start = local + 30 + zip.readUInt16LE(local + 26) + zip.readUInt16LE(local + 28);
    const packed = zip.subarray(start, start + zip.readUInt32LE(at + 20));
    const content = zip.readUInt16LE(at + 10) === DEFLATED ? inflateRawSync(packed) : packed;
    files.set(zip.toString('utf8', at + 46, at + 46 + name), content);
    at += 46 + name + extra + comment;
  }
  return files;
}
