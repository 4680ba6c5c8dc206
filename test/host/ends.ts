/** The first and the last of the steps of an operation, for where all of them would take too long. */
export function ends(steps: readonly string[]): string[] {
  return [...new Set([steps[0] ?? '', steps.at(-1) ?? ''])];
}
