import { runNode } from './process.ts';

/** What `npm run check` judges, each by one tool that is silent when all is well. */
const checks: readonly { readonly name: string; readonly command: readonly string[] }[] = [
  // The longest first: they run side by side.
  { name: 'lint', command: ['node_modules/oxlint/bin/oxlint', '--deny-warnings'] },
  { name: 'types', command: ['node_modules/typescript/bin/tsc', '--noEmit'] },
  {
    name: 'format',
    command: [
      'node_modules/prettier/bin/prettier.cjs',
      ...['--check', '--log-level', 'warn'],
      // By content, options and version; what is kept is judged anew when one of them changes.
      ...[
        '--cache',
        '--cache-strategy',
        'content',
        '--cache-location',
        'node_modules/.cache/prettier-content',
      ],
      '.',
    ],
  },
  { name: 'unused code', command: ['node_modules/knip/bin/knip.js'] },
];

const timeoutMs = 10 * 60_000;

/** How many checks passed and failed. */
export interface Counts {
  readonly passed: number;
  readonly failed: number;
}

/** Runs all checks side by side, prints a line for each and, of those that failed, what they said. */
export async function runChecks(signal: AbortSignal): Promise<Counts> {
  const outcomes = await Promise.all(
    checks.map(async ({ name, command }) => {
      const started = performance.now();
      const { status, output } = await runNode(command, { timeoutMs, signal, output: 'keep' });
      const seconds = ((performance.now() - started) / 1000).toFixed(1);
      const isGood = status === 0;
      process.stdout.write(
        isGood ? `  ✔ ${name} (${seconds} s)\n` : `  ✘ ${name}: ended with ${String(status)}\n${output}\n`,
      );
      return isGood;
    }),
  );
  const passed = outcomes.filter(Boolean).length;
  return { passed, failed: outcomes.length - passed };
}
