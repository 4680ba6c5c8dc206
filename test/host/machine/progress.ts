/** Says on stderr what is being done; stdout belongs to what callers parse. */
export function report(line: string): void {
  process.stderr.write(`test host: ${line}\n`);
}
