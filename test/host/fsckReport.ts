import assert from 'node:assert/strict';
import * as z from 'zod';
import type { TestHost } from './machine/machine.ts';
import { forkpoint } from './small/smallWorkspace.ts';

const FindingSchema = z.object({
  kind: z.string(),
  subject: z.string(),
  problem: z.string(),
  means: z.string(),
  repair: z.string().nullable(),
  failure: z.string().nullable(),
});

const ReportSchema = z.object({
  workspaces: z.number(),
  snapshots: z.number(),
  repaired: z.array(FindingSchema),
  problems: z.array(FindingSchema),
  busy: z.array(z.string()),
  lostAndFound: z.string().nullable(),
});
export type FsckReport = z.infer<typeof ReportSchema>;

/** Has the independent checker look at a host. */
export async function fsck(
  host: TestHost,
  options: readonly string[] = [],
): Promise<{ exitCode: number; report: FsckReport }> {
  const { exitCode, stdout, stderr } = await forkpoint(host, ['fsck', '--json', ...options]);
  assert.ok(stdout.startsWith('{'), `forkpoint fsck: ${stderr}\n${stdout}`);
  return { exitCode, report: ReportSchema.parse(JSON.parse(stdout)) };
}

/** The independent checker finds nothing wrong. */
export async function requireNoDamage(host: TestHost): Promise<FsckReport> {
  const { exitCode, report } = await fsck(host);
  assert.deepEqual(
    report.problems.map(({ kind, subject, problem }) => `${kind}: ${subject}: ${problem}`),
    [],
  );
  assert.equal(exitCode, 0);
  return report;
}
