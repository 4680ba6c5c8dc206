const { writeFileSync } = require('node:fs');
const { reporters } = require('mocha');

/**
 * Mocha's "spec" reporter, which also writes `{"passed": N, "failed": M}` to the file of the reporter option
 * `counts`. A test that did not run, because a hook before it failed, has failed.
 */
module.exports = class CountingReporter extends reporters.Spec {
  constructor(runner, options) {
    super(runner, options);
    let passed = 0;
    let failed = 0;
    let ran = 0;
    runner.on('pass', () => passed++);
    runner.on('fail', () => failed++);
    runner.on('test end', () => ran++);
    runner.once('end', () => {
      const counts = { passed, failed: failed + Math.max(0, runner.total - ran) };
      writeFileSync(options.reporterOption.counts, JSON.stringify(counts));
    });
  }
};
