export const page = 4096;
/** Numbers of CRIU's images/pagemap.proto. */
export const head = { pagesId: 1 };
export const entry = { address: 1, narrowPages: 2, inParent: 3, flags: 4, pages: 5 };
export const flag = { parent: 1, lazy: 2, present: 4 };

/** A field of a message: its number and its value. */
export type Field = readonly [number: number, value: number];

function varint(value: number): number[] {
  return value < 128 ? [value] : [(value % 128) + 128, ...varint(Math.floor(value / 128))];
}

/** A `pagemap-*.img` of these messages. */
export function image(...messages: Field[][]): Buffer {
  return imageOf(
    messages.map((fields) =>
      Buffer.from(fields.flatMap(([number, value]) => [number * 8, ...varint(value)])),
    ),
  );
}

/** A `pagemap-*.img` of messages that are bytes already. */
export function imageOf(bodies: readonly Buffer[]): Buffer {
  const words = (...values: number[]): Buffer => {
    const bytes = Buffer.alloc(4 * values.length);
    values.forEach((value, index) => bytes.writeUInt32LE(value, 4 * index));
    return bytes;
  };
  return Buffer.concat([
    words(0x54564319, 0x56084025),
    ...bodies.flatMap((body) => [words(body.length), body]),
  ]);
}
