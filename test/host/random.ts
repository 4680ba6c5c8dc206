/** The seed of a run's random moments: given, or chosen; printed, so that a run can be repeated. */
export function chooseSeed(): number {
  const seed = Number(process.env['FORKPOINT_SEED'] ?? Date.now() % 1_000_000);
  console.log(`      FORKPOINT_SEED=${String(seed)}`);
  return seed;
}

/** Numbers from 0 to 1 that look random and are the same for the same seed (mulberry32). */
export function randomNumbers(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}
