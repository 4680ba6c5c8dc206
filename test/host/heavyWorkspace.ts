import assert from 'node:assert/strict';
import { quote, until, type TestWorkspace } from './workspace.ts';

/** Appends the next number to a file every millisecond; the number is in its memory alone. */
const writer = `
import os, time
out = os.open('/data/counter', os.O_WRONLY | os.O_CREAT | os.O_APPEND)
os.write(out, b'start\\n')
count = 0
while True:
    count += 1
    os.write(out, b'%d\\n' % count)
    time.sleep(0.001)
`;

/** Counts requests and ticks of a timer in its memory; "secret" tells this process from any other. */
const server = `
const { randomUUID } = require('node:crypto');
const { watch } = require('node:fs');
const secret = randomUUID();
let requests = 0, ticks = 0, seen = 0;
setInterval(() => ticks++, 20);
watch('/srv', () => seen++);
require('node:http').createServer((request, response) => {
  requests++;
  response.end(JSON.stringify({ secret, requests, ticks, seen }));
}).listen(8080);
`;

/** Prints all facts of the trees given: kinds, modes, owners, sizes, times to the nanosecond, links, attributes, content. */
const describeTrees = `
import hashlib, json, os, stat, sys
facts, links = {}, {}
def look(path):
    st = os.lstat(path)
    kind = stat.S_IFMT(st.st_mode)
    fact = [oct(st.st_mode), st.st_uid, st.st_gid, st.st_size, st.st_mtime_ns, st.st_nlink,
            {name: os.getxattr(path, name, follow_symlinks=False).hex() for name in os.listxattr(path, follow_symlinks=False)}]
    if kind == stat.S_IFLNK: fact.append(os.readlink(path))
    if kind in (stat.S_IFCHR, stat.S_IFBLK): fact.append(st.st_rdev)
    if kind == stat.S_IFREG:
        fact.append(links.setdefault(st.st_ino, path))
        fact.append(st.st_blocks)
        with open(path, 'rb') as file:
            fact.append(hashlib.sha256(file.read(1 << 22)).hexdigest())
    facts[path] = fact
    if kind == stat.S_IFDIR:
        for name in sorted(os.listdir(path)): look(path + '/' + name)
for tree in sys.argv[1:]: look(tree)
print(json.dumps(facts, ensure_ascii=True))
`;

/** Files of every special kind, below /srv/files and, on the volume, /data/files. */
const specialFiles = `
for place in /srv/files /data/files; do
  mkdir -p "$place/deep/er"; cd "$place"
  echo plain > plain; chmod 640 plain; chown 1234:5678 plain
  setfattr -n user.note -v 'kept as it is' plain
  ln plain deep/hardlink
  ln -s ../plain deep/symlink; ln -s /nowhere dangling
  truncate -s 1G sparse; printf tail | dd of=sparse bs=1 seek=1000000000 conv=notrunc status=none
  echo exec > setuid; chmod 4755 setuid; mkdir sticky; chmod 1777 sticky; mkdir setgid; chmod 2750 setgid
  mkfifo pipe
  printf 'x' > 'name with
newline and blank'; printf 'y' > "$(printf 'bad\\377byte')"
  head -c 3000000 /dev/urandom > random
  touch -d '2021-03-04T05:06:07.123456789Z' plain; touch -h -d '1999-12-31T23:59:59.987654321Z' deep/symlink
  touch -d '2001-01-01T01:01:01.000000001Z' deep
done
sync
`;

/** What the node server of the workspace counts. */
export interface Counts {
  readonly secret: string;
  readonly requests: number;
  readonly ticks: number;
  readonly seen: number;
}

/** A workspace in which much is going on: databases, terminals, servers, a writer every millisecond. */
export class HeavyLoad {
  constructor(readonly workspace: TestWorkspace) {}

  /** Starts all of it, each as a child of the workspace's init. Needs a volume at /data. */
  async start(): Promise<void> {
    const { workspace } = this;
    await workspace.sh(specialFiles);
    await workspace.write('/root/describe.py', describeTrees);
    await workspace.write('/root/server.js', server);
    await this.startWriter();
    await workspace.background('exec node /root/server.js 2> /root/server.err');
    await this.startPostgres();
    await workspace.background(
      'tmux new-session -d -s work -x 120 -y 30 "bash --norc"; tmux set-option -g history-limit 5000',
    );
    await until(() => workspace.sh('tmux list-windows -t work').then((text) => text.includes('bash')));
    await this.sql(
      'create table customers (name text); insert into customers select generate_series(1, 1000)',
    );
    await this.startPsql();
    await this.startShell();
    await until(async () => (await this.counts()).ticks > 5);
  }

  /** Starts what writes every millisecond, into the volume at /data. */
  async startWriter(): Promise<void> {
    await this.workspace.python('/root/writer.py', writer);
    await until(async () => (await this.readCounter()).length > 100);
  }

  /** Starts PostgreSQL, as after a boot. */
  async startPostgres(): Promise<void> {
    await this.workspace.background('exec pg_ctlcluster 18 main start');
    await until(() => this.sql('select 1').then((text) => text === '1'));
  }

  /** A psql session in tmux, with a temporary table and an uncommitted transaction. */
  private async startPsql(): Promise<void> {
    const { workspace } = this;
    await workspace.sh('tmux new-window -t work -n psql "su postgres -c \\"psql -q -P pager=off\\""');
    await this.type('psql', 'create temporary table scratch as select 4711 as treasure;');
    await this.type('psql', "begin; insert into customers values ('uncommitted');");
    await this.type('psql', "select 'in transaction', count(*) from customers;");
    await until(async () => /in transaction +\| +1001/.test(await this.screen('psql')));
  }

  /** A shell in tmux with scrollback, a variable, and a running job. */
  private async startShell(): Promise<void> {
    const { workspace } = this;
    await workspace.sh('tmux new-window -t work -n shell "bash --norc"');
    await this.type('shell', 'PS1="ready> "; treasure=island; seq -f "line %g" 1 200');
    await this.type(
      'shell',
      'mkfifo /srv/never; (while :; do read -t 0.02 <> /srv/never; echo x >> /srv/job; done) &',
    );
    await until(async () => (await this.screen('shell')).includes('line 200'));
    await until(async () => (await workspace.try('test -s /srv/job')).exitCode === 0);
  }

  /** Types a line into a window of tmux. */
  async type(window: string, line: string): Promise<void> {
    // A semicolon that ends an argument would end tmux' command.
    const typed = quote(line.replace(/;$/, '\\;'));
    await this.workspace.sh(
      `tmux send-keys -t work:${window} -l ${typed}; tmux send-keys -t work:${window} Enter`,
    );
  }

  /** What a window of tmux shows, its scrollback included. */
  screen(window: string): Promise<string> {
    return this.workspace.sh(`tmux capture-pane -p -S - -t work:${window}`);
  }

  /** Asks PostgreSQL in a session of its own. */
  async sql(statement: string): Promise<string> {
    return (await this.workspace.sh('su postgres -c "psql -qAt"', { input: statement })).trim();
  }

  async counts(): Promise<Counts> {
    return JSON.parse(await this.workspace.sh('curl -fsS http://127.0.0.1:8080/')) as Counts;
  }

  /** The numbers that the writer has written; proves that there is no gap, repetition or new start. */
  async readCounter(): Promise<number[]> {
    const [start, ...lines] = (await this.workspace.sh('cat /data/counter')).trimEnd().split('\n');
    assert.equal(start, 'start');
    lines.forEach((line, index) =>
      assert.equal(line, String(index + 1), `line ${index + 2} of the counter's file`),
    );
    return lines.map(Number);
  }

  /** All facts of some trees. */
  async describe(...trees: string[]): Promise<Record<string, unknown>> {
    return JSON.parse(await this.workspace.sh(`python3 /root/describe.py ${trees.join(' ')}`)) as Record<
      string,
      unknown
    >;
  }

  /** Names of the processes that run, sorted, but for those that the question itself needs. */
  async processes(): Promise<string[]> {
    const text = await this.workspace.sh('ps -eo ppid=,pid=,comm=');
    return (
      text
        .split('\n')
        .map((line) => line.trim().split(/\s+/))
        // Those from outside have no parent inside; what they start is ps alone.
        .filter(
          ([parent, pid, name]) => name !== undefined && (parent !== '0' || pid === '1') && name !== 'ps',
        )
        .map(([, pid, name]) => `${String(pid)} ${String(name)}`)
        .sort()
    );
  }
}
