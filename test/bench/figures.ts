import * as z from 'zod';

/** Who does the work: Forkpoint, and what a user might take instead. */
export const ContenderSchema = z.enum([
  'forkpoint',
  'runc',
  'runc-nftables',
  'podman-checkpoint',
  'podman-commit',
  'incus',
  'incus-stateless',
  'rsync',
  'tar',
  'cp-reflink',
  'btrfs',
]);
export type Contender = z.infer<typeof ContenderSchema>;

/** One thing measured of one contender under one workload; one value per round. The unit follows from `measure`. */
export const FigureSchema = z.object({
  /** A letter of the workloads, or `host`. */
  workload: z.string(),
  contender: ContenderSchema,
  /**
   * In milliseconds, but for those whose name ends in `Bytes`, `WakeUps` and `failures`. `step:OPERATION/STEP` is a
   * part of an operation of the helper.
   */
  measure: z.string(),
  values: z.array(z.number()).min(1),
});
export type Figure = z.infer<typeof FigureSchema>;

/** What the program in the host says: figures, and what it could not run, with the reason. */
export const MeasuredSchema = z.object({ figures: z.array(FigureSchema), notRun: z.array(z.string()) });
export type Measured = z.infer<typeof MeasuredSchema>;

/** Gathers values as they come, under the names of figures. */
export class Figures {
  private readonly gathered = new Map<string, Figure>();

  constructor(private readonly workload: string) {}

  add(contender: Contender, sample: Readonly<Record<string, number>>): void {
    for (const [measure, value] of Object.entries(sample)) {
      const key = `${contender} ${measure}`;
      const figure = this.gathered.get(key);
      if (figure === undefined)
        this.gathered.set(key, { workload: this.workload, contender, measure, values: [value] });
      else figure.values.push(value);
    }
  }

  get all(): Figure[] {
    return [...this.gathered.values()];
  }
}

/** The values measured, or undefined where nothing was. */
export function valuesOf(
  figures: readonly Figure[],
  workload: string,
  contender: Contender,
  measure: string,
): readonly number[] | undefined {
  return figures.find(
    (figure) => figure.workload === workload && figure.contender === contender && figure.measure === measure,
  )?.values;
}

/** Median of one or more values. */
export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length / 2;
  const [low, high] = [sorted[Math.ceil(middle) - 1], sorted[Math.floor(middle)]];
  if (low === undefined || high === undefined) throw new Error('There is no median of nothing.');
  return (low + high) / 2;
}
