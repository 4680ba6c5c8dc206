import { setTimeout as delay } from 'node:timers/promises';
import type { TestHost } from '../host/machine/machine.ts';
import { workspaceTarInHost } from '../host/machine/recipe.ts';

/** Name of the demo's workspace. */
export const shopName = 'shop';

/** Where its page is served, on the host and in the workspace. */
export const shopPort = 8080;

/** The main program of the workspace: it waits until the shop is put in, then becomes it. */
const waitForShop = 'until test -x /srv/shop/start; do sleep 0.1; done; exec /srv/shop/start';

/** Starts what runs in the workspace. All of it descends from the workspace's first process, so snapshots hold it. */
const start = `#!/bin/sh
pg_ctlcluster 18 main start
until runuser -u postgres -- psql -qc 'select 1' > /dev/null 2>&1; do sleep 0.1; done
runuser -u postgres -- psql -qAt < /srv/shop/orders.sql
tmux new-session -d -s work -x 100 -y 30 'bash --rcfile /srv/shop/shell'
runuser -u postgres -- node /srv/shop/server.js &
# When it ends the workspace does, so it is not one of those that may be killed.
exec sleep infinity
`;

const orders = `
create table if not exists orders (id serial primary key, item text not null);
insert into orders (item) select 'item ' || n from generate_series(1, 1000) n
  where not exists (select from orders);
`;

/** Asks PostgreSQL, and counts the visits in its memory alone. */
const server = `
const { execFile } = require('node:child_process');
const { createServer } = require('node:http');
let visits = 0;
createServer((request, response) => {
  if (request.url === '/ping') return response.end('here');
  visits++;
  const count = visits;
  execFile('psql', ['-qAt', '-c', 'select count(*) from orders'], (error, orders, problem) => {
    response.statusCode = error ? 500 : 200;
    const database = error ? problem.trim() : orders.trim() + ' orders in PostgreSQL';
    response.end('Visit ' + count + ' (counted in memory) · ' + database + '\\n');
  });
}).listen(${shopPort});
`;

const shell = `PS1='shop> '
treasure=island
echo 'This shell lives in tmux. Its variable "treasure" is' "$treasure"
`;

/** Shows in a few lines what is there. */
const look = `#!/bin/sh
echo "page     $(curl -sS http://127.0.0.1:${shopPort}/ 2>&1)"
echo "files    $(ls /srv/shop 2>&1 | tr '\\n' ' ')"
echo "running  $(ps -eo args= | grep -oE '^(node|postgres|tmux)' | sort -u | tr '\\n' ' ')"
tmux send-keys -t work 'echo "treasure is $treasure"' Enter 2> /dev/null && sleep 0.3
echo "tmux     $(tmux capture-pane -p -t work 2>&1 | grep -v -e '^$' -e 'shop>' | tail -n 1)"
`;

/** Does what a careless tool might. */
const breakEverything = `#!/bin/sh
runuser -u postgres -- psql -qc 'drop table orders'
rm -rf /srv/shop
tmux kill-server
pkill -9 -f '^node '
sleep 0.3
look
`;

const startTimeoutMs = 60_000;

/**
 * Makes the demo's workspace on a host and waits until all of it runs: PostgreSQL with a table, a node server that
 * counts visits, a shell in tmux.
 * @throws when it does not answer within a minute
 */
export async function createShop(host: TestHost): Promise<void> {
  await host.run([
    ...['forkpoint', 'containers', 'create', shopName, '--rootfs', workspaceTarInHost],
    // The host alone reaches it by loopback; the person at this machine comes from outside.
    ...['--publish', `0.0.0.0:${shopPort}:${shopPort}`, '--', 'sh', '-c', waitForShop],
  ]);
  await inShop(host, 'mkdir -p /srv/shop');
  await write(host, '/srv/shop/orders.sql', orders);
  await write(host, '/srv/shop/server.js', server);
  await write(host, '/srv/shop/shell', shell);
  await write(host, '/usr/local/bin/look', look);
  await write(host, '/usr/local/bin/break-everything', breakEverything);
  await inShop(host, 'chmod 755 /usr/local/bin/*');
  await write(host, '/srv/shop/start.new', start);
  await inShop(host, 'chmod 755 /srv/shop/start.new; mv /srv/shop/start.new /srv/shop/start');
  await waitForAnswer(shopUrl(host));
}

/** Address of the shop's page, as this machine reaches it. */
export function shopUrl(host: TestHost): string {
  return `http://${host.ssh.host}:${shopPort}/`;
}

/** Runs a shell script in the workspace, as `podman exec` does: no snapshot holds its processes. */
export async function inShop(host: TestHost, script: string, input?: string): Promise<string> {
  const command = ['podman', 'exec', '--interactive', `forkpoint-${shopName}`, 'sh', '-euc', script];
  return await host.run(command, input === undefined ? {} : { input });
}

async function write(host: TestHost, file: string, text: string): Promise<void> {
  await inShop(host, `cat > ${file}`, text);
}

async function waitForAnswer(url: string): Promise<void> {
  const deadline = performance.now() + startTimeoutMs;
  for (;;) {
    const isThere = await fetch(url).then(
      ({ ok }) => ok,
      () => false,
    );
    if (isThere) return;
    if (performance.now() > deadline) throw new Error(`The demo's workspace does not answer at ${url}.`);
    await delay(100);
  }
}
