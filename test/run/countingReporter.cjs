const { writeFileSync } = require('node:fs');
const path = require('node:path');
const { reporters } = require('mocha');

/** Milliseconds that the process may live on after its last test: sockets and children take a moment to close. */
const lingerMs = 60_000;

/**
 * Mocha's "spec" reporter, which also writes what it came to, as JSON, to the file of the reporter option `counts`:
 * `passed` and `failed`, the `failures` with their title and error, and the `files` with how long each has taken, in
 * milliseconds. A test that did not run, because a hook before it failed, has failed. So has a run whose process does not
 * end after it: what a test left open would otherwise keep it until the suite's time is over.
 */
module.exports = class CountingReporter extends reporters.Spec {
  constructor(runner, options) {
    super(runner, options);
    let passed = 0;
    let ran = 0;
    const failures = [];
    const files = new Map();
    let lookedAt = performance.now();
    runner.on('pass', () => passed++);
    runner.on('fail', (test, error) => {
      failures.push({ title: test.fullTitle(), error: error.stack ?? String(error) });
    });
    runner.on('test end', () => ran++);
    // Its hooks, too: they boot the hosts.
    runner.on('suite end', ({ file }) => {
      if (file === undefined) return;
      const now = performance.now();
      const name = path.basename(file);
      files.set(name, (files.get(name) ?? 0) + now - lookedAt);
      lookedAt = now;
    });
    runner.once('end', () => {
      const failed = failures.length + Math.max(0, runner.total - ran);
      const outcome = {
        passed,
        failed,
        failures,
        files: [...files].map(([name, milliseconds]) => ({ name, milliseconds })),
      };
      const write = () => writeFileSync(options.reporterOption.counts, JSON.stringify(outcome));
      write();
      const linger = setTimeout(() => {
        const open = process.getActiveResourcesInfo().join(', ');
        failures.push({ title: 'the end of the run', error: `Something keeps the process alive: ${open}` });
        outcome.failed++;
        write();
        process.exit(outcome.failed);
      }, lingerMs);
      linger.unref();
    });
  }
};
