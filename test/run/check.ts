import { runChecks } from './checks.ts';

const interrupted = new AbortController();
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => interrupted.abort());

const { failed } = await runChecks(interrupted.signal);
process.exitCode = failed === 0 ? 0 : 1;
