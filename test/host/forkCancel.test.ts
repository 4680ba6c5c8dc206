import assert from 'node:assert/strict';
import { CancellationTokenSource } from 'vscode-jsonrpc/node';
import { operationRequest, progressNotification } from '../../src/protocol/session.ts';
import type { Workspace } from '../../src/protocol/workspace.ts';
import { DaemonClient } from './daemonClient.ts';
import type { TestHost } from './machine/machine.ts';
import { SmallWorkspace } from './small/smallWorkspace.ts';
import { ask, sharedHost } from './workspace.ts';

describe('a fork that is cancelled', function () {
  this.timeout(180_000);
  let host: TestHost;
  let client: DaemonClient;

  before(async () => {
    host = await sharedHost();
    await SmallWorkspace.create(host, 'cancelled');
    await ask(host, 'snapshots/create', { container: 'cancelled', alias: 'begin', mode: 'stateful' });
    client = await DaemonClient.connect(host);
  });
  after(async () => {
    await client.close();
    await ask(host, 'containers/delete', { container: 'cancelled', withSnapshots: true });
  });

  // "connections" is the last step before it is decided that the fork stays.
  for (const step of ['container', 'connections'])
    it(`during "${step}" leaves nothing behind, and is shown as being made alone`, async () => {
      const cancellation = new CancellationTokenSource();
      const listening = client.connection.onNotification(progressNotification, (progress) => {
        if (progress.step === step) cancellation.cancel();
      });
      const params = { container: 'cancelled', snapshot: 'begin', name: `fork-${step}` };
      const cancelled = client.connection.sendRequest(
        operationRequest('containers/copy'),
        params,
        { progressToken: step },
        cancellation.token,
      );
      let hasEnded = false;
      const list = (): Promise<Workspace[]> =>
        client.connection.sendRequest(operationRequest('containers/list'), {}, {});
      const look = async (): Promise<void> => {
        while (!hasEnded)
          for (const { name, operation, head } of await list())
            if (name !== 'cancelled') assert.deepEqual([operation, head], ['containers/copy', null]);
      };
      const looking = Promise.all([look(), look()]);
      looking.catch(() => undefined);
      try {
        await assert.rejects(cancelled, /^Error: Cancelled\./);
      } finally {
        listening.dispose();
        hasEnded = true;
      }
      await looking;
      const names = (await ask(host, 'containers/list', {})).map(({ name }) => name);
      assert.deepEqual(names, ['cancelled']);
      assert.equal(await host.run(['ls', '/var/lib/forkpoint/journal']), '');
    });
});
