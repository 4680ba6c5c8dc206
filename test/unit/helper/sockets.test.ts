import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect, createServer } from 'node:net';
import { abandonedConnections, findAbandoned } from '../../../src/helper/checkpoint/connections.ts';
import {
  parseInternetSockets,
  readConnections,
  readSockets,
} from '../../../src/helper/checkpoint/sockets.ts';
import { readListeners } from '../../../src/helper/service/ports.ts';

describe('what ss prints', () => {
  it('tells the ports that are listened on, their addresses and who holds them', () => {
    const printed = `LISTEN 0 5 127.0.0.1:8000 0.0.0.0:* users:(("python3",pid=412,fd=3))
LISTEN 0 511 [::]:3000 [::]:* users:(("a,pid=1,fd=2",pid=77,fd=19),("node",pid=78,fd=19))
LISTEN 0 128 127.0.0.53%lo:53 0.0.0.0:*
`;
    assert.deepEqual(readListeners(printed), [
      { port: 8000, address: '127.0.0.1', pids: [412] },
      { port: 3000, address: '::', pids: [1, 77, 78] },
      { port: 53, address: '127.0.0.53', pids: [] },
    ]);
  });

  it('H22: tells the connections whose other end is gone, and no others', () => {
    const connection = (local: string, peer: string) => ({ local, peer });
    const connections = [
      connection('127.0.0.1:7000', '127.0.0.1:41000'),
      connection('127.0.0.1:41000', '127.0.0.1:7000'),
      connection('127.0.0.1:7000', '127.0.0.1:41002'),
      connection('[::ffff:127.0.0.1]:5432', '[::ffff:127.0.0.1]:50000'),
      connection('127.0.0.1:50000', '127.0.0.1:5432'),
      connection('[::1]:80', '[::1]:50002'),
    ];
    assert.deepEqual(abandonedConnections(connections), [
      connection('127.0.0.1:7000', '127.0.0.1:41002'),
      connection('[::1]:80', '[::1]:50002'),
    ]);
  });

  it('H22: takes none for one whose other end is gone that is only being made', async () => {
    const gone = { local: '127.0.0.1:7000', peer: '127.0.0.1:41000' };
    const near = { local: '127.0.0.1:8000', peer: '127.0.0.1:42000' };
    const far = { local: '127.0.0.1:42000', peer: '127.0.0.1:8000' };
    const lists = [
      [gone, near],
      [gone, near, far],
    ];
    const read = () => Promise.resolve(lists.shift() ?? []);
    assert.deepEqual(await findAbandoned(read, () => true), [gone]);
    assert.equal(lists.length, 0);
  });

  it('H22: looks once where none of them is in question, for a restore waits for it', async () => {
    const outside = { local: '10.209.0.2:41000', peer: '192.0.2.7:443' };
    let looks = 0;
    const read = () => Promise.resolve(looks++ === 0 ? [outside] : assert.fail('it looked again'));
    assert.deepEqual(await findAbandoned(read, ({ peer }) => peer !== outside.peer), []);
    assert.equal(looks, 1);
  });
});

describe('what /proc/PID/net shows', () => {
  it('tells addresses and ports of v4 and v6, mapped ones too, and the state', () => {
    const table = `  sl  local_address rem_address   st tx_queue rx_queue
   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 1 1
   1: 0A00D10A:1F90 0100D10A:C350 01 00000000:00000000 00:00000000 00000000     0        0 2 1
   0: 00000000000000000000000001000000:0016 00000000000000000000000000000000:0000 0A 00000000:00000000 00
   1: 0000000000000000FFFF00000100007F:1538 0000000000000000FFFF00000100007F:C351 08 00000000:00000000 00
   2: B80D0120000000000000010002000000:0050 B80D0120000001000000000003000000:C352 01 00000000:00000000 00
`;
    assert.deepEqual(
      parseInternetSockets(table).map(({ local, peer, state }) => `${local} ${peer} ${state}`),
      [
        '127.0.0.1:8080 0.0.0.0:0 0A',
        '10.209.0.10:8080 10.209.0.1:50000 01',
        '[::1]:22 [::]:0 0A',
        '[::ffff:127.0.0.1]:5432 [::ffff:127.0.0.1]:50001 08',
        '[2001:db8::1:0:0:2]:80 [2001:db8:1::3]:50002 01',
      ],
    );
  });

  it('tells the addresses, listeners and connections of a namespace: this one', async () => {
    const server = createServer().listen(0, '127.0.0.1');
    await once(server, 'listening');
    const address = server.address();
    assert.ok(typeof address === 'object' && address !== null);
    const client = connect(address.port, '127.0.0.1');
    await once(client, 'connect');
    try {
      const { listeners, connections, addresses } = await readSockets(process.pid);
      assert.ok(addresses.includes('127.0.0.1'));
      const listening = `127.0.0.1:${String(address.port)}`;
      assert.ok(listeners.some((one) => one.protocol === 'tcp' && one.address === listening));
      // A loopback connection is none to the outside, but is there.
      assert.ok(!connections.some(({ peer }) => peer === listening));
      assert.ok((await readConnections(process.pid)).some(({ peer }) => peer === listening));
    } finally {
      client.destroy();
      server.close();
    }
  });
});
