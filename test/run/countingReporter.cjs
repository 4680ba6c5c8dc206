const { writeFileSync } = require('node:fs');
const path = require('node:path');
const { reporters } = require('mocha');

/**
 * Mocha's "spec" reporter, which also writes what it came to, as JSON, to the file of the reporter option `counts`:
 * `passed` and `failed`, the `failures` with their title and error, and the `files` with how long each has taken, in
 * milliseconds. A test that did not run, because a hook before it failed, has failed.
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
      writeFileSync(options.reporterOption.counts, JSON.stringify(outcome));
    });
  }
};
