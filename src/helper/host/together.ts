/**
 * Waits for work that goes on side by side, for all of it also when a piece fails: what is then undone must have come to rest.
 * Rejected with the first failure in the order given.
 */
export async function together<T extends readonly unknown[]>(work: {
  readonly [K in keyof T]: Promise<T[K]>;
}): Promise<T> {
  await Promise.allSettled(work);
  return await Promise.all(work);
}
